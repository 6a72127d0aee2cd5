"""Small bundles of graphs."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.bundle import open_bundle
from quire.artifacts.manifest import Manifest
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


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Every sample of a bundle by its key: files by extension."""
    bundle = open_bundle(folder)
    keys = bundle.index.rows.keys.tolist()
    return {key.decode(): dict(bundle.read(row)) for row, key in enumerate(keys)}


def array(data: bytes) -> NDArray[Any]:
    """What an .npy file holds."""
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
