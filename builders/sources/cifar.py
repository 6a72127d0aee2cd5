"""CIFAR-10 and CIFAR-100, as their archives unpack: the binary version and the Python version.

Both hold an image as 3,072 bytes: 1,024 red ones by rows, then green, then blue. A binary file is
a row of records, the label's byte before the pixels; the Python version is a pickle for each file.
The layouts are those of https://www.cs.toronto.edu/~kriz/cifar.html, but a file may have any number
of images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.source import Block
from quire.builders.sources.unpickle import read_pickle

_PLANE = 32 * 32
_PIXELS = 3 * _PLANE

# pixels (N, 3072), labels (N,)
_Records: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class _Files:
    """Where a layout keeps things: the archive's folder, its files, the file of class names."""

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str

    def of(self, split: str) -> tuple[str, ...]:
        """The files of a split, in the order of its samples."""
        return {"train": self.train, "test": self.test}[split]


@dataclass(frozen=True, slots=True)
class _Binary:
    """Records of one byte for each kind of label, the wanted one last, and 3,072 of pixels."""

    files: _Files
    classes: tuple[int, ...]  # how many values each label byte may have

    def class_names(self, file: Path) -> tuple[str, ...]:
        """One name a line."""
        with layout.reading(file):
            text = file.read_bytes().decode("utf-8", "replace")
        return tuple(line.strip() for line in text.splitlines() if line.strip())

    def count(self, file: Path) -> int:
        """How many records a file has, after looking at each label."""
        record = len(self.classes) + _PIXELS
        with layout.reading(file):
            size = file.stat().st_size
        if size == 0 or size % record:
            raise SourceError(
                f"{file} has {size} bytes, not a whole number of {record}-byte records"
            )
        with layout.reading(file):
            records = np.memmap(file, np.uint8, mode="r").reshape(-1, record)
        _check_labels(file, records[:, : len(self.classes)], self.classes)
        return len(records)

    def read(self, file: Path, start: int, stop: int) -> _Records:
        """The records [start, stop), without touching the others."""
        record = len(self.classes) + _PIXELS
        with layout.reading(file):
            flat = np.fromfile(file, np.uint8, (stop - start) * record, offset=start * record)
        if flat.size != (stop - start) * record:
            raise SourceError(f"{file} has become shorter since it was opened")
        labels, pixels = np.split(flat.reshape(-1, record), [len(self.classes)], axis=1)
        _check_labels(file, labels, self.classes)
        return pixels, labels[:, -1].astype(np.int64)

    def labels(self, file: Path, count: int) -> NDArray[np.int64]:
        """The wanted labels of a file's records. -> (N,)."""
        record = len(self.classes) + _PIXELS
        with layout.reading(file):
            if file.stat().st_size != count * record:
                raise SourceError(f"{file} has another length than when it was opened")
            records = np.memmap(file, np.uint8, mode="r", shape=(count, record))
        labels = records[:, : len(self.classes)]
        _check_labels(file, labels, self.classes)
        return labels[:, -1].astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Pickled:
    """A dict for each file: `data` is (N, 3072), and the labels are a list beside it."""

    files: _Files
    classes: tuple[int, ...]
    labels_key: str
    names_key: str

    def class_names(self, file: Path) -> tuple[str, ...]:
        """The list in the file of names."""
        names = read_pickle(file).get(self.names_key)
        if type(names) is not list or not all(type(name) in (str, bytes) for name in names):
            raise SourceError(f"{file} has no list of names called {self.names_key}")
        return tuple(n if isinstance(n, str) else n.decode("utf-8", "replace") for n in names)

    def count(self, file: Path) -> int:
        """How many images a file has, after looking at each label."""
        return len(self._load(file)[1])

    def read(self, file: Path, start: int, stop: int) -> _Records:
        """The images [start, stop); the file's other images stay in memory for the next call."""
        pixels, labels = self._load(file)
        if stop > len(labels):
            raise SourceError(f"{file} has become shorter since it was opened")
        return pixels[start:stop], labels[start:stop]

    def labels(self, file: Path, count: int) -> NDArray[np.int64]:
        """The labels of a file's images. -> (N,)."""
        labels = self._load(file)[1]
        if len(labels) != count:
            raise SourceError(f"{file} has another length than when it was opened")
        return labels

    def _load(self, file: Path) -> _Records:
        with layout.reading(file):
            status = file.stat()
        return _unpickled(file, self.labels_key, self.classes, status.st_mtime_ns, status.st_size)


# five files are CIFAR-10's training split: 154 MB in a process that reads all of it
@lru_cache(maxsize=5)
def _unpickled(file: Path, key: str, classes: tuple[int, ...], mtime: int, size: int) -> _Records:
    """A pickled file's pixels and labels, checked. `mtime` and `size` say which state of it."""
    content = read_pickle(file)
    pixels, labels = content.get("data"), content.get(key)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise SourceError(f"{file} has no array (N, {_PIXELS}) of bytes called data")
    if type(labels) is not list or not all(type(label) is int for label in labels):
        raise SourceError(f"{file} has no list of numbers called {key}")
    if len(labels) != len(pixels) or not labels:
        raise SourceError(f"{file} has {len(pixels)} images and {len(labels)} labels")
    # through Python's integers: a label may be too large for numpy's
    bad = next((label for label in labels if not 0 <= label < classes[-1]), None)
    if bad is not None:
        raise SourceError(f"{file} has a label outside 0..{classes[-1] - 1}")
    return pixels, np.array(labels, np.int64)


