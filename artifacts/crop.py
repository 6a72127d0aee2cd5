"""Square views of a scene and its mask: what a crop is, as six numbers, and what it shows.

A crop that was drawn when a bundle was built can be stored beside the sample's key and looked up
when it is read, so whoever makes the pixels makes the same ones. Images are brought to another size
bilinearly, and are smoothed where they shrink: by Pillow then, and by OpenCV's exact variant where
they grow, which is within a level of it in a third of the time. Masks take the id of the nearest
pixel, in arithmetic of integers. Where a crop shows what is outside the image, it shows `FILL` and
the mask says `VOID`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

FILL = (124, 116, 104)  # the mean colour of ImageNet: normalised by it, nearly 0
VOID = 255  # pixels that belong to no class

_WHOLE = 1 << 22  # pixels: larger images are never scaled as a whole

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Bring an image to `height` x `width`, cut a square out of it, and perhaps mirror that."""

    height: int  # of the whole image, when it has been scaled
    width: int
    top: int  # where in it the square's first row lies; negative, if above it
    left: int
    size: int  # of the square, which has at least a pixel in common with the image
    mirrored: bool  # left and right


def random_crop(
    height: int,
    width: int,
    numbers: Sequence[float],
    *,
    size: int,
    scale: tuple[float, float] = (0.5, 2.0),
    longest: int | None = None,
) -> Crop:
    """Scale an image by a factor that is uniform in `scale`, cut anywhere, mirror every other one.

    `numbers` are four in [0, 1): of the factor, the row, the column and the mirror. An image that
    is smaller than the square lies in its middle. Before all that, its longer side is brought to
    `longest` pixels where that is given; pixels are interpolated once.

    >>> random_crop(375, 500, (0.5, 0.0, 0.5, 0.9), size=513)
    Crop(height=468, width=625, top=-23, left=56, size=513, mirrored=False)
    >>> random_crop(375, 500, (0.5, 0.0, 0.5, 0.9), size=161, longest=240)
    Crop(height=225, width=300, top=0, left=70, size=161, mirrored=False)
    """
    factor = scale[0] + (scale[1] - scale[0]) * numbers[0]
    if longest is not None:
        factor *= longest / max(height, width)
    height, width = max(1, int(height * factor)), max(1, int(width * factor))
    return Crop(
        height=height,
        width=width,
        top=_start(height - size, numbers[1]),
        left=_start(width - size, numbers[2]),
        size=size,
        mirrored=numbers[3] < 0.5,
    )


def centre_crop(height: int, width: int, *, size: int, longest: int | None = None) -> Crop:
    """The middle of an image as it is, or an image in the middle of the square.

    Its longer side is brought to `longest` pixels before that, where that is given.

    >>> centre_crop(375, 514, size=513)
    Crop(height=375, width=514, top=-69, left=0, size=513, mirrored=False)
    >>> centre_crop(375, 500, size=241, longest=241)
    Crop(height=180, width=241, top=-31, left=0, size=241, mirrored=False)
    """
    height, width = _bounded(height, width, longest)
    top, left = (height - size) // 2, (width - size) // 2
    return Crop(height=height, width=width, top=top, left=left, size=size, mirrored=False)


def whole_crop(height: int, width: int, *, longest: int | None = None) -> Crop:
    """All of an image, in the corner of a square of its longer side.

    >>> whole_crop(375, 500)
    Crop(height=375, width=500, top=0, left=0, size=500, mirrored=False)
    """
    height, width = _bounded(height, width, longest)
    size = max(height, width)
    return Crop(height=height, width=width, top=0, left=0, size=size, mirrored=False)


def cropped(image: Pixels, crop: Crop, *, fill: tuple[int, int, int] = FILL) -> Pixels:
    """What a crop shows of an image. (H, W, 3) uint8 -> (size, size, 3) uint8."""
    out = np.empty((crop.size, crop.size, 3), np.uint8)
    out[:] = np.full((crop.size, 3), fill, np.uint8)  # by rows: by pixels takes as long as scaling
    rows, columns = _shown(crop.top, crop.height, crop), _shown(crop.left, crop.width, crop)
    out[_place(rows, columns, crop)] = _scaled(image, crop, rows, columns)
    return out


def cropped_mask(mask: Pixels, crop: Crop) -> Pixels:
    """What a crop shows of a mask. (H, W) uint8 -> (size, size) uint8."""
    out = np.full((crop.size, crop.size), VOID, np.uint8)
    rows, columns = _shown(crop.top, crop.height, crop), _shown(crop.left, crop.width, crop)
    above = _nearest(rows, crop.height, mask.shape[0])
    before = _nearest(columns, crop.width, mask.shape[1])
    if crop.mirrored:
        before = before[::-1]
    out[_place(rows, columns, crop)] = mask.take(above, axis=0).take(before, axis=1)
    return out


def _bounded(height: int, width: int, longest: int | None) -> tuple[int, int]:
    """An image's sides, brought to a longer one of `longest` where that is given."""
    if longest is None:
        return height, width
    longer = max(height, width)
    return max(1, height * longest // longer), max(1, width * longest // longer)


def _start(spare: int, number: float) -> int:
    """Where the square begins, in an image with so many rows or columns to spare."""
    return int(number * (spare + 1)) if spare >= 0 else spare // 2


def _shown(start: int, length: int, crop: Crop) -> range:
    """The rows or columns of the scaled image that lie in the square."""
    return range(max(0, start), min(length, start + crop.size))


def _place(rows: range, columns: range, crop: Crop) -> tuple[slice, slice]:
    """Where in the square they are seen."""
    top, left = rows.start - crop.top, columns.start - crop.left
    if crop.mirrored:
        left = crop.size - left - len(columns)
    return slice(top, top + len(rows)), slice(left, left + len(columns))


def _scaled(image: Pixels, crop: Crop, rows: range, columns: range) -> Pixels:
    """A part of the scaled image, mirrored if need be."""
    height, width, _ = image.shape
    if crop.height < height or crop.width < width or crop.height * crop.width > _WHOLE:
        return _scaled_part(image, crop, rows, columns)
    size = crop.width, crop.height
    whole = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT)
    part = whole[rows.start : rows.stop, columns.start : columns.stop]
    # far faster than by numpy, which moves one byte at a time
    return np.asarray(cv2.flip(part, 1), np.uint8) if crop.mirrored else np.asarray(part, np.uint8)


def _scaled_part(image: Pixels, crop: Crop, rows: range, columns: range) -> Pixels:
    """The same by Pillow; the rest of the scaled image is never computed."""
    height, width, _ = image.shape
    box = (
        columns.start * width / crop.width,
        rows.start * height / crop.height,
        columns.stop * width / crop.width,
        rows.stop * height / crop.height,
    )
    size = len(columns), len(rows)
    picture = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box)
    if crop.mirrored:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture)


def _nearest(places: range, length: int, source: int) -> NDArray[np.int64]:
    """The pixel, of `source`, in which the centres of some of `length` scaled ones lie."""
    return (2 * np.arange(places.start, places.stop) + 1) * source // (2 * length)
