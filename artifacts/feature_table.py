"""features.h5: what a trained model makes of each image of a split, before its classifier.

features        (N, F) float32, finite
label           (N,) int64, numbers of classes; its attribute `class_names` is a JSON list of names
source_index    (N,) int64, the image's number in its split; rises from row to row

The bundle's manifest says of which source and split the images are, and under `inputs` which bundle
they came from and which weights the model has.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BuildError, BundleError

FEATURES = "features.h5"
_ROWS = 1 << 13  # that are written at once: whole chunks, each of which is compressed once
_RATIO = 1 << 11  # twice the best that deflate can do; what claims more is not believed
_FEATURES = "one row an image: the model's output before its classifier"
_LABEL = "number of the image's class"
_SOURCE_INDEX = "the image's number in its split"

Scalar = TypeVar("Scalar", np.float32, np.int64)

# features (B, F), labels (B,), source_index (B,) of consecutive images
Block: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """The features of a split's images."""

    features: NDArray[np.float32]  # (N, F)
    labels: NDArray[np.int64]  # (N,)
    source_index: NDArray[np.int64]  # (N,), rising


def write_table(file: h5py.File, blocks: Iterable[Block], class_names: Sequence[str]) -> None:
    """Write features as they come; memory stays flat, and the sizes of blocks change no byte.

    Raises:
        BuildError: there are none; one is NaN or infinite; an image comes twice or out of order, or
            is of no class.
        ValueError: a block is no features, labels and numbers of as many images.
    """
    growing = tables.Growing(file)
    names = json.dumps(list(class_names))
    rows = 0
    for features, labels, numbers in _of_equal_size(_checked(blocks, len(class_names))):
        growing.append("features", features, definition=_FEATURES)
        growing.append("label", labels, definition=_LABEL, class_names=names)
        growing.append("source_index", numbers, definition=_SOURCE_INDEX)
        rows += len(features)
    if not rows:
        raise BuildError("there are no features to write")


def _checked(blocks: Iterable[Block], classes: int) -> Iterator[Block]:
    """The blocks, each of which goes on where the one before it ended."""
    last = -1
    for features, labels, numbers in blocks:
        count = len(features)
        if features.ndim != 2 or not labels.shape == numbers.shape == (count,):
            raise ValueError(
                f"a block has features {features.shape}, labels {labels.shape} and numbers"
                f" {numbers.shape}; these must be (B, F), (B,) and (B,)"
            )
        steps = np.diff(numbers, prepend=last)
        if (steps < 1).any():
            raise BuildError(
                f"the features of image {numbers[(steps < 1).argmax()]} come twice or out of order"
            )
        if (bad := ~np.isfinite(features).all(axis=1)).any():
            raise BuildError(f"the features of image {numbers[bad.argmax()]} are not finite")
        if (bad := (labels < 0) | (labels >= classes)).any():
            raise BuildError(
                f"image {numbers[bad.argmax()]} is of class {labels[bad.argmax()]};"
                f" there are {classes} classes"
            )
        last = int(numbers[-1]) if count else last
        yield features.astype(np.float32), labels.astype(np.int64), numbers.astype(np.int64)


def _of_equal_size(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same rows in blocks of _ROWS, but for the last."""
    kept: list[Block] = []
    for block in blocks:
        kept.append(block)
        while sum(len(labels) for _, labels, _ in kept) >= _ROWS:
            joined = _joined(kept)
            yield _rows(joined, slice(None, _ROWS))
            kept = [_rows(joined, slice(_ROWS, None))]
    if kept and len((last := _joined(kept))[0]):
        yield last


def _joined(blocks: Sequence[Block]) -> Block:
    features, labels, numbers = zip(*blocks, strict=True)
    return np.concatenate(features), np.concatenate(labels), np.concatenate(numbers)


def _rows(block: Block, rows: slice) -> Block:
    features, labels, numbers = block
    return features[rows], labels[rows], numbers[rows]


def read_features(bundle: Bundle) -> FeatureTable:
    """Read the features of a bundle, all of them into memory.

    Raises:
        BundleError: there is no such table, or it is damaged or cannot be what it says.
    """
    with tables.open_table(bundle.table(FEATURES, "features")) as file:
        rows, width = _shape(file, bundle.manifest.files[FEATURES].bytes)
        table = FeatureTable(
            features=_array(file, "features", (rows, width), np.float32),
            labels=_array(file, "label", (rows,), np.int64),
            source_index=_array(file, "source_index", (rows,), np.int64),
        )
    if not np.isfinite(table.features).all():
        raise BundleError(f"{FEATURES}: features are not all finite")
    if table.source_index[0] < 0 or (np.diff(table.source_index) < 1).any():
        raise BundleError(f"{FEATURES}: source_index does not rise from row to row")
    return table


def _shape(file: h5py.File, size: int) -> tuple[int, int]:
    """(N, F), if a file of this size can hold that much."""
    found = file.get("features")
    shape = found.shape if isinstance(found, h5py.Dataset) else None
    if shape is None or len(shape) != 2 or not min(shape):
        raise BundleError(f"{FEATURES}: features has shape {shape}, not (N, F)")
    if shape[0] * (4 * shape[1] + 16) > _RATIO * size:
        raise BundleError(f"{FEATURES}: features claims {shape}, more than its file can hold")
    return int(shape[0]), int(shape[1])


def _array(
    file: h5py.File, name: str, shape: tuple[int, ...], scalar: type[Scalar]
) -> NDArray[Scalar]:
    array = tables.get(file, name, shape=shape)
    if array.dtype != scalar:
        raise BundleError(f"{FEATURES}: {name} is {array.dtype}, not {scalar.__name__}")
    return array
