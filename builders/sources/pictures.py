"""Image files of strangers: decoded to RGB, or refused with a reason that is the same every time.

Every image becomes RGB as Pillow converts it: transparency is dropped, of several frames the first
is taken, an EXIF orientation is ignored. More than eight bits a channel in gray are refused,
because Pillow would cut the values off at 255 without a word.
"""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from quire.builders.sources.source import Image as Pixels
from quire.builders.sources.tree import UnfitError

# only these: for others, whatever the file is called, Pillow would start Ghostscript and the like
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_EIGHT_BIT_MODES = frozenset("1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr".split())
_ORDINARY_SPACES = frozenset({"YCbCr", "Gray"})
_SUFFIXES = {"jpg": {".jpg", ".jpeg"}, "png": {".png"}}
_MAGIC = {"jpg": b"\xff\xd8", "png": b"\x89PNG"}
_MAX_PIXELS = 89_478_485  # here Pillow begins to warn of decompression bombs


def decode(data: bytes, size: tuple[int, int] | None = None) -> Pixels:
    """The image in the bytes of a file, (H, W, 3).

    With a size (W, H), the image is scaled until it just covers that size, by Pillow's bilinear
    filter, which averages when it shrinks; what sticks out is cut off evenly on both sides.

    Raises:
        UnfitError: they are no image, damaged, too large, or of more than eight bits.
    """
    with _opened(data) as picture:
        picture.load()
        _check_depth(picture)
        picture.info.pop("transparency", None)  # dropped anyway, but converting it may warn
        rgb = picture.convert("RGB")
        fitted = ImageOps.fit(rgb, size, Image.Resampling.BILINEAR) if size else rgb
        return np.array(fitted)


def ordinary_jpeg(data: bytes) -> Pixels | None:
    """The image in the bytes of a JPEG as `decode` gives it, in two thirds of the time. (H, W, 3).

    None where there is anything unusual about them: `decode` then says what, or makes do.
    """
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space not in _ORDINARY_SPACES or height * width > _MAX_PIXELS:
            return None
        pixels: Pixels = simplejpeg.decode_jpeg(data)  # refuses what libjpeg would warn of
    except ValueError:
        return None
    return pixels


def decode_ids(data: bytes) -> NDArray[np.uint8]:
    """The ids in the bytes of a mask, (H, W) uint8: the palette's numbers, or gray values.

    Raises:
        UnfitError: they are no image, damaged or too large, or their pixels are colours.
    """
    with _opened(data) as picture:
        if picture.mode not in ("P", "L"):
            raise UnfitError(f"its mode is {picture.mode}; a mask has ids: a palette, or gray")
        picture.load()
        return np.array(picture)


def decode_gray(data: bytes) -> NDArray[np.uint8]:
    """The brightness of each pixel of a file's image, (H, W) uint8; of black and white 0 and 255.

    Raises:
        UnfitError: they are no image, damaged, too large, or of more than eight bits.
    """
    with _opened(data) as picture:
        picture.load()
        _check_depth(picture)
        picture.info.pop("transparency", None)
        return np.array(picture.convert("L"))


def extension_of(names: Iterable[str]) -> str | None:
    """`jpg` or `png`, where all files of these names are such, else None.

    >>> extension_of(["a.JPG", "b.jpeg"]), extension_of(["a.png", "b.jpg"])
    ('jpg', None)
    """
    found = {PurePosixPath(name).suffix.lower() for name in names}
    return next((one for one, suffixes in _SUFFIXES.items() if found <= suffixes), None)


def check_content(data: bytes, extension: str) -> None:
    """Refuse a file that is not what its name says, `jpg` or `png`.

    Raises:
        UnfitError: it is not.
    """
    if not data.startswith(_MAGIC[extension]):
        raise UnfitError(f"its name says {extension}, its content does not")


def shape_in_header(data: bytes) -> tuple[int, int, int]:
    """(H, W, 3) of an image by the first bytes of its file, without decoding it.

    Raises:
        UnfitError: the header is damaged, that of no image, or longer.
    """
    with _opened(data) as picture:
        return picture.height, picture.width, 3


def _check_depth(picture: Image.Image) -> None:
    if picture.mode not in _EIGHT_BIT_MODES:
        raise UnfitError(f"its mode is {picture.mode}, which is not eight bits a channel")


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """An open image, of which only the header has been read."""
    bomb = f"a decompression bomb: more than {_MAX_PIXELS} pixels"
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise UnfitError(bomb)
            yield picture
    except (UnfitError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnfitError(bomb) from error
    except UnidentifiedImageError as error:  # whose own text has an address in memory in it
        reason = f"no {', '.join(_FORMATS)} image" if data else "the file is empty"
        raise UnfitError(reason) from error
    except Exception as error:  # a damaged file may lead a decoder to raise anything at all
        strerror = error.strerror if isinstance(error, OSError) else None
        text = strerror or " ".join(str(error).split()) or type(error).__name__
        raise UnfitError(text) from error
