"""How well a map of saliency fits the salient objects: F and the mean absolute error.

As the code that papers are compared by has it (PySODMetrics): a map is stretched to [0, 1] image by
image and looked at in 256 levels; F is averaged over images at each threshold, and its maximum over
thresholds is reported.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 256
_BETA_SQUARED = 0.3  # precision counts for more than recall


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How well the map of one image fits."""

    f: NDArray[np.float64]  # (256,): by threshold, the highest first
    error: float  # mean absolute error, 0 to 1


def fit(saliency: NDArray[np.floating], salient: NDArray[np.bool_]) -> Fit:
    r"""Hold a map against the truth.

    $F_\beta = (1 + \beta^2) P R / (\beta^2 P + R)$ with $\beta^2 = .3$ (Achanta et al. 2009), of
    the pixels at or above each threshold; 0 where nothing is found. A map that is the same
    everywhere is not stretched.

    Args:
        saliency: (H, W) in [0, 1].
        salient: (H, W).

    Raises:
        ValueError: shapes differ, or a value of the map is outside [0, 1], NaN among them.
    """
    if saliency.shape != salient.shape or not saliency.size:
        raise ValueError(f"a map of {saliency.shape} for a mask of {salient.shape}")
    least, most = float(saliency.min()), float(saliency.max())
    if not 0 <= least <= most <= 1:  # nor NaN
        raise ValueError(f"a map has values from {least:g} to {most:g}, not in [0, 1]")
    stretched = saliency.astype(np.float64)
    if most > least:
        stretched = (stretched - least) / (most - least)
    levels = (stretched * (LEVELS - 1)).astype(np.uint8)
    found = np.bincount(levels[salient], minlength=LEVELS)[::-1].cumsum()
    taken = np.bincount(levels.ravel(), minlength=LEVELS)[::-1].cumsum()
    precision = found / np.maximum(taken, 1)
    recall = found / max(int(salient.sum()), 1)
    weighted = _BETA_SQUARED * precision + recall
    f = (1 + _BETA_SQUARED) * precision * recall / np.where(weighted > 0, weighted, 1)
    return Fit(f, float(np.abs(stretched - salient).mean()))


@dataclass(frozen=True, slots=True)
class SaliencyScore:
    """How well the maps of several images fit."""

    images: int
    max_f: float
    """The highest over thresholds of the mean F over images."""
    error: float
    """The mean absolute error, averaged over images."""


def score(fits: Iterable[Fit]) -> SaliencyScore:
    """The figures of a dataset, from those of its images; they need not be in memory together.

    Raises:
        ValueError: there are none.
    """
    count, f, error = 0, np.zeros(LEVELS), 0.0
    for one in fits:
        count, f, error = count + 1, f + one.f, error + one.error
    if not count:
        raise ValueError("there are no images to be measured")
    return SaliencyScore(count, float((f / count).max()), error / count)
