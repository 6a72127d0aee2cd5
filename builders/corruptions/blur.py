"""Blurs: CIFAR-10-C's five, and a Gaussian of any sigma.

What a blur computes is floored to bytes, so a sum that differs in its last bit can differ by a grey
level. Sums are therefore taken in float64 (zooms: in the float32 of the reference script), in one
fixed order, never by a BLAS or in parallel.

Constants and conventions: Hendrycks & Dietterich (2019), CIFAR-10-C; they differ from ImageNet-C's.
"""

from functools import cache, lru_cache
from math import ceil
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from quire.artifacts.compiled import compiled
from quire.artifacts.errors import RecipeError
from quire.builders.corruptions.images import (
    Floats,
    Generators,
    Images,
    Indices,
    constant,
    sigma,
    to_bytes,
)

_GAUSSIAN_SIGMA = {1: 0.4, 2: 0.6, 3: 0.7, 4: 0.8, 5: 1.0}
_DEFOCUS = {1: (0.3, 0.4), 2: (0.4, 0.5), 3: (0.5, 0.6), 4: (1.0, 0.2), 5: (1.5, 0.1)}
_GLASS = {1: (0.05, 1), 2: (0.25, 1), 3: (0.4, 1), 4: (0.25, 2), 5: (0.4, 2)}
_MOTION = {1: (6, 1.0), 2: (6, 1.5), 3: (6, 2.0), 4: (8, 2.0), 5: (9, 2.5)}
_ZOOM_STOP = {1: 1.06, 2: 1.11, 3: 1.16, 4: 1.21, 5: 1.26}

# ImageMagick, which made CIFAR-10-C's motion blur, computes on a scale of 65535 = 255 * 257.
_QUANTUM = 257


