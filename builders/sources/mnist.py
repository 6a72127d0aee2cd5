"""MNIST's idx files, gzipped or not.

An idx file is a magic number (two zero bytes, the type, how many dimensions), each dimension as a
big-endian 32-bit number, and the values: http://yann.lecun.com/exdb/mnist. Data sets that came
later in the same files (Fashion-MNIST, KMNIST) can be read too, with their classes called 0 to 9.
"""

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.source import Block

_UNSIGNED_BYTES = 0x0800
_IMAGE = (28, 28)
_LABEL = ()
_NUM_CLASSES = 10
_PREFIXES = {"train": "train", "test": "t10k"}
_FOLDERS = (".", "raw", "MNIST/raw")  # the last two as torchvision has them
_MAX_UNPACKED = 1 << 30  # of a gzipped file, which is unpacked into memory; MNIST's has 47 MB


@dataclass(frozen=True, slots=True)
class Mnist:
    """One split of MNIST: gray, 28x28, ten classes."""

    split: str
    folder: Path
    images: str  # the two files' names
    labels: str
    length: int

    @property
    def kind(self) -> str:
        """`mnist`."""
        return "mnist"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(map(str, range(_NUM_CLASSES)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return *_IMAGE, 1

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop) as (N, 28, 28, 1). None is ever bad by itself.

        A gzipped file is unpacked once in a process and kept.

        Raises:
            SourceError: a file has changed since the source was opened.
        """
        layout.check_range(start, stop, len(self))
        images = _items(self.folder / self.images, _IMAGE, start, stop)
        labels = _items(self.folder / self.labels, _LABEL, start, stop)
        return Block(np.arange(start, stop), images[..., np.newaxis], labels.astype(np.int64))

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample, from the file that has them alone. -> (N,).

        Raises:
            SourceError: the file has changed since the source was opened.
        """
        return _items(self.folder / self.labels, _LABEL, 0, len(self)).astype(np.int64)

    def fingerprint(self) -> str:
        """sha256 over the two files' names and bytes, as they lie (so gzipped or not differs)."""
        return layout.fingerprint(self.folder, [self.images, self.labels])


def open_mnist(path: Path, split: str) -> Mnist:
    """Open a split from `path`, `path/raw` or `path/MNIST/raw`.

    Names may have a dot for a dash (`train-images.idx3-ubyte`) and end in `.gz`; where a file lies
    both ways, the unpacked one is read.

    Raises:
        SourceError: no such files, damaged ones, or images and labels that differ in number.
    """
    layout.check_split("mnist", split, _PREFIXES)
    folder, images, labels = _find(path, _PREFIXES[split])
    length = _count(folder / images, _IMAGE)
    if (num_labels := _count(folder / labels, _LABEL)) != length:
        raise SourceError(
            f"{folder / images} has {length} images and {labels} beside it {num_labels} labels"
        )
    highest = _items(folder / labels, _LABEL, 0, length).max()
    if highest >= _NUM_CLASSES:
        raise SourceError(f"{folder / labels} has a label outside 0..{_NUM_CLASSES - 1}: {highest}")
    return Mnist(split, folder, images, labels, length)


def _find(path: Path, prefix: str) -> tuple[Path, str, str]:
    """The folder, and the names of the images' and the labels' file in it."""
    half = ""
    for folder in (path / name for name in _FOLDERS):
        images = _named(folder, f"{prefix}-images", "idx3-ubyte")
        labels = _named(folder, f"{prefix}-labels", "idx1-ubyte")
        if images and labels:
            return folder, images, labels
        if images or labels:
            half = half or f"mnist: {folder} has {images or labels} without its counterpart"
    raise SourceError(
        half
        or f"mnist: looked for {prefix}-images-idx3-ubyte and {prefix}-labels-idx1-ubyte (or .gz)"
        f" in {path}, raw/ and MNIST/raw/ in it; found {layout.found(path)}"
    )


def _named(folder: Path, stem: str, suffix: str) -> str | None:
    names = [f"{stem}{mark}{suffix}{zipped}" for zipped in ("", ".gz") for mark in "-."]
    return next((name for name in names if not layout.missing(folder, [name])), None)


def _count(file: Path, item: tuple[int, ...]) -> int:
    """How many items of a shape a file holds, after every check there is."""
    if file.suffix == ".gz":
        return len(_unpacked(file, item))
    with layout.reading(file):
        size = file.stat().st_size
        with file.open("rb") as stream:
            count = _count_in_header(file, stream.read(_header_size(item)), item)
    wanted = _header_size(item) + count * prod(item)
    if size != wanted:
        raise SourceError(f"{file} has {size} bytes; {count} items make {wanted}")
    return count


def _items(file: Path, item: tuple[int, ...], start: int, stop: int) -> NDArray[np.uint8]:
    """The items [start, stop), in memory of their own."""
    if file.suffix == ".gz":
        items = _unpacked(file, item)[start:stop].copy()
    else:
        offset = _header_size(item) + start * prod(item)
        with layout.reading(file):
            flat = np.fromfile(file, np.uint8, (stop - start) * prod(item), offset=offset)
        items = flat[: flat.size // prod(item) * prod(item)].reshape(-1, *item)
    if len(items) != stop - start:
        raise SourceError(f"{file} has become shorter since it was opened")
    return items


def _header_size(item: tuple[int, ...]) -> int:
    return 4 * (2 + len(item))


def _count_in_header(file: Path, header: bytes, item: tuple[int, ...]) -> int:
    if len(header) < _header_size(item):
        raise SourceError(f"{file} ends within its header")
    magic, count, *shape = np.frombuffer(header, ">u4").tolist()
    wanted = _UNSIGNED_BYTES + 1 + len(item)
    if magic != wanted:
        raise SourceError(f"{file} begins with the magic number {magic:#010x}, not {wanted:#010x}")
    if tuple(shape) != item:
        raise SourceError(f"{file} has images of {'x'.join(map(str, shape))}, not 28x28")
    if count == 0:
        raise SourceError(f"{file} holds nothing: its header counts 0")
    return int(count)


def _unpacked(file: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    with layout.reading(file):
        status = file.stat()
    return _unpack(file, item, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)  # both files of both splits: 55 MB
def _unpack(file: Path, item: tuple[int, ...], mtime: int, size: int) -> NDArray[np.uint8]:
    """All items of a gzipped file, read-only. `mtime` and `size` say which state of it."""
    try:
        with gzip.open(file) as stream:
            count = _count_in_header(file, stream.read(_header_size(item)), item)
            if (wanted := count * prod(item)) > _MAX_UNPACKED:
                raise SourceError(f"{file} has {wanted} bytes of items: unpack it first")
            data = stream.read(wanted + 1)  # reading past the end is what checks gzip's own sum
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{file} cannot be unpacked: {error}") from error
    if len(data) != wanted:
        more = "less" if len(data) < wanted else "more"
        raise SourceError(f"{file} holds {more} than the {count} items that it counts")
    return np.frombuffer(data, np.uint8).reshape(-1, *item)
