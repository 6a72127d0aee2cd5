"""HDF5 tables: the same arrays give the same bytes, and a foreign file names nothing outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from artifacts.errors import BundleError

_CHUNK = 1 << 16  # rows
_SCALARS = "biufS"  # numpy kinds that a table may hold: nothing of variable length, no objects


@contextmanager
def new_table(path: Path) -> Iterator[h5py.File]:
    """A new HDF5 file without times or creation order in it."""
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        yield file


def put(group: h5py.Group, name: str, array: NDArray[Any], **attributes: str) -> None:
    """Store an array, compressed by rows, with attributes that say what it holds."""
    compression: dict[str, Any] = {}
    if array.size:
        rows = min(len(array), _CHUNK)
        compression = {"chunks": (rows, *array.shape[1:]), "compression": "gzip", "shuffle": True}
    dataset = group.create_dataset(name, data=array, track_times=False, **compression)
    for attribute, text in sorted(attributes.items()):
        dataset.attrs[attribute] = np.bytes_(text.encode())


@contextmanager
def open_table(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to read from.

    Raises:
        BundleError: it is not HDF5, or an entry would lead out of it.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise BundleError(f"{path.name} is not an HDF5 file ({error})") from error
    with file:
        _refuse_links(file, path.name)
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
        BundleError: it is missing, of another shape, or of a type that tables do not hold.
    """
    place = f"{Path(group.file.filename).name}:{group.name.rstrip('/')}/{name}"
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise BundleError(f"{place} is missing")
    if shape is not None and dataset.shape != shape:
        raise BundleError(f"{place} has shape {dataset.shape}; the manifest says {shape}")
    if dataset.dtype.kind not in _SCALARS:
        raise BundleError(f"{place} holds {dataset.dtype}, which tables do not hold")
    try:
        array: NDArray[Any] = dataset[()]
    except OSError as error:
        raise BundleError(f"{place} cannot be read ({error})") from error
    return array


def group_of(group: h5py.Group, name: str) -> h5py.Group:
    """The entries of a group by name.

    Raises:
        BundleError: there is no such group.
    """
    found = group.get(name)
    if not isinstance(found, h5py.Group):
        raise BundleError(f"{Path(group.file.filename).name}:/{name} is missing")
    return found
