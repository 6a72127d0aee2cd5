"""Members of samples as arrays: each type by the fastest well-kept decoder whose pixels equal
Pillow's.

simplejpeg decodes JPEG like Pillow to the pixel (without its fast options, which do not) and
OpenCV decodes PNG; both work without the interpreter's lock, so threads share the work. Images of
one size go straight to their places in the batch. Of masks, most need only be inflated, by isal,
which takes a fraction of Pillow's time; OpenCV would turn palette ids into colours.
"""

import io
import json
import operator
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import starmap
from typing import Any, TypeAlias

import cv2
import numpy as np
import simplejpeg
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.errors import BundleError

Data: TypeAlias = bytes | memoryview
Array: TypeAlias = NDArray[Any]
Empty: TypeAlias = Callable[[tuple[int, ...]], NDArray[np.uint8]]  # an array of some shape

_MAX_PIXELS = 89_478_485  # of an image; here Pillow begins to warn of decompression bombs
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"  # of every PNG, up to its width
_PNG_HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, colour, and three methods
_GRAY, _PALETTE = 0, 3  # colour types of PNG


def field(extension: str) -> str:
    """The name of a member in a batch.

    >>> field("jpg"), field("mask.png"), field("cls"), field("npy")
    ('image', 'mask', 'label', 'array')
    """
    name, _, kind = extension.rpartition(".")
    return name or {"cls": "label", "npy": "array", "json": "record"}.get(kind, "image")