def _check_labels(file: Path, labels: NDArray[np.uint8], classes: Sequence[int]) -> None:
    """Each column of labels (N, K) must stay below its number of classes."""
    for column, limit in zip(labels.T, classes, strict=True):
        if column.size and column.max() >= limit:
            record = int(np.argmax(column >= limit))
            raise SourceError(
                f"{file} has a label outside 0..{limit - 1}: {column[record]} in record {record}"
            )


@dataclass(frozen=True, slots=True)
class Cifar:
    """One split of CIFAR-10 or CIFAR-100. Labels of CIFAR-100 are the fine ones."""

    kind: str
    split: str
    class_names: tuple[str, ...]
    folder: Path
    form: _Binary | _Pickled
    counts: tuple[int, ...]  # images in each of the split's files

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return 32, 32, 3

    def __len__(self) -> int:
        return sum(self.counts)

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop) as (N, 32, 32, 3) RGB. None is ever bad by itself.

        Raises:
            SourceError: a file has changed since the source was opened.
        """
        layout.check_range(start, stop, len(self))
        images = np.empty((stop - start, _PLANE, 3), np.uint8)
        labels = np.empty(stop - start, np.int64)
        done = 0
        for name, first, last in self._cut(start, stop):
            here = slice(done, done + last - first)
            pixels, labels[here] = self.form.read(self.folder / name, first, last)
            for channel in range(3):  # a plane at a time: eight times faster than one transpose
                images[here, :, channel] = pixels[:, channel * _PLANE : (channel + 1) * _PLANE]
            done = here.stop
        return Block(np.arange(start, stop), images.reshape(-1, 32, 32, 3), labels)

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample. -> (N,).

        Raises:
            SourceError: a file has changed since the source was opened.
        """
        files = zip(self.form.files.of(self.split), self.counts, strict=True)
        return np.concatenate([self.form.labels(self.folder / n, count) for n, count in files])

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of the split's files and the file of class names."""
        files = self.form.files
        return layout.fingerprint(self.folder, [*files.of(self.split), files.names])

    def _cut(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        """The range as (file, start, stop) within each file that it touches."""
        before = 0
        for name, count in zip(self.form.files.of(self.split), self.counts, strict=True):
            first, last = max(start - before, 0), min(stop - before, count)
            if first < last:
                yield name, first, last
            before += count


def open_cifar(kind: str, path: Path, split: str) -> Cifar:
    """Open a split of `cifar10` or `cifar100`, in the folder `path` or in the one within it.

    Where both versions lie side by side, the binary one is read. Of the other split nothing need
    be there.

    Raises:
        SourceError: no such layout, a missing or damaged file, an unknown split.
    """
    layout.check_split(kind, split, ("train", "test"))
    form, folder = _find(kind, path, split)
    names_file = folder / form.files.names
    names = form.class_names(names_file)
    if len(names) != form.classes[-1]:
        raise SourceError(f"{names_file} has {len(names)} class names, not {form.classes[-1]}")
    counts = tuple(form.count(folder / name) for name in form.files.of(split))
    return Cifar(kind, split, names, folder, form, counts)


def _find(kind: str, path: Path, split: str) -> tuple[_Binary | _Pickled, Path]:
    """The layout that is whole at a path, else an error about the one that is there in part."""
    in_part = []
    for form in _FORMS[kind]:
        wanted = (*form.files.of(split), form.files.names)
        for folder in (path, path / form.files.folder):
            lacking = layout.missing(folder, wanted)
            if not lacking:
                return form, folder
            if len(lacking) < len(wanted):
                in_part.append(f"{kind}: {folder} lacks {layout.listed(lacking)}")
    if in_part:
        raise SourceError(in_part[0])
    folders = " or ".join(form.files.folder for form in _FORMS[kind])
    files = ", ".join(_FORMS[kind][0].files.of(split))
    raise SourceError(
        f"{kind}: looked for {folders} ({files}, …) in {path}; found {layout.found(path)}"
    )


_FORMS: Mapping[str, tuple[_Binary | _Pickled, ...]] = {
    "cifar10": (
        _Binary(
            _Files(
                folder="cifar-10-batches-bin",
                train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
                test=("test_batch.bin",),
                names="batches.meta.txt",
            ),
            classes=(10,),
        ),
        _Pickled(
            _Files(
                folder="cifar-10-batches-py",
                train=tuple(f"data_batch_{i}" for i in range(1, 6)),
                test=("test_batch",),
                names="batches.meta",
            ),
            classes=(10,),
            labels_key="labels",
            names_key="label_names",
        ),
    ),
    "cifar100": (
        _Binary(
            _Files(
                folder="cifar-100-binary",
                train=("train.bin",),
                test=("test.bin",),
                names="fine_label_names.txt",
            ),
            classes=(20, 100),  # coarse, fine
        ),
        _Pickled(
            _Files(folder="cifar-100-python", train=("train",), test=("test",), names="meta"),
            classes=(100,),
            labels_key="fine_labels",
            names_key="fine_label_names",
        ),
    ),
}
