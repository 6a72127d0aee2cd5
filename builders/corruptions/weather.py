"""Weather: snow, frost, fog and spatter, as CIFAR-10-C has them.

Constants and conventions: Hendrycks & Dietterich (2019), CIFAR-10-C; they differ from ImageNet-C's.
"""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from quire.artifacts.compiled import compiled
from quire.artifacts.digest import sha256
from quire.artifacts.errors import SourceError
from quire.builders.corruptions.blur import smear, zoom
from quire.builders.corruptions.images import Floats, Generators, Images, constant, to_bytes

Frames: TypeAlias = tuple[Images, ...]  # pictures of frost, (height, width, 3) each


class _Snow(NamedTuple):
    mean: float  # of the flakes before they are cut off
    deviation: float
    magnified: float
    threshold: float
    radius: int  # of their motion
    scale: float
    left: float  # how much of the image's own colour is


class _Spatter(NamedTuple):
    mean: float  # of the drops before they are cut off
    deviation: float
    blur: float
    threshold: float
    edge: float  # of water: its opacity; of mud: how soft its edge is
    mud: bool


_SNOW = {
    1: _Snow(0.1, 0.2, 1, 0.6, 8, 3, 0.95),
    2: _Snow(0.1, 0.2, 1, 0.5, 10, 4, 0.9),
    3: _Snow(0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
    4: _Snow(0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
    5: _Snow(0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
}
_SPATTER = {
    1: _Spatter(0.62, 0.1, 0.7, 0.7, 0.5, mud=False),
    2: _Spatter(0.65, 0.1, 0.8, 0.7, 0.5, mud=False),
    3: _Spatter(0.65, 0.3, 1, 0.69, 0.5, mud=False),
    4: _Spatter(0.65, 0.1, 0.7, 0.69, 0.6, mud=True),
    5: _Spatter(0.65, 0.1, 0.5, 0.68, 0.6, mud=True),
}
_FROST = {1: (1.0, 0.2), 2: (1.0, 0.3), 3: (0.9, 0.4), 4: (0.85, 0.4), 5: (0.75, 0.45)}
_FOG = {1: (0.2, 3.0), 2: (0.5, 3.0), 3: (0.75, 2.5), 4: (1.0, 2.0), 5: (1.5, 1.75)}

_FROST_DRAWN = 5  # of the six: the reference script never draws the last, so neither do we
_SIDE = 32  # of CIFAR's images, and of the map of fog
_LAST = _SIDE - 1  # `& _LAST` wraps around, for 32 is a power of two

_WATER = (np.array([175, 238, 238]) / 255).astype(np.float32)  # pale turquoise
_MUD = (np.array([63, 42, 20]) / 255).astype(np.float32)  # brown
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


def snow(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Whiten, and let flakes fall two ways. (N, 32, 32, 3) -> (N, 32, 32, 3); CIFAR-10-C, 1..5."""
    c = constant(_SNOW, severity)
    flakes, angles = np.empty(images.shape[:3]), np.empty(len(images))
    for i, rng in enumerate(rngs):
        flakes[i] = rng.normal(c.mean, c.deviation, flakes.shape[1:])
        angles[i] = rng.uniform(-135, -45)
    flakes = _magnify(flakes, c.magnified)
    flakes[flakes < c.threshold] = 0
    fallen = smear(to_bytes(flakes)[..., np.newaxis], c.radius, c.scale, angles) / 255
    both = _whiten(images, c.left) + fallen + np.rot90(fallen, k=2, axes=(1, 2))
    return to_bytes(both)


def frost(images: Images, *, severity: float, rngs: Generators, frames: Frames) -> Images:
    """Lay a piece of a picture of frost over it. (N, 32, 32, 3) -> (N, 32, 32, 3); CIFAR-10-C.

    Severity 1..5. `frames` are what `load_frost` returns; of the six, the last is never drawn.
    """
    ours, its = constant(_FROST, severity)
    pieces = np.stack([_piece(frames, images.shape[1:3], rng) for rng in rngs])
    levels = np.arange(256)
    mixed = (ours * levels[:, np.newaxis] + its * levels).clip(0, 255).astype(np.uint8)
    return mixed.reshape(-1).take(images.astype(np.intp) << 8 | pieces)


def fog(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Add a fractal map of fog, and keep the range. (N, 32, 32, C) -> (N, 32, 32, C); CIFAR-10-C.

    Severity 1..5. The map is made by the diamond-square algorithm on a torus.
    """
    amount, decay = constant(_FOG, severity)
    uniforms = np.stack([rng.random(_SIDE**2 - 1) for rng in rngs])
    maps = _plasma(uniforms, decay)
    maps -= maps.min(axis=(1, 2), keepdims=True)
    maps /= maps.max(axis=(1, 2), keepdims=True)
    fogged = images / 255 + amount * maps[..., np.newaxis]
    brightest = images.max(axis=(1, 2, 3), keepdims=True) / 255
    return to_bytes(fogged * brightest / (brightest + amount))


def spatter(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Splash with water (severity 1..3) or mud (4, 5). (N, H, W, 3) -> same; CIFAR-10-C (extra)."""
    c = constant(_SPATTER, severity)
    liquid = np.stack([rng.normal(c.mean, c.deviation, images.shape[1:3]) for rng in rngs])
    liquid = ndimage.gaussian_filter(liquid, (0, c.blur, c.blur), mode="nearest")
    liquid[liquid < c.threshold] = 0
    pixels = images.astype(np.float32) / np.float32(255)
    if c.mud:
        cover = _soften(liquid > c.threshold, c.edge)[..., np.newaxis]
        return to_bytes(pixels * (1 - cover) + _MUD * cover)
    cover = np.stack([_gloss(drops) for drops in liquid]) * np.float32(c.edge)
    return to_bytes(pixels + cover[..., np.newaxis] * _WATER)


def load_frost(folder: Path) -> Frames:
    """The six pictures of frost of the reference script, frost1.png to frost6.jpg, at a fifth.

    -> six (height, width, 3) uint8, RGB, read-only; read anew only when a file has changed.

    Raises:
        SourceError: one is missing, cannot be read or is too small.
    """
    states = [path.stat() for path in _frost_files(folder)]
    return _read_frost(folder, tuple((state.st_size, state.st_mtime_ns) for state in states))


def frost_fingerprint(folder: Path) -> str:
    """sha256 over the names and digests of the six pictures; SourceError as in `load_frost`."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in _frost_files(folder)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _frost_files(folder: Path) -> list[Path]:
    files = [folder / f"frost{i}.{'png' if i <= 3 else 'jpg'}" for i in range(1, 7)]
    if missing := [path.name for path in files if not path.is_file()]:
        raise SourceError(f"{folder} lacks {', '.join(missing)} of the six pictures of frost")
    return files


@lru_cache(maxsize=2)
def _read_frost(folder: Path, states: tuple[tuple[int, int], ...]) -> Frames:
    frames = []
    for path in _frost_files(folder):
        picture = cv2.imread(str(path))  # three channels, whatever the file has
        if picture is None:
            raise SourceError(f"{path} cannot be read as an image")
        small = cv2.resize(picture, (0, 0), fx=0.2, fy=0.2)
        if min(small.shape[:2]) <= _SIDE:
            raise SourceError(f"{path} is too small: a fifth must be over {_SIDE} pixels a side")
        frames.append(np.ascontiguousarray(small[..., ::-1], np.uint8))  # OpenCV has blue first
        frames[-1].setflags(write=False)
    return tuple(frames)


def _piece(frames: Frames, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    height, width = shape
    frame = frames[rng.integers(_FROST_DRAWN)]
    top = rng.integers(frame.shape[0] - height)
    left = rng.integers(frame.shape[1] - width)
    return frame[top : top + height, left : left + width]


def _magnify(fields: Floats, factor: float) -> Floats:
    """The middle of square fields, magnified. (N, H, H) -> (N, H, H)."""
    (first, second), (near, far) = zoom(fields.shape[1], factor)
    above, below = fields[:, first] * near[:, np.newaxis], fields[:, second] * far[:, np.newaxis]
    middle: Floats = above[..., first] * near + above[..., second] * far
    middle += below[..., first] * near
    middle += below[..., second] * far
    return middle


def _whiten(images: Images, left: float) -> NDArray[np.float32]:
    """Towards a brighter grey, but never darker. (N, H, W, 3) -> (N, H, W, 3), about 0..2."""
    pixels = images.astype(np.float32) / np.float32(255)
    count, height, width, _ = pixels.shape
    # OpenCV's sums of three depend on where a row ends, so its rows are the images' rows.
    grey = cv2.cvtColor(pixels.reshape(count * height, width, 3), cv2.COLOR_RGB2GRAY)
    bright = np.maximum(pixels, grey.reshape(count, height, width, 1) * 1.5 + 0.5)
    whitened: NDArray[np.float32] = left * pixels + (1 - left) * bright
    return whitened


def _gloss(drops: Floats) -> NDArray[np.float32]:
    """How water shines: drops, embossed by their distance from an edge. (H, W) -> (H, W), 0..1."""
    thick = (drops * 255).astype(np.int64).astype(np.uint8)  # beyond 255 it wraps, as ever
    away = cv2.distanceTransform(255 - cv2.Canny(thick, 50, 150), cv2.DIST_L2, 5)
    near = cv2.blur(np.minimum(away, 20), (3, 3)).astype(np.uint8)
    relief = cv2.filter2D(cv2.equalizeHist(near), cv2.CV_8U, _EMBOSS)
    shine = thick.astype(np.float32) * cv2.blur(relief, (3, 3)).astype(np.float32)
    highest = np.float32(max(shine.max(), 1))  # they are whole numbers; 0 is an image without drops
    return shine / highest


def _soften(covered: NDArray[np.bool_], edge: float) -> NDArray[np.float32]:
    """Mud with its outline blurred, and what is thin by that left out. (N, H, W) -> (N, H, W)."""
    cover = ndimage.gaussian_filter(covered.astype(np.float32), (0, edge, edge), mode="nearest")
    return np.where(cover < np.float32(0.8), np.float32(0), cover)


@compiled()
def _plasma(uniforms: Floats, decay: float) -> Floats:
    """Fractal maps from uniform numbers in [0, 1). (N, 1023) -> (N, 32, 32)."""
    maps = np.zeros((len(uniforms), _SIDE, _SIDE))
    for n in range(len(uniforms)):
        field, used, step, wibble = maps[n], 0, _SIDE, 100.0
        while step >= 2:
            for kind in range(3):  # the middles of the squares, then their upper and left edges
                for y in range(0, _SIDE, step):
                    for x in range(0, _SIDE, step):
                        drawn = -wibble + 2 * wibble * uniforms[n, used]
                        _fill(field, kind, y, x, step, wibble * drawn)
                        used += 1
            step, wibble = step // 2, wibble / decay
    return maps


@compiled()
def _fill(field: Floats, kind: int, y: int, x: int, step: int, wibble: float) -> None:
    """One new point of a square at (y, x): the mean of four that are there, and a wibble."""
    half = step // 2
    down, right = (y + step) & _LAST, (x + step) & _LAST
    if kind == 0:
        total = field[y, x] + field[down, x]
        total += field[y, right] + field[down, right]
        field[y + half, x + half] = total / 4 + wibble
    elif kind == 1:
        total = field[y + half, x + half] + field[(y - half) & _LAST, x + half]
        total += field[y, x] + field[y, right]
        field[y, x + half] = total / 4 + wibble
    else:
        total = field[y + half, x + half] + field[y + half, (x - half) & _LAST]
        total += field[y, x] + field[down, x]
        field[y + half, x] = total / 4 + wibble
