"""What may be a member of a sample, and how images, class ids, arrays and records become bytes.

A member's extension says what it is: `ppm`, `pgm`, `jpg`, `png` hold an image, `mask.png` and the
like a named one, `cls` a class id, `npy` an array, `json` a record. Nothing that a reader would
have to execute (`pyd`, `pkl`, `pth`) is ever written or read.
"""

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import BundleError

IMAGES = ("ppm", "pgm", "jpg", "png")
KINDS = (*IMAGES, "cls", "npy", "json")
RAW_IMAGE = {1: "pgm", 3: "ppm"}  # the extension of a raw image, by its number of channels

_KEY = re.compile(r"[A-Za-z0-9_-]+")
_EXTENSION = re.compile(rf"(?:[a-z0-9_]+\.)?(?:{'|'.join(KINDS)})")


def check_key(key: str) -> None:
    """A key is letters, digits, `_` and `-`: WebDataset would cut it at a dot, a path at a slash.

    Raises:
        BundleError: it is not.
    """
    if not _KEY.fullmatch(key):
        raise BundleError(f"key {key!r} is not made of letters, digits, '_' and '-' alone")


def check_extension(extension: str) -> None:
    """An extension is one of KINDS, or a name and one of them (`mask.png`).

    Raises:
        BundleError: it is something else, a pickle for instance.
    """
    if not _EXTENSION.fullmatch(extension):
        raise BundleError(f"members of type {extension!r} are refused; known: {', '.join(KINDS)}")


def raw_header(height: int, width: int, channels: int) -> bytes:
    """The header of a binary PGM (1 channel) or PPM (3 channels), up to the first pixel.

    >>> raw_header(32, 32, 3)
    b'P6\\n32 32\\n255\\n'
    """
    magic = {1: "P5", 3: "P6"}[channels]
    return f"{magic}\n{width} {height}\n255\n".encode()


def raw_images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images as the bytes of PGM or PPM files. (N, H, W, C) uint8 -> (N, L) uint8."""
    count, height, width, channels = images.shape
    header = np.frombuffer(raw_header(height, width, channels), np.uint8)
    files = np.empty((count, len(header) + height * width * channels), np.uint8)
    files[:, : len(header)] = header
    files[:, len(header) :] = images.reshape(count, height * width * channels)
    return files


def class_ids(labels: NDArray[np.int64]) -> list[bytes]:
    """Class ids as plain decimal text, which is what WebDataset's `cls` is. (N,) -> N files."""
    return [b"%d" % label for label in labels.tolist()]


def array_file(array: NDArray[np.generic]) -> bytes:
    """An array as an `npy`, in C order whatever its own is; objects, which are pickled, never."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def record_file(record: Mapping[str, Any]) -> bytes:
    """A record as `json`: keys in order, no NaN.

    >>> record_file({"b": None, "a": [1, 0.5]})
    b'{"a": [1, 0.5], "b": null}'
    """
    return json.dumps(record, sort_keys=True, allow_nan=False).encode()