def gaussian_blur(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Blur by a Gaussian. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C (extra), severity 1..5."""
    return _gaussian(images, constant(_GAUSSIAN_SIGMA, severity))


def gaussian_blur_sigma(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Blur by a Gaussian whose sigma is the severity, in pixels. (N, H, W, C) -> (N, H, W, C).

    The blur of the papers on mini-batch similarity graphs: cut off at 4 sigma, the border's pixels
    go on beyond it, 0 changes nothing. RecipeError where sigma is negative, not finite, or more
    than the image's longer side.
    """
    side = max(images.shape[1:3])
    if (scale := sigma(severity)) > side:
        raise RecipeError(f"sigma is {severity} pixels; an image of {side} allows {side} at most")
    return _gaussian(images, scale)


def defocus_blur(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Blur by a soft-edged disk. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C, severity 1..5."""
    kernel = _disk(*constant(_DEFOCUS, severity))
    out = np.empty(images.shape)
    for image, blurred in zip(images / 255, out, strict=True):
        blurred[:] = cv2.filter2D(image, -1, kernel).reshape(image.shape)
    return to_bytes(out)


def glass_blur(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Blur, displace each pixel by at most one, blur. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C.

    Severity 1..5. The reference script means to swap neighbours, but its swap of two array views
    writes the same pixel to both places, and its displacement is -1 or 0. CIFAR-10-C is made of
    this, so it is kept: a pixel takes its own colour, or that of one above it, left of it or both.
    """
    scale, rounds = constant(_GLASS, severity)
    height, width = images.shape[1:3]
    inner = (rounds, max(height - 2, 0), max(width - 2, 0), 2)
    blurred = _gaussian(images, scale)
    for image, rng in zip(blurred, rngs, strict=True):
        _displace(image, coins(inner, rng))
    return _gaussian(blurred, scale)


def motion_blur(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Blur one-sidedly along a line within 45 degrees of the horizontal. (N, H, W, C) -> same.

    CIFAR-10-C, severity 1..5; equal to ImageMagick 6.9 with 16 bits to a channel.
    """
    radius, scale = constant(_MOTION, severity)
    angles = np.array([rng.uniform(-45, 45) for rng in rngs])
    return smear(images, radius, scale, angles)


def zoom_blur(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Average an image and its magnifications. (N, H, H, C) -> (N, H, H, C); CIFAR-10-C.

    Severity 1..5. There are 7, 12, 16, 21 or 26 magnifications, the first of them by 1.
    """
    count, side, _, channels = images.shape
    source, weight = _zooms(side, constant(_ZOOM_STOP, severity))
    # Images run along the last axis, where one multiplication serves many of them at once.
    pixels = (images.transpose(1, 2, 0, 3) / 255).astype(np.float32)
    total = _magnified_sum(pixels.reshape(side, side, count * channels), source, weight)
    mean = (pixels + total.reshape(pixels.shape)) / np.float32(len(source) + 1)
    return np.ascontiguousarray(to_bytes(mean).transpose(2, 0, 1, 3))


def coins(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Fair coins, 0 or 1, eight from each random byte. (...) uint8."""
    tosses = np.unpackbits(np.frombuffer(rng.bytes(-(-int(np.prod(shape)) // 8)), np.uint8))
    return tosses[: int(np.prod(shape))].reshape(shape)


def smear(images: Images, radius: int, scale: float, angles: Floats) -> Images:
    """Motion blur, each image along its own angle in degrees. (N, H, W, C), (N,) -> (N, H, W, C).

    The kernel is half a Gaussian of 2 * radius + 1 pixels, laid along a line of whole pixels; the
    border's pixels go on beyond it.
    """
    steps = np.arange(2 * radius + 1)
    bell = np.exp(-(steps**2) / (2.0 * scale * scale))
    x, y = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    across, down = (np.ceil(steps * d[:, None] - 0.5).astype(np.int64) for d in (x, y))
    out = np.empty_like(images)
    _smear(images, across, down, bell / bell.sum(), out)
    return out


class Zoom(NamedTuple):
    """Where the pixels of a magnified line come from: two source pixels each, and their weights."""

    source: Indices  # (2, side)
    weight: Floats  # (2, side)


def zoom(side: int, factor: float) -> Zoom:
    """The middle of a line of `side` pixels, magnified and cut to `side` again.

    Linear, as scipy.ndimage.zoom on a crop of whole pixels, so that the factor is not quite kept.
    """
    crop = ceil(side / factor)
    full = round(crop * factor)
    at = (np.arange(side) + (full - side) // 2) * ((crop - 1) / max(full - 1, 1))
    first = np.floor(at).astype(np.int64)
    # A position can be rounded to beyond the last pixel; scipy.ndimage then finds nothing there.
    weight = np.stack([1 - (at - first), at - first]) * (at <= crop - 1)
    source = np.stack([first, np.minimum(first + 1, crop - 1)])
    return Zoom(source + (side - crop) // 2, weight)


def _gaussian(images: Images, scale: float) -> Images:
    blurred = ndimage.gaussian_filter(images / 255, (0, scale, scale, 0), mode="nearest")
    return to_bytes(blurred)


@cache
def _disk(radius: float, alias: float) -> NDArray[np.float32]:
    """A disk of sum 1, its edge softened by a Gaussian over 3 x 3 pixels. -> (5, 5)."""
    x, y = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    soft: NDArray[np.float32] = cv2.GaussianBlur(disk / disk.sum(), ksize=(3, 3), sigmaX=alias)
    return soft[6:11, 6:11]  # the rest is zero, and OpenCV takes longer and rounds otherwise at 17


@lru_cache(maxsize=32)
def _zooms(side: int, stop: float) -> Zoom:
    """The magnifications by 1, 1.01, ..., as arrays (Z, 2, side).

    The arithmetic of floats decides whether `stop` itself is among them: 1.06 and 1.11 are.
    """
    zooms = [zoom(side, factor) for factor in np.arange(1, stop, 0.01)]
    return Zoom(np.stack([z.source for z in zooms]), np.stack([z.weight for z in zooms]))


@compiled()
def _displace(image: Images, tosses: Images) -> None:
    """In place, from the last pixel to the first, so that what is read is not yet displaced."""
    height, width, channels = image.shape
    for i in range(tosses.shape[0]):
        for y in range(height - 1, 1, -1):
            for x in range(width - 1, 1, -1):
                across, down = tosses[i, height - 1 - y, width - 1 - x]
                for c in range(channels):
                    image[y, x, c] = image[y - down, x - across, c]


@compiled()
def _smear(images: Images, across: Indices, down: Indices, bell: Floats, out: Images) -> None:
    count, height, width, channels = images.shape
    reach, length = bell.size - 1, width * channels
    rows = np.empty((height, (width + 2 * reach) * channels))
    total = np.empty(length)
    for n in range(count):
        for y in range(height):
            for x in range(width + 2 * reach):
                inside = min(max(x - reach, 0), width - 1)
                for c in range(channels):
                    rows[y, x * channels + c] = images[n, y, inside, c] * _QUANTUM
        for y in range(height):
            total[:] = 0
            for t in range(bell.size):
                start = (reach + across[n, t]) * channels
                shifted = rows[min(max(y + down[n, t], 0), height - 1), start : start + length]
                for i in range(length):
                    total[i] += bell[t] * shifted[i]
            for x in range(width):
                for c in range(channels):
                    quantum = np.uint32(total[x * channels + c] + 0.5)  # rounded here,
                    out[n, y, x, c] = quantum // np.uint32(_QUANTUM)  # but cut off here


@compiled()
def _magnified_sum(
    pixels: NDArray[np.float32], source: Indices, weight: Floats
) -> NDArray[np.float32]:
    """The sum of all magnifications, each rounded to float32 first. (H, W, L) -> (H, W, L)."""
    height, width, lanes = pixels.shape
    total = np.zeros_like(pixels)
    above, below = np.empty((width, lanes)), np.empty((width, lanes))
    for z in range(source.shape[0]):
        (first, second), (near, far) = source[z], weight[z]
        for y in range(height):
            _scale(pixels[first[y]], near[y], above)
            _scale(pixels[second[y]], far[y], below)
            for x in range(width):
                a, b, c, d = above[first[x]], above[second[x]], below[first[x]], below[second[x]]
                p, q, sums = near[x], far[x], total[y, x]
                for i in range(lanes):
                    sums[i] += np.float32(a[i] * p + b[i] * q + c[i] * p + d[i] * q)
    return total


@compiled()
def _scale(row: NDArray[np.float32], weight: float, out: Floats) -> None:
    for x in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[x, i] = row[x, i] * weight
