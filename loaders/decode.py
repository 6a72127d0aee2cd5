"""Members of samples as arrays: each type by the fastest well-kept decoder whose pixels equal
Pillow's.

simplejpeg decodes JPEG like Pillow to the pixel (without its fast options, which do not) and
OpenCV decodes PNG; both work without the interpreter's lock, so threads share the work. Palette
masks stay with Pillow: OpenCV would turn ids into colours.
"""

import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from artifacts.errors import BundleError

Data: TypeAlias = bytes | memoryview
Array: TypeAlias = NDArray[Any]


def field(extension: str) -> str:
    """The name of a member in a batch.

    >>> field("jpg"), field("mask.png"), field("cls"), field("npy")
    ('image', 'mask', 'label', 'array')
    """
    name, _, kind = extension.rpartition(".")
    return name or {"cls": "label", "npy": "array", "json": "record"}.get(kind, "image")


def decoder(extension: str) -> Callable[[Data], Any]:
    """What turns the bytes of a member into an array, or a record.

    Images are (H, W, C) uint8, RGB or gray; a named PNG such as `mask.png` is (H, W), palette ids
    as they are.
    """
    name, _, kind = extension.rpartition(".")
    if name and kind == "png":
        return ids
    return _DECODERS[kind]


def jpeg(data: Data) -> Array:
    """RGB pixels. -> (H, W, 3) uint8."""
    pixels: Array = simplejpeg.decode_jpeg(data)
    return pixels


def png(data: Data) -> Array:
    """RGB or gray pixels. -> (H, W, C) uint8."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint8:
        raise BundleError("a .png member is not an 8-bit PNG")
    if pixels.ndim == 2:
        return pixels[..., None]
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def ids(data: Data) -> Array:
    """Palette indices or gray values. -> (H, W) uint8."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.array(image)


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
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape).copy()


def class_id(data: Data) -> Array:
    """A class id. -> () int64."""
    return np.array(int(bytes(data)))


def array(data: Data) -> Array:
    """An array; object arrays, which are pickles, are refused."""
    return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))


def record(data: Data) -> Any:
    """A JSON record."""
    return json.loads(bytes(data))


_DECODERS: dict[str, Callable[[Data], Any]] = {
    "jpg": jpeg,
    "png": png,
    "ppm": raw,
    "pgm": raw,
    "cls": class_id,
    "npy": array,
    "json": record,
}


def decode(
    extension: str, files: Sequence[Data], pool: ThreadPoolExecutor | None, threads: int
) -> list[Any]:
    """Decode one member of several samples, in order, by several threads where a pool is given."""
    one = decoder(extension)
    if pool is None or threads < 2 or len(files) < 2:
        return [one(data) for data in files]
    runs = [files[i::threads] for i in range(threads)]
    decoded: list[Any] = [None] * len(files)
    made = pool.map(lambda run: [one(data) for data in run], runs)
    for i, run in enumerate(made):
        decoded[i::threads] = run
    return decoded
