"""Arrays of bytes and of floats in MATLAB 5 files, and nothing else of what such a file may hold.

The layout is that of MathWorks' "MAT-File Format": a header of 128 bytes, then one element a
variable, which may be compressed as a whole. scipy's reader, with all that it understands, can be
made to crash the process by a damaged file; this one is strict, and believes no size that it reads.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15  # types of elements
BYTES: Mapping[int, np.dtype[Any]] = {2: np.dtype(np.uint8)}  # types of what is stored in them
FLOATS: Mapping[int, np.dtype[Any]] = {7: np.dtype("<f4"), 9: np.dtype("<f8")}
_PLAIN = range(6, 16)  # classes of arrays: double, single, and integers of 8 to 64 bits
_COMPLEX = 0x800
_LONGEST = 256  # bytes of a name, or of a shape
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of a file, its data being next in its element."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    element: "_Element"
    padding: int

    def data(self) -> NDArray[Any]:
        """The array in memory: the first axis is the fastest; read-only."""
        size = self.dtype.itemsize * math.prod(self.shape)
        data = np.frombuffer(self.element.take(size), self.dtype)
        self.element.finish(self.padding)
        data.flags.writeable = False
        return data.reshape(self.shape, order="F")


class _Element:
    """The bytes of one element, in order, unpacked where it is compressed."""

    def __init__(self, file: Path, stream: IO[bytes], size: int, *, packed: bool) -> None:
        self._file = file
        self._stream = stream
        self._left = size
        self._inflate = zlib.decompressobj() if packed else None

    def take(self, size: int) -> bytearray:
        """The next bytes; memory grows with what is there, not with what was promised."""
        taken = bytearray()
        while len(taken) < size:
            piece = self._some(size - len(taken))
            if not piece:
                raise SourceError(f"{self._file} ends within a variable")
            taken += piece
        return taken

    def part(self) -> tuple[int, int, int]:
        """What the tag of the next part says: its type, its size, and the padding behind it."""
        (first,) = struct.unpack("<I", self.take(4))
        if small := first >> 16:  # the data is in the second half of the tag
            return first & 0xFFFF, small, 4 - small
        (size,) = struct.unpack("<I", self.take(4))
        return first, size, -size % 8

    def short(self) -> bytes:
        """The next part, which must not be long."""
        _, size, padding = self.part()
        if size > _LONGEST or padding < 0:
            raise SourceError(f"{self._file} has a variable whose header makes no sense")
        data = bytes(self.take(size))
        self.take(padding)
        return data

    def finish(self, padding: int) -> None:
        """Be sure that nothing but padding is left; at the end, a compressed one is checked."""
        self.take(padding)
        if self._some(1) or (self._inflate and not self._inflate.eof):
            raise SourceError(f"{self._file} has a variable that is not as long as it says")

    def _some(self, most: int) -> bytes:
        """Some of the next bytes, but no more than `most`; none at the end."""
        if self._inflate is None:
            return self._read(min(most, _CHUNK))
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._read(_CHUNK)
            piece = self._inflate.decompress(packed, most)
            if piece or not packed:
                return piece
        return b""

    def _read(self, most: int) -> bytes:
        data = self._stream.read(min(most, self._left))
        self._left -= len(data)
        return data


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The arrays of bytes in a file by name, of which only the headers are read.

    Raises:
        SourceError: it is no MATLAB 5 file, damaged, or has two arrays of one name.
    """
    found: dict[str, tuple[int, ...]] = {}
    with _opened(file) as stream:
        for array in _arrays(file, stream, BYTES):
            if array.name in found:
                raise SourceError(f"{file} has two arrays called {layout.shown(array.name)}")
            found[array.name] = array.shape
    return found


def read_array(
    file: Path, name: str, stored: Mapping[int, np.dtype[Any]] = BYTES, most: int | None = None
) -> NDArray[Any]:
    """One array, its first axis being the fastest, as MATLAB has it; read-only.

    Args:
        file: where it is.
        name: what it is called.
        stored: what its values must be stored as, BYTES or FLOATS.
        most: how many values it may have; default: any number.

    Raises:
        SourceError: it is no MATLAB 5 file, damaged, or has no such array, or a larger one.
    """
    with _opened(file) as stream:
        for array in _arrays(file, stream, stored):
            if array.name == name:
                if most is not None and math.prod(array.shape) > most:
                    raise SourceError(f"{file} has an array of {array.shape} called {name}")
                return array.data()
    kind = "bytes" if stored is BYTES else "floats"
    raise SourceError(f"{file} has no array of {kind} called {name}")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    try:
        with layout.reading(file), file.open("rb") as stream:
            yield stream
    except zlib.error as error:
        raise SourceError(f"{file} cannot be unpacked: {error}") from error


def _arrays(file: Path, stream: IO[bytes], stored: Mapping[int, np.dtype[Any]]) -> Iterator[_Array]:
    """The arrays whose values are stored so; cells, structures and other things are not."""
    size = stream.seek(0, 2)
    stream.seek(0)
    header = stream.read(_HEADER)
    if header.startswith(b"MATLAB 7.3"):
        raise SourceError(f"{file} is a MATLAB 7.3 file, not one of MATLAB 5")
    if header[124:] != b"\x00\x01IM":  # version 1, little-endian
        raise SourceError(f"{file} is not a little-endian MATLAB 5 file")
    position = _HEADER
    while position < size:
        stream.seek(position)
        tag = stream.read(8)
        kind, length = struct.unpack("<2I", tag) if len(tag) == 8 else (0, 0)
        position += 8 + length
        if kind not in (_MATRIX, _COMPRESSED) or position > size:
            raise SourceError(f"{file} is cut off, or damaged, before byte {position}")
        element = _Element(file, stream, length, packed=kind == _COMPRESSED)
        if kind == _COMPRESSED and element.part()[0] != _MATRIX:
            continue
        if (array := _array(element, stored)) is not None:
            yield array


def _array(element: _Element, types: Mapping[int, np.dtype[Any]]) -> _Array | None:
    """The array in an element; None for whatever else it is."""
    flags = element.short()
    (bits,) = struct.unpack_from("<I", flags.ljust(4, b"\0"))
    if bits & 0xFF not in _PLAIN or bits & _COMPLEX:
        return None
    dimensions = element.short()
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions[: len(dimensions) // 4 * 4])
    name = element.short().decode("ascii", "replace")
    stored, size, padding = element.part()
    if stored not in types or any(n < 0 for n in shape):
        return None
    if size != math.prod(shape) * types[stored].itemsize:
        return None
    return _Array(name, shape, types[stored], element, padding)
