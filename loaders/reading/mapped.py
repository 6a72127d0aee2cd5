"""Shards mapped into memory, without a file descriptor kept open.

`mmap.mmap` keeps a descriptor for every map (Python can do without from 3.13 on), and the usual
limits are 256 to 1,024 of them: fewer than a large bundle has shards. So the system's own calls
are used, which are the same on Linux and macOS.
"""

import ctypes
import mmap
import os
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.index import Index
from quire.loaders.order import Rows
from quire.loaders.reading.held import Bytes, Held

_MOST = 1 << 14  # shards that are mapped at a time; the system allows some 65,000
_ZERO = np.zeros(1, np.int64)
_FAILED = ctypes.c_void_p(-1).value


@cache
def _system() -> Any:
    """The C library's calls, by their names."""
    library = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.argtypes = (pointer, size, number, number, number, ctypes.c_int64)
    library.mmap.restype = pointer
    library.munmap.argtypes = (pointer, size)
    library.madvise.argtypes = (pointer, size, number)
    library.mincore.argtypes = (pointer, size, pointer)
    return library


def map_file(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, read when they are used; let go of with the last view of them. -> (L,).

    A file that is shortened while it is mapped ends the process that reads behind its end.

    Raises:
        OSError: it cannot be opened or mapped.
    """
    with path.open("rb") as file:
        return map_open(file)


def map_open(file: IO[bytes]) -> NDArray[np.uint8]:
    """The bytes of an open file, which may be closed then; see `map_file`. -> (L,)."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return np.empty(0, np.uint8)
    address = _system().mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), file.name)
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, _system().munmap, address, size).atexit = False
    view = np.ctypeslib.as_array(memory)
    view.flags.writeable = False
    return view


def expect_random(mapped: NDArray[np.uint8]) -> None:
    """Read no more than a page where a page is missing: what comes next is not what is beside it.

    Without this, 128 KB are read for a sample of 5.
    """
    _advise(mapped, mmap.MADV_RANDOM)


def in_memory(addresses: NDArray[np.int64]) -> bool:
    """Whether the pages with some mapped bytes can be read without the disk. (N,) -> ..."""
    state = ctypes.c_ubyte(0)
    where, mincore = ctypes.byref(state), _system().mincore
    for page in (addresses - addresses % mmap.PAGESIZE).tolist():
        if mincore(page, 1, where) or not state.value & 1:
            return False
    return True


def _advise(mapped: NDArray[np.uint8], advice: int) -> None:
    """Advice that is not taken changes no byte."""
    if len(mapped):
        _system().madvise(mapped.ctypes.data, len(mapped), advice)


class Mapped:
    """Shards that are mapped when they are first needed."""

    def __init__(self, index: Index, open_shard: Callable[[int], Bytes]) -> None:
        """`open_shard` maps a shard by its number, and may raise a BundleError."""
        self.index = index
        self.open_shard = open_shard
        self._arrays: dict[int, Bytes] = {}
        self._addresses = np.zeros(int(index.shard.max(initial=-1)) + 1, np.int64)
        self._lock = Lock()

    def held(self, rows: Rows) -> Held:
        """See `quire.loaders.reading.held.Shards`."""
        shards = self.index.shard.take(rows)
        with self._lock:
            addresses = self._addresses.take(shards)
            if len(self._arrays) < len(self._addresses) and not addresses.all():
                self._map(np.unique(shards).tolist())
                addresses = self._addresses.take(shards)
            return Held(self._arrays, shards, _ZERO, addresses)

    def _map(self, numbers: Sequence[int]) -> None:
        if len(self._arrays) + len(numbers) > _MOST:
            self._arrays = {}  # what is in use is held by whoever uses it
            self._addresses[:] = 0
        for number in numbers:
            if number not in self._arrays:
                self._arrays[number] = array = self.open_shard(number)
                self._addresses[number] = array.ctypes.data
