"""Bundles with cells for the tests of what is shown of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.manifest import MANIFEST, SUMS, Manifest, sums
from quire.artifacts.members import RAW_IMAGE, raw_images
from quire.artifacts.shards import Payloads
from quire.train.report.corruption_cells import Cell
from tests.bundles import random_images, write_bundle

CELLS: Sequence[Cell] = (
    ("clean", 0),
    *(("gaussian_noise", severity) for severity in (1, 2, 3)),
    *(("fog", severity) for severity in (1, 2, 3)),
    *(("gaussian_blur_sigma", severity) for severity in (0.25, 1.5)),
)


def corrupted_bundle(
    folder: Path,
    cells: Sequence[Cell] = CELLS,
    *,
    sources: int = 4,
    shape: tuple[int, int, int] = (8, 8, 3),
    without: Collection[tuple[Cell, int]] = (),
) -> tuple[Bundle, Mapping[tuple[Cell, int], NDArray[np.uint8]]]:
    """A bundle with an image of its own for each source image in each cell, and these images.

    `without` leaves some of them out.
    """
    wanted = [(cell, i) for cell in cells for i in range(sources) if (cell, i) not in without]
    images, _ = random_images(len(wanted), shape)
    numbers = np.array([i for _, i in wanted])
    columns: dict[str, NDArray[Any]] = {
        "label": numbers % 10,
        "source_index": numbers,
        "corruption": np.array([name.encode() for (name, _), _ in wanted], np.bytes_),
        "severity": np.array([severity for (_, severity), _ in wanted], np.float64),
    }
    keys = [f"{i:08d}" for i in range(len(wanted))]
    members: dict[str, Payloads] = {RAW_IMAGE[shape[2]]: raw_images(images)}
    write_bundle(folder, keys, members, columns, samples_per_shard=100)
    return open_bundle(folder), dict(zip(wanted, images, strict=True))


_PARTS = ("recipe", "source", "inputs", "versions")  # of an identity


def with_manifest(folder: Path, **changes: Any) -> Manifest:
    """Change parts of a bundle's manifest, or of its identity, as whoever made it could have."""
    manifest = open_bundle(folder).manifest
    identity = {name: changes.pop(name) for name in _PARTS if name in changes}
    manifest = replace(manifest, identity=replace(manifest.identity, **identity), **changes)
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    (folder / SUMS).write_text(sums(manifest, sha256(folder / MANIFEST)), "ascii")
    return manifest