def _empty(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.empty(shape, np.uint8)


def decode(
    extension: str,
    files: Sequence[Data],
    pool: ThreadPoolExecutor | None,
    threads: int,
    empty: Empty = _empty,
) -> Array | list[Any]:
    """Decode one member of several samples, in order, by several threads where a pool is given.

    Images are (H, W, C) uint8, RGB or gray; a named PNG such as `mask.png` is (H, W), palette ids
    as they are. Where all samples have one shape and type they come as one (B, ...) array, for
    images in memory that `empty` gives; else, and when they are records, as a list.

    Raises:
        BundleError: an image is not what its extension says, or unreasonably large.
    """
    if not files:
        return []
    name, _, kind = extension.rpartition(".")
    picture = _IDS if name and kind == "png" else _PICTURES.get(kind)
    if picture is None:
        return _joined(_each(_OTHERS[kind], zip(files, strict=True), pool, threads))
    batch = empty((len(files), *_reasonable(picture.shape(files[0]))))
    places = list(batch)
    decoded = _each(picture.decode, zip(files, places, strict=True), pool, threads)
    if all(map(operator.is_, decoded, places)):
        return batch
    return _joined(decoded)


def _each(
    one: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    pool: ThreadPoolExecutor | None,
    threads: int,
) -> list[Any]:
    """`one` of each tuple of arguments, in order; every thread takes the next as it comes free."""
    if pool is None or threads < 2:
        return list(starmap(one, arguments))
    left = deque(enumerate(arguments))
    done: list[Any] = [None] * len(left)

    def work(_: int) -> None:
        while left:
            try:
                number, given = left.popleft()
            except IndexError:  # another thread was faster
                return
            done[number] = one(*given)

    for _ in pool.map(work, range(threads)):
        pass
    return done


def _joined(decoded: list[Any]) -> Array | list[Any]:
    """Arrays of one shape and type as one array; anything else stays a list."""
    if all(isinstance(one, np.ndarray) for one in decoded):
        if len({(array.shape, array.dtype) for array in decoded}) == 1:
            return np.stack(decoded)
    return decoded


def _reasonable(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a file's header claims, before there is memory for it."""
    if shape[0] * shape[1] > _MAX_PIXELS:
        raise BundleError(f"an image member claims to have {shape[1]}x{shape[0]} pixels")
    return shape


def _placed(pixels: Array, place: Array) -> Array:
    """Pixels in their place in the batch where they fit, else a copy."""
    if pixels.shape != place.shape or pixels.dtype != place.dtype:
        return pixels.copy()
    place[...] = pixels
    return place


def _jpeg_shape(data: Data) -> tuple[int, ...]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    return height, width, 3


def _jpeg(data: Data, place: Array) -> Array:
    """RGB pixels. -> (H, W, 3) uint8."""
    try:
        pixels: Array = simplejpeg.decode_jpeg(data, buffer=place)
    except ValueError:  # the place is too small; or the file is damaged, and this says so again
        pixels = simplejpeg.decode_jpeg(data)
    return place if pixels.shape == place.shape else pixels


def _png_header(data: Data) -> tuple[int, ...]:
    """Width, height, depth, colour type, compression, filter method, interlacing."""
    if len(data) < 33 or data[: len(_PNG_START)] != _PNG_START:
        raise BundleError("a .png member is not a PNG")
    return _PNG_HEADER.unpack_from(data, len(_PNG_START))


def _png_shape(data: Data) -> tuple[int, ...]:
    width, height, _, colour, *_ = _png_header(data)
    return height, width, 1 if colour == _GRAY else 3


def _png(data: Data, place: Array) -> Array:
    """RGB or gray pixels. -> (H, W, C) uint8."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint8:
        raise BundleError("a .png member is not an 8-bit PNG")
    if pixels.ndim == 2:
        return _placed(pixels[..., None], place)
    to_rgb = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    if place.shape != (*pixels.shape[:2], 3):
        return cv2.cvtColor(pixels, to_rgb)
    cv2.cvtColor(pixels, to_rgb, dst=place)
    return place


def _ids_shape(data: Data) -> tuple[int, ...]:
    return _png_shape(data)[:2]


def _ids(data: Data, place: Array) -> Array:
    """Palette indices or gray values. -> (H, W) uint8."""
    pixels = _plain_ids(data)
    if pixels is None:
        _check_chunks(data)  # Pillow reads no further than the last pixel, and misses the checksums
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            pixels = np.asarray(image)
    return _placed(pixels, place)


def _plain_ids(data: Data) -> Array | None:
    """The ids of a PNG of 8 bits a pixel without filter or interlacing; None for any other.

    Most tools write palettes so, for a filter, which takes differences, only makes ids longer.
    -> (H, W) uint8.
    """
    width, height, depth, colour, _, _, interlacing = _png_header(data)
    if depth != 8 or colour not in (_GRAY, _PALETTE) or interlacing:
        return None
    size = height * (1 + width)  # a row begins with its filter's number
    inflate = isal_zlib.decompressobj()
    try:
        rows = inflate.decompress(b"".join(_chunks(data, b"IDAT")), size + 1)
    except isal_zlib.error:  # type: ignore[misc]  # its stub says a value, not a class
        return None
    if len(rows) != size or not inflate.eof:
        return None
    pixels = np.frombuffer(rows, np.uint8).reshape(height, 1 + width)
    return None if pixels[:, 0].any() else pixels[:, 1:]


def _chunks(data: Data, kind: bytes) -> Iterator[Data]:
    """The contents of the chunks of one kind of a PNG."""
    start = 8
    while start + 12 <= len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] == kind:
            yield data[start + 8 : start + 8 + length]
        start += 12 + length


def _check_chunks(data: Data) -> None:
    """Compare the checksum of every chunk of a PNG.

    Raises:
        BundleError: one differs, or the file ends before its last chunk does.
    """
    start, kind = 8, b""
    while kind != b"IEND":
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        kind = bytes(data[start + 4 : start + 8])
        checksum = int.from_bytes(data[end : end + 4], "big")
        if end + 4 > len(data) or isal_zlib.crc32(data[start + 4 : end]) != checksum:
            raise BundleError("a .png member is damaged: a checksum differs")
        start = end + 4


def raw_shape(data: Data) -> tuple[int, tuple[int, int, int]]:
    """Where the pixels of a binary PGM or PPM begin, and their (H, W, C).

    >>> raw_shape(b"P6\\n4 2\\n255\\n" + bytes(24))
    (11, (2, 4, 3))

    Raises:
        BundleError: it is not such a file, or not as long as it says.
    """
    parts = bytes(data[:64]).split(b"\n", 3)
    try:
        width, height = map(int, parts[1].split())
        shape = (height, width, {b"P5": 1, b"P6": 3}[parts[0]])
        start = sum(len(part) + 1 for part in parts[:3])
        if parts[2] == b"255" and len(data) == start + height * width * shape[2]:
            return start, shape
    except (IndexError, KeyError, ValueError):
        pass
    raise BundleError("a raw image member is not a plain PGM or PPM of its size")


def raw(data: Data) -> Array:
    """Pixels of a binary PGM or PPM. -> (H, W, C) uint8."""
    start, shape = raw_shape(data)
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _class_id(data: Data) -> Array:
    """A class id. -> () int64."""
    return np.array(int(bytes(data)))


def _array(data: Data) -> Array:
    """An array; object arrays, which are pickles, are refused."""
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def _record(data: Data) -> Any:
    """A JSON record."""
    return json.loads(bytes(data))


@dataclass(frozen=True, slots=True)
class _Picture:
    """A type of image: its shape from the file's header, and its pixels.

    `decode` gets a place in a batch, and returns that place when the pixels are there.
    """

    shape: Callable[[Data], tuple[int, ...]]
    decode: Callable[[Data, Array], Array]


_RAW = _Picture(lambda data: raw_shape(data)[1], lambda data, place: _placed(raw(data), place))
_IDS = _Picture(_ids_shape, _ids)
_PICTURES = {
    "jpg": _Picture(_jpeg_shape, _jpeg),
    "png": _Picture(_png_shape, _png),
    "ppm": _RAW,
    "pgm": _RAW,
}
_OTHERS: dict[str, Callable[[Data], Any]] = {"cls": _class_id, "npy": _array, "json": _record}
