"""What cameras, codecs and editors do: brightness, contrast, saturation, pixels, JPEG.

Constants and conventions: Hendrycks & Dietterich (2019), CIFAR-10-C; they differ from ImageNet-C's.
"""

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from quire.artifacts.compiled import compiled
from quire.builders.corruptions.images import Floats, Generators, Images, Indices, constant

_BRIGHTNESS = {1: 0.05, 2: 0.1, 3: 0.15, 4: 0.2, 5: 0.3}  # added to the value
_CONTRAST = {1: 0.75, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.15}
_SATURATE = {1: (0.3, 0.0), 2: (0.1, 0.0), 3: (1.5, 0.0), 4: (2.0, 0.1), 5: (2.5, 0.2)}
_QUALITY = {1: 80, 2: 65, 3: 58, 4: 50, 5: 40}
_PIXELATE = {1: 0.95, 2: 0.9, 3: 0.85, 4: 0.75, 5: 0.65}

Weights: TypeAlias = NDArray[np.uint32]  # in fixed point
_FIXED_BITS = 22  # Pillow weighs bytes by integers of this many fractional bits


def brightness(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Raise the value of HSV. (N, H, W, 3) -> (N, H, W, 3); CIFAR-10-C, severity 1..5."""
    return _through_hsv(images, (1.0, 0.0, constant(_BRIGHTNESS, severity)))


def saturate(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Scale and shift the saturation of HSV. (N, H, W, 3) -> same; CIFAR-10-C (extra), 1..5."""
    factor, shift = constant(_SATURATE, severity)
    return _through_hsv(images, (factor, shift, 0.0))


def contrast(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Pull each channel towards its mean. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C, 1..5."""
    out = np.empty_like(images)
    _pull(images, np.arange(256) / 255, constant(_CONTRAST, severity), out)
    return out


def pixelate(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Shrink by box averages, and grow again. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C, 1..5.

    The averages are Pillow's: in fixed point, first along the rows. Both sides must be 2 pixels
    or more.
    """
    factor = constant(_PIXELATE, severity)
    rows, columns = (_boxes(side, int(side * factor)) for side in images.shape[1:3])
    out = np.empty_like(images)
    _pixelate(images, *rows, *columns, out)
    return out


def jpeg_compression(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Through JPEG and back. (N, H, W, C) -> (N, H, W, C), C 1 or 3; CIFAR-10-C, severity 1..5.

    To the byte what Pillow's encoder and decoder make of it, chroma at half the resolution.
    """
    settings = [cv2.IMWRITE_JPEG_QUALITY, constant(_QUALITY, severity)]
    swapped = np.ascontiguousarray(images[..., ::-1])  # OpenCV's encoder takes blue first
    out = np.empty_like(swapped)
    for image, decoded in zip(swapped, out, strict=True):
        _, code = cv2.imencode(".jpg", image, settings)
        space = "RGB" if image.shape[2] == 3 else "GRAY"
        simplejpeg.decode_jpeg(code.data, space, buffer=decoded)
    return out


def _through_hsv(images: Images, change: tuple[float, float, float]) -> Images:
    """With the saturation scaled and shifted, and the value lifted."""
    red, green, blue = np.moveaxis(images, -1, 0)  # which refuses grey images
    out = np.empty_like(images)
    _change_hsv(red, green, blue, np.arange(256) / 255, change, out)
    return out


@lru_cache(maxsize=256)
def _boxes(side: int, small: int) -> tuple[Indices, Weights, Indices]:
    """How a line of pixels shrinks by boxes, and which small pixel each pixel then becomes.

    -> source (small, taps), its weight (small, taps) in fixed point, back (side,).
    """
    step = side / small
    scale = max(step, 1.0)
    centres = ((np.arange(small) + 0.5) * step)[:, np.newaxis]
    first, stop = (np.floor(centres + half + 0.5) for half in (-scale / 2, scale / 2))
    source = np.maximum(first, 0).astype(np.int64) + np.arange(int(step) + 2)
    off = (source - centres + 0.5) * (1 / scale)
    inside = (off > -0.5) & (off <= 0.5) & (source < np.minimum(stop, side))
    taps = inside.any(axis=0)
    share = inside[:, taps] / inside.sum(axis=1, keepdims=True)
    weight = (0.5 + share * 2**_FIXED_BITS).astype(np.uint32)
    back = ((np.arange(side) + 0.5) * (small / side)).astype(np.int64)
    return np.minimum(source[:, taps], side - 1), weight, back


@compiled()
def _change_hsv(
    red: Images,
    green: Images,
    blue: Images,
    levels: Floats,
    change: tuple[float, float, float],
    out: Images,
) -> None:
    """Colours (N, H, W) each, to HSV, changed, and back: (N, H, W, 3)."""
    factor, shift, lift = change
    for n in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                r, g, b = levels[red[n, y, x]], levels[green[n, y, x]], levels[blue[n, y, x]]
                hue, saturation, value = _to_hsv(r, g, b)
                saturation = min(max(saturation * factor + shift, 0.0), 1.0)
                value = min(max(value + lift, 0.0), 1.0)
                colour = _from_hsv(hue, saturation, value)
                for c in range(3):
                    out[n, y, x, c] = np.uint8(min(max(colour[c], 0.0), 1.0) * 255)


@compiled()
def _to_hsv(r: float, g: float, b: float) -> tuple[float, float, float]:
    """All in 0..1; the order of operations is scikit-image's, blue before green before red."""
    value = max(r, g, b)
    spread = value - min(r, g, b)
    if spread == 0:
        return 0.0, 0.0, value
    if b == value:
        hue = 4 + (r - g) / spread
    elif g == value:
        hue = 2 + (b - r) / spread
    else:
        hue = (g - b) / spread
    hue /= 6
    return hue + 1 if hue < 0 else hue, spread / value, value


@compiled()
def _from_hsv(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    sector = int(hue * 6)
    part = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - part * saturation)
    rising = value * (1 - (1 - part) * saturation)
    if sector == 1:
        return falling, value, low
    if sector == 2:
        return low, value, rising
    if sector == 3:
        return low, falling, value
    if sector == 4:
        return rising, low, value
    if sector == 5:
        return value, low, falling
    return value, rising, low


@compiled()
def _pull(images: Images, levels: Floats, factor: float, out: Images) -> None:
    """Towards the mean, which is summed pixel by pixel: the order decides its last bit."""
    count, height, width, channels = images.shape
    for n in range(count):
        for c in range(channels):
            mean = 0.0
            for y in range(height):
                for x in range(width):
                    mean += levels[images[n, y, x, c]]
            mean /= height * width
            for y in range(height):
                for x in range(width):
                    value = (levels[images[n, y, x, c]] - mean) * factor + mean
                    out[n, y, x, c] = np.uint8(min(max(value, 0.0), 1.0) * 255)


@compiled()
def _pixelate(
    images: Images,
    rows: Indices,
    row_weight: Weights,
    row_back: Indices,
    columns: Indices,
    column_weight: Weights,
    column_back: Indices,
    out: Images,
) -> None:
    """Along the rows first, to bytes, then down the columns, to bytes: the order of Pillow."""
    count, height, width, channels = images.shape
    half, bits = np.uint32(1 << (_FIXED_BITS - 1)), np.uint32(_FIXED_BITS)
    narrow = np.empty((height, len(columns) * channels), np.uint8)
    line = np.empty(narrow.shape[1], np.uint8)
    for n in range(count):
        for y in range(height):
            for x in range(len(columns)):
                for c in range(channels):
                    mean = half
                    for t in range(columns.shape[1]):
                        mean += images[n, y, columns[x, t], c] * column_weight[x, t]
                    narrow[y, x * channels + c] = mean >> bits
        for y in range(height):
            small = row_back[y]
            if y == 0 or small != row_back[y - 1]:  # else the row is the same once more
                for i in range(line.size):
                    mean = half
                    for t in range(rows.shape[1]):
                        mean += narrow[rows[small, t], i] * row_weight[small, t]
                    line[i] = mean >> bits
            for x in range(width):
                for c in range(channels):
                    out[n, y, x, c] = line[column_back[x] * channels + c]
