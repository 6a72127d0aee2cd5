"""STL-10's labelled images, as the binary archive unpacks.

`train_X.bin` and `test_X.bin` hold an image as 27,648 bytes: 9,216 red ones by columns, then green,
then blue. `train_y.bin` and `test_y.bin` have a byte for each of them: the classes count from 1,
the labels here from 0. The layout is that of https://cs.stanford.edu/~acoates/stl10, but a file may
have any number of images. `unlabeled_X.bin`, which has no labels, is no split.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.source import Block

_SPLITS = ("train", "test")
_FOLDER = "stl10_binary"
_NAMES = "class_names.txt"
_SIDE = 96
_PIXELS = 3 * _SIDE * _SIDE
_NUM_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Stl10:
    """One split of STL-10: 96x96 RGB, ten classes."""

    split: str
    class_names: tuple[str, ...]
    folder: Path
    length: int

    @property
    def kind(self) -> str:
        """`stl10`."""
        return "stl10"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return _SIDE, _SIDE, 3

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop) as (N, 96, 96, 3) RGB, without touching the other images.

        None is ever bad by itself.

        Raises:
            SourceError: a file has changed since the source was opened.
        """
        layout.check_range(start, stop, len(self))
        labels = self.read_labels()[start:stop].copy()
        file = self.folder / _images(self.split)
        with layout.reading(file):
            flat = np.fromfile(file, np.uint8, (stop - start) * _PIXELS, offset=start * _PIXELS)
        if flat.size != (stop - start) * _PIXELS:
            raise SourceError(f"{file} has become shorter since it was opened")
        by_columns = flat.reshape(-1, 3, _SIDE, _SIDE)
        return Block(np.arange(start, stop), by_columns.transpose(0, 3, 2, 1).copy(), labels)

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample. -> (N,).

        Raises:
            SourceError: the file has changed since the source was opened.
        """
        file = self.folder / _labels(self.split)
        labels = _checked_labels(file)
        if len(labels) != len(self):
            raise SourceError(
                f"{file} had {len(self)} labels when it was opened, now {len(labels)}"
            )
        return labels

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of the split's files and the file of class names."""
        return layout.fingerprint(self.folder, _files(self.split))


def open_stl10(path: Path, split: str) -> Stl10:
    """Open a split in the folder `path` or in `stl10_binary` within it.

    Of the other split nothing need be there.

    Raises:
        SourceError: no such files, damaged ones, images and labels that differ in number, or an
            unknown split.
    """
    layout.check_split("stl10", split, _SPLITS)
    folder = _find(path, split)
    names = _class_names(folder / _NAMES)
    images, labels = folder / _images(split), folder / _labels(split)
    length = _count(images)
    if (num_labels := len(_checked_labels(labels))) != length:
        raise SourceError(
            f"{images} has {length} images and {labels.name} beside it {num_labels} labels"
        )
    return Stl10(split, names, folder, length)


def _images(split: str) -> str:
    return f"{split}_X.bin"


def _labels(split: str) -> str:
    return f"{split}_y.bin"


def _files(split: str) -> tuple[str, str, str]:
    return _images(split), _labels(split), _NAMES


def _find(path: Path, split: str) -> Path:
    """The folder that has all files of a split, else an error about the one that has some."""
    in_part = ""
    for folder in (path, path / _FOLDER):
        lacking = layout.missing(folder, _files(split))
        if not lacking:
            return folder
        if len(lacking) < len(_files(split)):
            in_part = in_part or f"stl10: {folder} lacks {layout.listed(lacking)}"
    raise SourceError(
        in_part
        or f"stl10: looked for {', '.join(_files(split))} in {path} and {_FOLDER} in it;"
        f" found {layout.found(path)}"
    )


def _class_names(file: Path) -> tuple[str, ...]:
    """One name a line."""
    with layout.reading(file):
        text = file.read_bytes().decode("utf-8", "replace")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != _NUM_CLASSES:
        raise SourceError(f"{file} has {len(names)} class names, not {_NUM_CLASSES}")
    return names


def _count(file: Path) -> int:
    """How many images a file has."""
    with layout.reading(file):
        size = file.stat().st_size
    if size == 0 or size % _PIXELS:
        raise SourceError(f"{file} has {size} bytes, not a whole number of {_PIXELS}-byte images")
    return size // _PIXELS


def _checked_labels(file: Path) -> NDArray[np.int64]:
    """All labels of a file, from 0. -> (N,)."""
    with layout.reading(file):
        classes = np.fromfile(file, np.uint8)
    outside = (classes < 1) | (classes > _NUM_CLASSES)
    if outside.any():
        record = int(outside.argmax())
        raise SourceError(
            f"{file} has a label outside 1..{_NUM_CLASSES}: {classes[record]} in record {record}"
        )
    return classes.astype(np.int64) - 1
