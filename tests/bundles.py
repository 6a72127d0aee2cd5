"""Small bundles of random images, written by the project's own writer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.digest import whole_file
from quire.artifacts.manifest import Identity, Manifest
from quire.artifacts.members import RAW_IMAGE, class_ids, raw_images
from quire.artifacts.shards import Payloads, Samples, write_shard
from quire.builders.engine import folder as building

IDENTITY = Identity(
    recipe={"kind": "plain", "split": "test"},
    source={
        "kind": "made",
        "split": "test",
        "samples": 0,
        "class_names": [str(i) for i in range(10)],
        "sha256": "0",
    },
    inputs={},
    versions={},
)


def write_bundle(
    folder: Path,
    keys: Sequence[str],
    members: Mapping[str, Payloads],
    columns: Mapping[str, NDArray[Any]],
    *,
    samples_per_shard: int,
) -> Manifest:
    """Write samples as a bundle."""
    with building.claim(folder, IDENTITY):
        names = []
        for number, start in enumerate(range(0, len(keys), samples_per_shard)):
            part = slice(start, start + samples_per_shard)
            samples = Samples(
                keys[part],
                {extension: files[part] for extension, files in members.items()},
                {name: column[part] for name, column in columns.items()},
            )
            names.append(f"test-{number:06d}.tar")
            partials = building.partials(folder)
            with whole_file(folder / names[-1], partials=partials) as file:
                finished = write_shard(file, names[-1], [samples])
            building.record(folder, building.Finished(*finished, ()))
        manifest = building.bind(folder, IDENTITY, names, skip_bad=False)
        building.clear(folder)
    return manifest


def random_images(
    count: int, shape: tuple[int, int, int] = (8, 8, 3), seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and labels. -> (N, H, W, C) uint8, (N,) int64 in 0..9."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.integers(0, 10, count)


def image_bundle(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], *, samples_per_shard: int
) -> Manifest:
    """Write raw images of one size as a bundle."""
    members: dict[str, Payloads] = {
        RAW_IMAGE[images.shape[-1]]: raw_images(images),
        "cls": class_ids(labels),
    }
    keys = [f"{i:08d}" for i in range(len(images))]
    return write_bundle(
        folder, keys, members, {"label": labels}, samples_per_shard=samples_per_shard
    )
