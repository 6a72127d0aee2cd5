"""NumPy arrays, as CIFAR-10-C is published."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.export.samples import image_extension, rows_of, samples, texts


def write(bundle: Bundle, out: Path) -> None:
    """`images.npy` (N, H, W, C) uint8, or (N, H, W) of grey images, and `labels.npy` (N,) int64.

    Of a bundle of corruptions a file for each, `fog.npy`, all severities in their order, and the
    labels of the longest: those of any other are its first ones. Further numbers of the index are
    not in it.

    Raises:
        BundleError: there are no images, or their sizes differ.
    """
    corruption = texts(bundle, "corruption")
    of_row = np.zeros(len(bundle.index), np.int64)
    names = ["images"]
    if corruption is not None:
        names = list(dict.fromkeys(corruption))
        of_row = np.array([names.index(name) for name in corruption])
    labels = bundle.index.rows.columns.get("label")
    if labels is not None:
        _write_labels(out, {n: labels[of_row == i] for i, n in enumerate(names)})
    image = image_extension(bundle)
    arrays: dict[str, NDArray[np.uint8]] = {}
    done = dict.fromkeys(names, 0)
    for shard, own_rows in rows_of(bundle):
        for row, key, files in samples(bundle, shard, own_rows):
            pixels = np.asarray(Image.open(BytesIO(files[image])))
            name = names[of_row[row]]
            if name not in arrays:
                shape = (int((of_row == of_row[row]).sum()), *pixels.shape)
                path = out / f"{name}.npy"
                arrays[name] = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
            if pixels.shape != arrays[name].shape[1:] or pixels.dtype != np.uint8:
                raise BundleError(f"{key}: images of several sizes or kinds are no array")
            arrays[name][done[name]] = pixels
            done[name] += 1


def _write_labels(out: Path, labels: Mapping[str, NDArray[np.int64]]) -> None:
    longest = max(labels.values(), key=len)
    if all(np.array_equal(own, longest[: len(own)]) for own in labels.values()):
        labels = {"labels": longest}
    else:
        labels = {f"labels-{name}": own for name, own in labels.items()}
    for name, own in labels.items():
        np.save(out / f"{name}.npy", own)
