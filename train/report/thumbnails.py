"""The pictures of a sample, small: whatever a bundle's image members hold, decoded by Pillow."""

import io

from PIL import Image, UnidentifiedImageError

from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.masks import voc_palette
from quire.artifacts.members import IMAGES
from quire.train.report.printable import decoded, printable

SMALL = 64  # pixels: what is smaller is enlarged by whole pixels, up to this
LARGE = 160  # what is larger is reduced to this

_FORMATS = ("JPEG", "PNG", "PPM")
_MAX_PIXELS = 1 << 26


def pictured(index: Index) -> list[str]:
    """The members that hold an image: the sample's own first, then named ones such as mask.png."""
    images = [e for e in index.rows.offsets if e.rpartition(".")[2] in IMAGES]
    return sorted(images, key=lambda extension: ("." in extension, extension))


def thumbnails(bundle: Bundle, row: int, *, density: int) -> list[Image.Image]:
    """A sample's pictures in RGB, in the order of `pictured`, `density` times their size.

    Raises:
        BundleError: one of them is no image, damaged, or too large to be decoded.
    """
    files = bundle.read(row)
    found = []
    for extension in pictured(bundle.index):
        try:
            picture = _opened(files[extension], ids="." in extension)
        except Exception as error:  # a damaged file may lead a decoder to raise anything at all
            name = f"{decoded(bundle.index.rows.keys[row])}.{extension}"
            raise BundleError(f"{name} is not a sound image ({_reason(error)})") from error
        found.append(_fitted(picture, density))
    return found


def _opened(data: bytes, *, ids: bool) -> Image.Image:
    """A picture in RGB, or still in its palette: its pixels then are ids."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
        if not 0 < picture.width * picture.height <= _MAX_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many, or too few")
        picture.load()
        if ids and picture.mode == "L":
            picture.putpalette(voc_palette().tobytes())
        picture.info.pop("transparency", None)  # converting it may warn
        return picture if picture.mode == "P" else picture.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its own text has an address in it
        return f"none of {', '.join(_FORMATS)}"
    return printable(error)


def _fitted(picture: Image.Image, density: int) -> Image.Image:
    """At its size on the sheet, in RGB."""
    side = max(picture.size)
    if side <= LARGE:
        factor = max(1, SMALL // side) * density
        size = picture.width * factor, picture.height * factor
        return picture.resize(size, Image.Resampling.NEAREST).convert("RGB")
    scale = LARGE * density / side
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    # in a palette Pillow takes the nearest pixel whatever is asked for: ids are never mixed
    return picture.resize(size, Image.Resampling.LANCZOS).convert("RGB")
