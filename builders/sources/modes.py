"""Images of 25 modes, drawn here: what a generator that collapses makes but a few kinds of.

A light spot near one of the 25 points of a grid: a mixture of 25 Gaussians of its place, as GANs
are tried on in the plane (Srivastava et al. 2017, VEEGAN), drawn as 32x32 images. Points are 5.25
pixels apart and a spot strays from its own by .4, so no two modes meet. Every pixel has noise, as
a photograph has: a discriminator that sees whole batches tells small spots on plain black from
whatever a generator makes at first, and nothing is learned from it.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.draws import sample_rng
from quire.builders.sources import layout
from quire.builders.sources.source import Block

_SPLITS = ("train", "test")
_DRAWING = "1"  # to be counted up whenever an image comes out otherwise
_LENGTH, _MAX_LENGTH = 5_000, 1_000_000
_SIDE = 32
_GRID, _FIRST, _STEP = 5, 5.0, 5.25  # points along a side, and where they are, in pixels
_DEVIATION = 0.4  # of a spot's place, in pixels
_RADIUS = 9.0
_DARK, _LIGHT = 50, 155  # of 255: what lies around a spot, and what a spot adds at most
_DIMMEST = 0.8  # of a spot's light, which is drawn evenly up to 1
_GRAIN = 50  # largest noise of a pixel: the sum of two even draws, whose deviation is 20.8


@dataclass(frozen=True, slots=True)
class Modes:
    """Spots at 25 places. An image depends on its split and its own number alone."""

    split: str
    length: int = _LENGTH

    @property
    def kind(self) -> str:
        """`modes`."""
        return "modes"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Row and column of each point of the grid."""
        return tuple(f"{row}-{column}" for row in range(_GRID) for column in range(_GRID))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return _SIDE, _SIDE, 1

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop), (N, 32, 32, 1) uint8. None is bad."""
        layout.check_range(start, stop, len(self))
        images = np.empty((stop - start, *self.image_shape), np.uint8)
        labels = np.empty(stop - start, np.int64)
        for place, index in enumerate(range(start, stop)):
            rng = sample_rng(0, f"modes/{self.split}", index)
            labels[place] = rng.integers(_GRID**2)
            images[place, ..., 0] = _drawn(divmod(int(labels[place]), _GRID), rng)
        return Block(np.arange(start, stop), images, labels)

    def read_labels(self) -> NDArray[np.int64]:
        """The mode of every sample. -> (N,)."""
        rngs = (sample_rng(0, f"modes/{self.split}", index) for index in range(len(self)))
        return np.array([rng.integers(_GRID**2) for rng in rngs], np.int64)

    def fingerprint(self) -> str:
        """sha256 over what the images are drawn from."""
        about = {"drawing": _DRAWING, "length": self.length}
        return layout.combined(
            (f"?{name}", sha256(str(value).encode()).hexdigest()) for name, value in about.items()
        )


def _drawn(point: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A spot near a point of the grid; its profile is Tukey's biweight. -> (32, 32).

    Whole numbers make the noise, and nothing is cut off at 0 or 255.
    """
    down, right = (_FIRST + _STEP * p + _DEVIATION * rng.standard_normal() for p in point)
    light = _DIMMEST + (1 - _DIMMEST) * rng.random()
    pixels = np.arange(_SIDE)
    distances = (pixels[:, None] - down) ** 2 + (pixels - right) ** 2
    profile = (1 - distances / _RADIUS**2).clip(0)
    spot = np.rint(_DARK + _LIGHT * light * profile * profile).astype(np.int64)
    noise = rng.integers(0, _GRAIN, (2, _SIDE, _SIDE), endpoint=True).sum(axis=0) - _GRAIN
    drawn: NDArray[np.uint8] = (spot + noise).astype(np.uint8)
    return drawn


def open_modes(where: str, split: str) -> Modes:
    """Open so many images: the number after the colon, or 5,000.

    Raises:
        SourceError: an unknown split, or something other than a number of 1 to 1,000,000.
    """
    layout.check_split("modes", split, _SPLITS)
    if not where:
        return Modes(split)
    if not (where.isascii() and where.isdigit() and 1 <= int(where[:9]) <= _MAX_LENGTH):
        raise SourceError(f"modes: {where!r} is no number of images, 1 to {_MAX_LENGTH:,}")
    return Modes(split, int(where))
