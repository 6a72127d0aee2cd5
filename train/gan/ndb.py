"""How many bins of a dataset generated images miss: Richardson & Weiss 2018, section 3.1.

The number of statistically different bins (NDB) is counted by a two-proportion z-test in each bin,
with the pooled proportion, two-sided at 5 %, without a correction for their number. So of K bins
about K / 20 differ where nothing does: NDB/K has a floor of .05, and is near 1 where the generator
makes but a few kinds of images.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.bins_table import Bins
from quire.artifacts.errors import RunError

SIGNIFICANCE = 0.05
FLOOR = SIGNIFICANCE  # of NDB/K, where both samples are of one distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How images spread over the bins of a dataset, beside those that made the bins."""

    bins: int
    """K."""
    different: int
    """NDB: bins whose parts of the images differ significantly."""
    js: float
    """Jensen-Shannon divergence of the two distributions over bins, in nats: 0 to ln 2."""
    reached: int
    """Bins that any of the images is in."""
    images: int
    """How many there were."""

    @property
    def score(self) -> float:
        """NDB/K, in 0 to 1; about .05 where nothing differs."""
        return self.different / self.bins


def spread_of(batches: Iterable[Tensor], bins: Bins) -> Spread:
    """How images spread over bins. Batches are (B, C, H, W), float in [-1, 1].

    Raises:
        RunError: see `assigned`; or there are no images.
    """
    counts = np.zeros(len(bins), np.int64)
    for images in batches:
        counts += np.bincount(assigned(images, bins).cpu().numpy(), minlength=len(bins))
    if not counts.any():
        raise RunError("there are no images to hold against the bins")
    return compared(bins.counts, counts)


def assigned(images: Tensor, bins: Bins) -> Tensor:
    """The bin of each image, whose centre is nearest. (B, C, H, W), float in [-1, 1] -> (B,) int64.

    Raises:
        RunError: images have another shape than those of the bins, or values outside [-1, 1].
    """
    height, width, channels = bins.image_shape
    if (found := tuple(images.shape[1:])) != (channels, height, width):
        raise RunError(
            f"images are {_shape(found)}; the bins are of {_shape((channels, height, width))}"
        )
    if not bool((images.abs() <= 1).all()):  # nor NaN
        raise RunError("generated images have values outside [-1, 1], or NaN")
    used = torch.from_numpy(bins.dimensions).to(images.device)
    scale = torch.from_numpy(bins.scale).to(images.device)[used]
    levels = (images.double().permute(0, 2, 3, 1).flatten(1)[:, used] + 1) * 127.5
    centres = torch.from_numpy(bins.centres).to(images.device).flatten(1)[:, used]
    return _nearest(levels / scale, centres / scale)


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    """(B, D), (K, D) -> (B,) int64."""
    return (centres.square().sum(dim=1) / 2 - points @ centres.mT).argmin(dim=1)


def _shape(shape: tuple[int, ...]) -> str:
    channels, height, width = shape
    return f"{height}x{width} of {channels} channels"


def compared(reference: NDArray[np.int64], counts: NDArray[np.int64]) -> Spread:
    """Bins that differ between two samples, by the images of each in every bin. (K,), (K,).

    A bin that is empty in both, or has all of both, is not different.

    >>> compared(np.array([300, 200, 150, 100]), np.array([90, 5, 5, 0])).different
    4
    """
    sizes = int(reference.sum()), int(counts.sum())
    first, second = reference / sizes[0], counts / sizes[1]
    pooled = (reference + counts) / sum(sizes)
    error = np.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    z = np.divide(np.abs(first - second), error, out=np.zeros_like(error), where=error > 0)
    chances = [math.erfc(value / math.sqrt(2)) for value in z.tolist()]
    return Spread(
        bins=len(reference),
        different=sum(chance < SIGNIFICANCE for chance in chances),
        js=_divergence(first, second),
        reached=int((counts > 0).sum()),
        images=sizes[1],
    )


def _divergence(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    middle = (first + second) / 2
    terms = [
        part * math.log(part / mean)
        for parts in (first, second)
        for part, mean in zip(parts.tolist(), middle.tolist(), strict=True)
        if part > 0
    ]
    return math.fsum(terms) / 2
