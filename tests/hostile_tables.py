"""Tables changed by whoever made the bundle: every digest fits, only the content does not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py

from quire.artifacts.digest import sha256
from quire.artifacts.manifest import MANIFEST, SUMS, File, Manifest, sums


def with_table(folder: Path, name: str, change: Callable[[h5py.File], None]) -> None:
    """Change a table of a bundle, and the bundle's digests with it."""
    path = folder / name
    with h5py.File(path, "r+") as file:
        change(file)
    manifest = Manifest.from_json((folder / MANIFEST).read_text("utf-8"))
    table = File(name, path.stat().st_size, sha256(path))
    others = [file for file in manifest.tables if file.name != name]
    manifest = replace(manifest, tables=(*others, table))
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    (folder / SUMS).write_text(sums(manifest, sha256(folder / MANIFEST)), "ascii")
