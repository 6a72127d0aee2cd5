"""Small bundles of graphs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py

from quire.artifacts.digest import sha256
from quire.artifacts.graph_table import GRAPHS
from quire.artifacts.manifest import MANIFEST, SUMS, File, Manifest, sums
from quire.builders.engine.run import build
from quire.builders.recipes.graphs import Graphs
from quire.builders.recipes.pruned import Pruned
from quire.builders.sources.source import Nothing

SMALL = Graphs(
    sizes=(12, 16),
    nei=(1, 2, 3),
    p=(0.5, 0.9),
    least=2_500,
    most=4_500,
    graphs=9,
    samples_per_shard=4,
)
PRUNED = Pruned(
    layers=(3, 5, 4), inputs=6, outputs=2, alpha=0.3, steps=5, prunings=3, samples_per_shard=4
)


def graph_bundle(folder: Path, recipe: Graphs | Pruned = SMALL) -> Manifest:
    """Build random graphs, or those of a network that is pruned."""
    return build(recipe, Nothing(), folder)


def with_table(folder: Path, change: Callable[[h5py.File], None], name: str = GRAPHS) -> None:
    """Change the table of a bundle, and its digests with it, as whoever made it could have."""
    with h5py.File(folder / name, "r+") as file:
        change(file)
    manifest = Manifest.from_json((folder / MANIFEST).read_text("utf-8"))
    path = folder / name
    table = File(name, path.stat().st_size, sha256(path))
    others = [file for file in manifest.tables if file.name != name]
    manifest = replace(manifest, tables=(*others, table))
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    (folder / SUMS).write_text(sums(manifest, sha256(folder / MANIFEST)), "ascii")
