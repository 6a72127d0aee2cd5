"""How shapes are drawn: distances to their outlines, in arithmetic that is exact everywhere.

Only sums, products, quotients and square roots occur, which IEEE 754 defines to the last bit, and
sines and cosines rounded to what any library agrees on: so pixels are the same on every machine.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float64]
Window: TypeAlias = tuple[slice, slice]

_DIRECTIONS = 64
_EXACT = 1 << 20  # sines are rounded to such parts


@dataclass(frozen=True, slots=True)
class Tint:
    """A colour as shapes have it, each a little otherwise."""

    colour: tuple[int, int, int]  # RGB, 0..255
    spread: float  # levels of which a channel's half is added or taken away, at most


@dataclass(frozen=True, slots=True)
class Placed:
    """An object in its place; the unit of lengths is the shorter side of the scene."""

    class_id: int
    shape: str
    centre: tuple[float, float]  # (x, y)
    radius: float
    direction: int  # in 64ths of a turn

    def is_clear_of(self, other: "Placed", clearance: float) -> bool:
        """Whether the centres are at least so many radii apart."""
        across, down = (a - b for a, b in zip(self.centre, other.centre, strict=True))
        reach = clearance * (self.radius + other.radius)
        return across * across + down * down >= reach * reach


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """An object in pixels, within its window of the scene."""

    window: Window
    distance: Field  # (h, w) to the outline in pixels, negative inside
    along: Field  # (h, w) where across the object a pixel lies, in its radii
    is_cut: bool  # by the frame


def _turned(direction: int) -> tuple[float, float]:
    """Cosine and sine."""
    angle = 2 * math.pi * direction / _DIRECTIONS
    return round(math.cos(angle) * _EXACT) / _EXACT, round(math.sin(angle) * _EXACT) / _EXACT


def rasterised(one: Placed, size: tuple[int, int]) -> Raster:
    """An object in a scene of (W, H) pixels."""
    scale = min(size)
    radius = one.radius * scale
    centre = tuple(c * scale for c in one.centre)
    reach = radius * 1.5 + 1  # the corners of a square are the farthest
    low = [max(0, math.floor(c - reach)) for c in centre]
    high = [min(side, math.ceil(c + reach)) for c, side in zip(centre, size, strict=True)]
    x = (np.arange(low[0], high[0]) + 0.5 - centre[0])[None, :] / radius
    y = (np.arange(low[1], high[1]) + 0.5 - centre[1])[:, None] / radius
    cosine, sine = _turned(one.direction)
    across, down = x * cosine + y * sine, y * cosine - x * sine
    distance = _DISTANCES[one.shape](across, down) * radius
    inside = distance < 0
    rows, columns = size[1], size[0]
    is_cut = bool(
        (low[0] == 0 and inside[:, 0].any())
        or (low[1] == 0 and inside[0].any())
        or (high[0] == columns and inside[:, -1].any())
        or (high[1] == rows and inside[-1].any())
    )
    return Raster((slice(low[1], high[1]), slice(low[0], high[0])), distance, across, is_cut)


def _length(x: Field, y: Field) -> Field:
    return np.sqrt(x * x + y * y)


def _disc(x: Field, y: Field) -> Field:
    return _length(x, y) - 0.95


def _ring(x: Field, y: Field) -> Field:
    return np.abs(_length(x, y) - 0.72) - 0.25


def _square(x: Field, y: Field) -> Field:
    return np.maximum(np.abs(x), np.abs(y)) - 0.82


def _cross(x: Field, y: Field) -> Field:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 1, y - 0.34), np.maximum(y - 1, x - 0.34))


def _triangle(x: Field, y: Field) -> Field:
    slanted = np.abs(x) * 0.8660254037844386 - y * 0.5
    return np.maximum(slanted, y) - 0.5


_DISTANCES: Mapping[str, Callable[[Field, Field], Field]] = {
    "disc": _disc,
    "ring": _ring,
    "square": _square,
    "cross": _cross,
    "triangle": _triangle,
}


def backdrop(size: tuple[int, int], *, rng: np.random.Generator) -> Field:
    """A background of faint colours that change slowly. -> (H, W, 3), 0..255."""
    width, height = size
    gray = 70 + 110 * rng.random()
    knots = gray + 50 * (rng.random((5, 5, 3)) - 0.5) + 30 * (rng.random((5, 5, 1)) - 0.5)
    return _between(_between(knots, height).swapaxes(0, 1), width).swapaxes(0, 1).copy()


def _between(knots: Field, count: int) -> Field:
    """Linear between knots. (n, ...) -> (count, ...)."""
    places = (np.arange(count) + 0.5) / count * (len(knots) - 1)
    before = np.minimum(places.astype(np.int64), len(knots) - 2)
    share = (places - before).reshape(-1, *[1] * (knots.ndim - 1))
    mixed: Field = knots[before] * (1 - share) + knots[before + 1] * share
    return mixed


def drawn_over(image: Field, raster: Raster, tint: Tint, *, rng: np.random.Generator) -> None:
    """Draw an object over what is there: its colour as this one has it, in light and dark bands."""
    own = np.array(tint.colour) + tint.spread * (rng.random(3) - 0.5)
    light, bands, strength = rng.random(3)
    saw = raster.along * (1 + 2 * bands)
    wave = np.abs(saw - np.floor(saw) - 0.5) * 4 - 1  # -1..1
    shade = 0.8 + 0.3 * light + 0.2 * strength * wave
    cover = (0.5 - raster.distance).clip(0, 1)[..., None]
    there = image[raster.window]
    there += cover * (own * shade[..., None] - there)


def outline(owner: NDArray[np.uint8], *, width: int) -> NDArray[np.bool_]:
    """Pixels at most `width` away, in steps along the axes, from another object's. -> (H, W)."""
    found = np.zeros(owner.shape, np.bool_)
    down, across = owner[1:] != owner[:-1], owner[:, 1:] != owner[:, :-1]
    found[1:] |= down
    found[:-1] |= down
    found[:, 1:] |= across
    found[:, :-1] |= across
    for _ in range(width - 1):
        wider = found.copy()
        wider[1:] |= found[:-1]
        wider[:-1] |= found[1:]
        wider[:, 1:] |= found[:, :-1]
        wider[:, :-1] |= found[:, 1:]
        found = wider
    return found
