"""Elastic transform: an image is sheared by three corners, then bent by smooth bumps.

Both moves are our own arithmetic, in one order: it does not depend on how a processor rounds.

Constants and conventions: Hendrycks & Dietterich (2019), CIFAR-10-C; they differ from ImageNet-C's.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from quire.artifacts.compiled import compiled
from quire.builders.corruptions.images import Floats, Generators, Images, constant, to_bytes

# Height and blur of the bumps, and reach of the corners, in sides of 32 pixels.
_BUMPS = {
    1: (0.0, 0.0, 0.08),
    2: (0.05, 0.2, 0.07),
    3: (0.08, 0.06, 0.06),
    4: (0.1, 0.04, 0.05),
    5: (0.1, 0.03, 0.03),
}
_SIDE = 32
_CORNERS = np.array([[26, 26], [26, 6], [6, 6]], np.float32)  # a third of a side from the middle


def elastic_transform(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Shear by moved corners, then bend by smooth bumps. (N, 32, 32, C) -> same; CIFAR-10-C, 1..5.

    The first severity has no bumps. The shear is that of OpenCV 3 and 4, with which CIFAR-10-C was
    made, to the last bit: source positions in 32nds of a pixel. OpenCV 5 interpolates at other
    positions, and rounds by instruction set.
    """
    height, width, reach = (_SIDE * share for share in constant(_BUMPS, severity))
    pixels = images.astype(np.float32) / np.float32(255)
    moved = np.stack([rng.uniform(-reach, reach, _CORNERS.shape) for rng in rngs])
    sheared = _shear(pixels, _backwards(_CORNERS + moved.astype(np.float32)))
    if not height:
        return to_bytes(sheared)
    bumps = np.stack([rng.uniform(-1, 1, (2, *images.shape[1:3])) for rng in rngs])
    smooth = ndimage.gaussian_filter(bumps, (0, 0, width, width), mode="reflect", truncate=3)
    bent: NDArray[np.float32] = _bend(sheared, (smooth * height).astype(np.float32))
    return to_bytes(bent)


def _backwards(moved: NDArray[np.float32]) -> Floats:
    """The affine maps that lead back from where the corners were moved to. (N, 3, 2) -> (N, 2, 3).

    Columns are those of x, y and 1; the order of operations is that of cv2.warpAffine.
    """
    first, second, third = moved.astype(np.float64).transpose(1, 2, 0)  # (2, N) each
    side = float(_CORNERS[0, 0] - _CORNERS[2, 0])
    a, d = (second - third) / side
    b, e = (first - second) / side
    c, f = third - float(_CORNERS[2, 0]) * (np.stack([a, d]) + np.stack([b, e]))
    scale = 1 / (a * e - b * d)
    along, across = np.stack([e * scale, -scale * b]), np.stack([-scale * d, a * scale])
    back = [np.stack([p, q, -p * c - q * f]) for p, q in (along, across)]
    return np.ascontiguousarray(np.stack(back).transpose(2, 0, 1))


@compiled()
def _mirrored(at: int, side: int) -> int:
    """A pixel's number brought to 0..side-1 by reflection at the middle of the outermost pixels."""
    while at < 0 or at >= side:
        at = -at if at < 0 else 2 * (side - 1) - at
    return at


@compiled()
def _shear(pixels: NDArray[np.float32], maps: Floats) -> NDArray[np.float32]:
    """Each pixel from where its image's affine map points. (N, H, W, C), (N, 2, 3) -> same.

    What a row and a column add to a position is rounded to 1024ths of a pixel each, their sum to
    32nds. So weights are exact, and what is left to round is four products and their sum, in
    float32 and in one order.
    """
    count, height, width, channels = pixels.shape
    out = np.empty_like(pixels)
    one = np.float32(1)
    for n in range(count):
        (ax, bx, cx), (ay, by, cy) = maps[n]
        for y in range(height):
            x0 = int(np.rint((bx * y + cx) * 1024)) + 16
            y0 = int(np.rint((by * y + cy) * 1024)) + 16
            for x in range(width):
                across = (x0 + int(np.rint(ax * x * 1024))) >> 5
                down = (y0 + int(np.rint(ay * x * 1024))) >> 5
                left, top = across >> 5, down >> 5
                right, low = np.float32((across & 31) / 32), np.float32((down & 31) / 32)
                near, high = one - right, one - low
                here, there = _mirrored(left, width), _mirrored(left + 1, width)
                above, below = _mirrored(top, height), _mirrored(top + 1, height)
                w0, w1, w2, w3 = high * near, high * right, low * near, low * right
                for c in range(channels):
                    value = pixels[n, above, here, c] * w0
                    value += pixels[n, above, there, c] * w1
                    value += pixels[n, below, here, c] * w2
                    value += pixels[n, below, there, c] * w3
                    out[n, y, x, c] = value
    return out


@compiled()
def _reflected(at: float, side: int) -> float:
    """A coordinate brought to -1..side by reflection at the image's edges, as scipy.ndimage."""
    period = 2 * side
    if at < 0:
        if at < -period:
            at += period * int(-at / period)
        return at + period if at < -side else max(-at, 1e-15) - 1
    if at > side - 1:
        at -= period * int(at / period)
        return period - at - 1 if at >= side else at
    return at


@compiled()
def _bend(pixels: NDArray[np.float32], offsets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each pixel from where its offsets point. (N, H, W, C), (N, 2, H, W) across, down -> same."""
    count, height, width, channels = pixels.shape
    out = np.empty_like(pixels)
    for n in range(count):
        for y in range(height):
            for x in range(width):
                down = _reflected(y + np.float64(offsets[n, 1, y, x]), height)
                across = _reflected(x + np.float64(offsets[n, 0, y, x]), width)
                top, left = int(np.floor(down)), int(np.floor(across))
                low, right = down - top, across - left
                high, near = 1 - low, 1 - right
                above, below = max(top, 0), min(top + 1, height - 1)
                here, there = max(left, 0), min(left + 1, width - 1)
                for c in range(channels):
                    value = pixels[n, above, here, c] * high * near
                    value += pixels[n, above, there, c] * high * right
                    value += pixels[n, below, here, c] * low * near
                    value += pixels[n, below, there, c] * low * right
                    out[n, y, x, c] = value
    return out
