"""The Semantic Boundaries Dataset's class masks (Hariharan et al. 2011), as its archive unpacks.

`benchmark_RELEASE/dataset/cls/<id>.mat` is a MATLAB 5 file with a structure `GTcls`, of which the
field `Segmentation` is the mask; train.txt and val.txt are beside `cls`. The reader here knows no
more of MATLAB than that, for scipy's can be made to crash the process by a damaged file.
"""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from quire.artifacts.errors import SourceError
from quire.builders.sources.scene import Mask
from quire.builders.sources.tree import Tree, UnfitError, stem

_PLACES = ("", "dataset", "benchmark_RELEASE/dataset")  # of `cls`, below the folder that is given
MAX_BYTES = 1 << 26  # of a file, packed or not; SBD's own have some thousand
_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15  # types of elements
_STRUCTURE, _NUMERIC = 2, range(6, 16)  # classes of arrays
_NUMBERS = {1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 9: "<f8"}  # as stored
_NO_MASK = "it has no GTcls.Segmentation with one byte a pixel"


def find_sbd(tree: Tree) -> Tree | None:
    """The folder that holds `cls`: the one that is given, or below it where the archive puts it."""
    for place in _PLACES:
        if tree.is_folder(f"{place}/cls" if place else "cls"):
            return tree.below(place)
    return None


def sbd_ids(tree: Tree) -> set[str]:
    """The ids of all masks.

    Raises:
        SourceError: there are none.
    """
    ids = {stem(name) for name in tree.entries("cls") if name.endswith(".mat")}
    if not ids:
        raise SourceError(
            f"voc2012: looked for cls/*.mat in {tree.place()}; found {tree.found('cls')}"
        )
    return ids


def read_mat(data: bytes) -> Mask:
    """The mask in the bytes of a .mat file of SBD, (H, W) uint8.

    Raises:
        UnfitError: another kind of file, or a damaged one.
    """
    if data[124:_HEADER] != b"\x00\x01IM":  # version 1, little-endian
        raise UnfitError("no little-endian MATLAB 5 file")
    try:
        for kind, content in _elements(memoryview(data)[_HEADER:]):
            if kind == _COMPRESSED:
                kind, content = next(_elements(_inflated(content)))
            if kind == _MATRIX and (mask := _mask(content)) is not None:
                return mask
    except (ValueError, IndexError, struct.error, StopIteration, zlib.error) as error:
        raise UnfitError("damaged, or cut off") from error
    raise UnfitError(_NO_MASK)


def _inflated(packed: memoryview) -> memoryview:
    inflate = zlib.decompressobj()
    content = inflate.decompress(packed, MAX_BYTES)
    if not inflate.eof:
        raise ValueError("longer than any mask, or cut off")
    return memoryview(content)


def _elements(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The elements of a file or of an array: type and content. Padding fills to eight bytes.

    Raises:
        ValueError: one is longer than what it is in.
    """
    start = 0
    while start < len(data):
        kind, size = struct.unpack_from("<II", data, start)
        begin = start + 8
        if kind >> 16:  # a short one: its content is in the second half of its tag
            kind, size, begin = kind & 0xFFFF, kind >> 16, start + 4
        if begin + size > len(data):
            raise ValueError("an element is cut off")
        yield kind, data[begin : begin + size]
        # only a compressed element is not padded, and only files have such
        start = begin + size if kind == _COMPRESSED else begin + size + -(begin + size - start) % 8


def _mask(content: memoryview) -> Mask | None:
    """The field Segmentation of an array, if that is the one structure GTcls."""
    parts = _elements(content)
    flags, dimensions, name = (next(parts)[1] for _ in range(3))
    if flags[0] != _STRUCTURE or bytes(name) != b"GTcls" or math.prod(_shape(dimensions)) != 1:
        return None
    (width,) = struct.unpack("<i", next(parts)[1])
    names = bytes(next(parts)[1])
    for start in range(0, len(names), max(width, 1)):
        field = next(parts)[1]
        if names[start : start + width].rstrip(b"\0") == b"Segmentation":
            return _pixels(field)
    return None


def _pixels(content: memoryview) -> Mask | None:
    """Column after column, as MATLAB has them; numbers are stored in whatever type holds them."""
    parts = _elements(content)
    flags, dimensions, _ = (next(parts)[1] for _ in range(3))
    kind, data = next(parts)
    shape = _shape(dimensions)
    if flags[0] not in _NUMERIC or kind not in _NUMBERS or len(shape) != 2 or min(shape) < 1:
        return None
    values = np.frombuffer(data, _NUMBERS[kind])
    with np.errstate(invalid="ignore"):  # NaN is no id
        ids = values.astype(np.uint8)
    if values.size != math.prod(shape) or not np.array_equal(values, ids):
        return None
    return np.ascontiguousarray(ids.reshape(shape, order="F"))


def _shape(dimensions: memoryview) -> tuple[int, ...]:
    return struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
