"""HDF5 tables: the same arrays give the same bytes, and a foreign file names nothing outside."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import BundleError

_CHUNK = 1 << 16  # rows
_GROWTH = 1 << 13  # rows that an array of unknown length grows by
_PACKED = 1 << 11  # bytes that one of a file may stand for; gzip's most is about a thousand
_SCALARS = "biufS"  # numpy kinds that a table may hold: nothing of variable length, no objects


@contextmanager
def new_table(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file without times or creation order in it.

    The oldest form of each structure is one that HDF5 1.14 and 2.0 write alike, to the last byte;
    those of 1.8 and 1.10 (`libver="v108"`, `"v110"`) they do not.
    """
    with h5py.File(path, "w", libver=("earliest", "v108")) as file:
        yield file


def put(group: h5py.Group, name: str, array: NDArray[Any], **attributes: str) -> None:
    """Store an array, compressed by rows, with attributes that say what it holds."""
    compression: dict[str, Any] = {}
    if array.size:
        rows = min(len(array), _CHUNK)
        compression = {"chunks": (rows, *array.shape[1:]), "compression": "gzip", "shuffle": True}
    dataset = group.create_dataset(name, data=array, track_times=False, **compression)
    _describe(dataset, attributes)


def _describe(dataset: h5py.Dataset, attributes: Mapping[str, str]) -> None:
    for attribute, text in sorted(attributes.items()):
        dataset.attrs[attribute] = np.bytes_(text.encode())


class Growing:
    """Arrays that come in pieces: each is stored as its pieces joined along their first axis.

    What is in memory does not grow with them. The arrays stay open, so that a chunk is compressed
    once, when it is full.
    """

    def __init__(self, group: h5py.Group) -> None:
        self._group = group
        self._arrays: dict[str, h5py.Dataset] = {}

    def append(self, name: str, piece: NDArray[Any], **attributes: str) -> None:
        """Add rows to an array; the first piece says what it is, and has its attributes.

        Raises:
            ValueError: the piece has rows of another shape or type.
        """
        if name not in self._arrays:
            self._arrays[name] = self._group.create_dataset(
                name,
                shape=(0, *piece.shape[1:]),
                maxshape=(None, *piece.shape[1:]),
                dtype=piece.dtype,
                chunks=(_GROWTH, *piece.shape[1:]),
                compression="gzip",
                shuffle=True,
                track_times=False,
            )
            _describe(self._arrays[name], attributes)
        array = self._arrays[name]
        if (array.dtype, array.shape[1:]) != (piece.dtype, piece.shape[1:]):
            raise ValueError(
                f"{name} has rows of {array.dtype} {array.shape[1:]}; a piece has"
                f" {piece.dtype} {piece.shape[1:]}"
            )
        rows = len(array)
        array.resize(rows + len(piece), axis=0)
        array[rows:] = piece


@contextmanager
def open_table(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read from.

    Raises:
        BundleError: it is not HDF5, or an entry would lead out of it.
    """
    with _opened(path.name, lambda: h5py.File(path, "r")) as file:
        yield file


@contextmanager
def open_bytes(name: str, data: bytes) -> Iterator[h5py.File]:
    """An HDF5 file that lies in memory, to read from; its name is for messages.

    Raises:
        BundleError: it is not HDF5, or an entry would lead out of it.
    """

    def opened() -> h5py.File:
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_fapl_core(backing_store=False)
        access.set_file_image(data)
        place = f"{os.devnull}/{name}".encode()  # a name that no file can have
        return h5py.File(h5py.h5f.open(place, h5py.h5f.ACC_RDONLY, fapl=access))

    with _opened(name, opened) as file:
        yield file


@contextmanager
def _opened(name: str, opened: Callable[[], h5py.File]) -> Iterator[h5py.File]:
    try:
        file = opened()
    except OSError as error:
        raise BundleError(f"{name} is not an HDF5 file ({error})") from error
    with file:
        _refuse_links(file, name)
        yield file


def _refuse_links(group: h5py.Group, name: str) -> None:
    for key in group:
        place = f"{name}:{group.name.rstrip('/')}/{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise BundleError(f"{place} is a link; a bundle has none")
        entry = group[key]
        if isinstance(entry, h5py.Group):
            _refuse_links(entry, name)
        elif entry.external or entry.is_virtual:
            raise BundleError(f"{place} keeps its data in another file")


def get(group: h5py.Group, name: str, *, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Read an array; nothing is allocated before its shape and type are known to be sound.

    Raises:
        BundleError: see `check`; or it is damaged.
    """
    dataset = check(group, name, shape=shape)
    try:
        array: NDArray[Any] = dataset[()]
    except OSError as error:
        place = f"{Path(group.file.filename).name}:{dataset.name}"
        raise BundleError(f"{place} cannot be read ({error})") from error
    return array


def check(group: h5py.Group, name: str, *, shape: tuple[int, ...] | None = None) -> h5py.Dataset:
    """An array that could be read.

    Raises:
        BundleError: it is missing, of another shape, of a type that tables do not hold, or larger
            than what is in the file can be.
    """
    place = f"{Path(group.file.filename).name}:{group.name.rstrip('/')}/{name}"
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise BundleError(f"{place} is missing")
    if shape is not None and dataset.shape != shape:
        raise BundleError(f"{place} has shape {dataset.shape}; the manifest says {shape}")
    if dataset.dtype.kind not in _SCALARS:
        raise BundleError(f"{place} holds {dataset.dtype}, which tables do not hold")
    if dataset.nbytes > _PACKED * group.file.id.get_filesize():
        raise BundleError(f"{place} has shape {dataset.shape}, of which the file has no bytes")
    return dataset


def group_of(group: h5py.Group, name: str) -> h5py.Group:
    """The entries of a group by name.

    Raises:
        BundleError: there is no such group.
    """
    found = group.get(name)
    if not isinstance(found, h5py.Group):
        raise BundleError(f"{Path(group.file.filename).name}:/{name} is missing")
    return found
