"""SVHN's cropped digits (format 2): a MATLAB 5 file for each split.

`X` is (32, 32, 3, N) uint8 and `y` (N, 1) uint8, where 10 stands for the digit 0:
http://ufldl.stanford.edu/housenumbers. A file may have any number of images.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.matlab import read_array, shapes
from quire.builders.sources.source import Block

_SPLITS = ("train", "test", "extra")
_IMAGE = (32, 32, 3)
_NUM_CLASSES = 10


@dataclass(frozen=True, slots=True)
class Svhn:
    """One split of SVHN: 32x32 RGB, the ten digits."""

    split: str
    file: Path
    length: int

    @property
    def kind(self) -> str:
        """`svhn`."""
        return "svhn"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(map(str, range(_NUM_CLASSES)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return _IMAGE

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop) as (N, 32, 32, 3) RGB. None is ever bad by itself.

        The file is compressed as a whole, so the first call in a process unpacks all of it and
        keeps it: 225 MB for the training split, 1.6 GB for `extra`.

        Raises:
            SourceError: the file is damaged, or has changed since the source was opened.
        """
        layout.check_range(start, stop, len(self))
        labels = self.read_labels()[start:stop]
        by_columns = self._array("X", (*_IMAGE, self.length)).T[start:stop]  # (N, C, W, H)
        return Block(np.arange(start, stop), by_columns.transpose(0, 3, 2, 1).copy(), labels)

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample, without the images. -> (N,).

        Raises:
            SourceError: the file is damaged, or has changed since the source was opened.
        """
        classes = self._array("y", (self.length, 1))[:, 0]
        outside = (classes < 1) | (classes > _NUM_CLASSES)
        if outside.any():
            record = int(outside.argmax())
            raise SourceError(
                f"{self.file} has a label outside 1..{_NUM_CLASSES}: {classes[record]}"
                f" of image {record}"
            )
        return classes.astype(np.int64) % _NUM_CLASSES

    def fingerprint(self) -> str:
        """sha256 over the file's name and bytes."""
        return layout.fingerprint(self.file.parent, [self.file.name])

    def _array(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        with layout.reading(self.file):
            status = self.file.stat()
        array = _loaded(self.file, name, status.st_mtime_ns, status.st_size)
        if array.shape != shape:
            raise SourceError(f"{self.file} has another shape of {name} than when it was opened")
        return array


def open_svhn(path: Path, split: str) -> Svhn:
    """Open a split: its file lies in the folder `path`.

    The labels are read, of the images the header alone.

    Raises:
        SourceError: no such file, one that is damaged or holds something else, a label that there
            is not, or an unknown split.
    """
    layout.check_split("svhn", split, _SPLITS)
    file = path / f"{split}_32x32.mat"
    if layout.missing(path, [file.name]):
        raise SourceError(f"svhn: looked for {file.name} in {path}; found {layout.found(path)}")
    found = shapes(file)
    for name in ("X", "y"):
        if name not in found:
            raise SourceError(f"{file} has no array of bytes called {name}")
    images, labels = found["X"], found["y"]
    if len(images) != 4 or images[:3] != _IMAGE or not images[3]:
        raise SourceError(f"{file} has images X of shape {images}, not (32, 32, 3, N)")
    if labels != (images[3], 1):
        raise SourceError(f"{file} has {images[3]} images X and labels y of shape {labels}")
    source = Svhn(split, file, images[3])
    source.read_labels()
    return source


# images and labels of two splits: 305 MB for `train` and `test`
@lru_cache(maxsize=4)
def _loaded(file: Path, name: str, mtime: int, size: int) -> NDArray[np.uint8]:
    """One array of a file, read-only. `mtime` and `size` say which state of it."""
    return read_array(file, name)
