"""What every corruption shares: its types, the lookup of its constants, and the way back to bytes.

A corruption takes a block of images (N, H, W, C) uint8 and returns another block of the same shape
and type; one image is a block of one. Generators come one per image, so that what a sample draws
never depends on the block it travels in.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError

Images: TypeAlias = NDArray[np.uint8]  # (image, height, width, channel), 0..255
Generators: TypeAlias = Sequence[np.random.Generator]  # one per image
Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]

Constant = TypeVar("Constant")


class Corruption(Protocol):
    """A pure function of a block of images, a severity and the images' own generators."""

    def __call__(self, images: Images, *, severity: float, rngs: Generators) -> Images: ...


def constant(table: Mapping[int, Constant], severity: float) -> Constant:
    """What a table of constants holds for a severity; RecipeError where it holds nothing.

    >>> constant({1: 0.04, 2: 0.06}, 2)
    0.06
    """
    if severity in table:
        return table[int(severity)]
    raise RecipeError(f"severity is {severity}; it must be one of {', '.join(map(str, table))}")


def sigma(severity: float) -> float:
    """A severity that is itself a standard deviation: finite and >= 0, or RecipeError."""
    if isfinite(severity) and severity >= 0:
        return float(severity)
    raise RecipeError(f"sigma is {severity}; it must be a finite number >= 0")


def to_bytes(pixels: NDArray[np.floating[Any]]) -> Images:
    """Bring [0, 1] pixels back to bytes, (...) -> (...): clipped, and floored as in CIFAR-10-C."""
    return (pixels.clip(0, 1) * 255).astype(np.uint8)
