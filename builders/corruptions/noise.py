"""Noise that meets every channel entry by itself: CIFAR-10-C's four kinds, and any sigma.

The byte that comes out depends on the byte that goes in and on chance alone, so a noise of one
severity is a table: for each of the 256 levels, the distribution of what it becomes. An entry costs
one random word, looked up in the table by inverse distribution function. That is the same law as
drawing a normal or a Poisson number, computing in float64 and flooring, to within 2**-31 in every
probability; noise of one image and two severities is the same noise, stronger.

Constants: Hendrycks & Dietterich (2019), "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", CIFAR-10-C; they differ from ImageNet-C's.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, pdtr

from quire.artifacts.compiled import compiled
from quire.builders.corruptions.images import Generators, Images, constant, sigma, to_bytes

_GAUSSIAN_SIGMA = {1: 0.04, 2: 0.06, 3: 0.08, 4: 0.09, 5: 0.10}
_SHOT_PHOTONS = {1: 500, 2: 250, 3: 100, 4: 75, 5: 50}  # expected at full brightness
_IMPULSE_AMOUNT = {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.05, 5: 0.07}
_SPECKLE_SIGMA = {1: 0.06, 2: 0.10, 3: 0.12, 4: 0.16, 5: 0.20}

_WORD_BITS = 31  # so that "certainly" is a number that a uint32 holds
_GUIDE_BITS = 10  # both tables of a noise then stay in the second-level cache
_LEVELS = np.arange(256)


class _Law(NamedTuple):
    """What each level becomes: level v turns into the first k with word < cumulative[v, k]."""

    cumulative: NDArray[np.uint32]  # (256, 256), rising in k to 2**31
    guide: NDArray[np.uint8]  # (256, 1024): by the word's leading bits, where to begin to look


def gaussian_noise(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Add normal noise to every entry. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C, severity 1..5."""
    return _draw(images, _gaussian(constant(_GAUSSIAN_SIGMA, severity)), rngs)


def shot_noise(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Count photons: Poisson in every entry. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C, 1..5."""
    return _draw(images, _shot(constant(_SHOT_PHOTONS, severity)), rngs)


def impulse_noise(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Turn entries, not pixels, to 0 or 255. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C, 1..5."""
    return _draw(images, _impulse(constant(_IMPULSE_AMOUNT, severity)), rngs)


def speckle_noise(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Noise in proportion to the entry. (N, H, W, C) -> (N, H, W, C); CIFAR-10-C (extra), 1..5."""
    return _draw(images, _speckle(constant(_SPECKLE_SIGMA, severity)), rngs)


def gaussian_noise_sigma(images: Images, *, severity: float, rngs: Generators) -> Images:
    """Add N(0, severity**2) on the [0, 1] scale and clip. (N, H, W, C) -> (N, H, W, C).

    The noise of the papers on mini-batch similarity graphs: severity is sigma, and 0 changes
    nothing; RecipeError where it is negative or not finite.
    """
    scale = sigma(severity)
    return _draw(images, _gaussian(scale), rngs) if scale else images.copy()


@lru_cache(maxsize=64)
def _gaussian(scale: float) -> _Law:
    least = (_LEVELS + 1 - _LEVELS[:, None]) / 255  # the noise that lifts level v to k + 1
    return _law(ndtr(least / scale))


@lru_cache(maxsize=16)
def _speckle(scale: float) -> _Law:
    black, levels = _LEVELS[:1], _LEVELS[1:, None]
    factor = ndtr(((_LEVELS + 1) / levels - 1) / scale)
    return _law(np.concatenate([np.ones((len(black), 256)), factor]))  # black times noise is black


@lru_cache(maxsize=16)
def _shot(photons: int) -> _Law:
    seen = to_bytes(np.arange(photons + 1) / photons)  # the byte of 0, 1, ... photons
    most = np.searchsorted(seen, _LEVELS, side="right") - 1
    return _law(pdtr(most, photons * (_LEVELS[:, None] / 255)))


@lru_cache(maxsize=16)
def _impulse(amount: float) -> _Law:
    reached = _LEVELS >= _LEVELS[:, None]
    return _law(np.where(reached, 1 - amount / 2, amount / 2))


def _law(at_most: NDArray[np.floating[Any]]) -> _Law:
    """A law from P(level v becomes k or less), (256, 256), as words (w + 1/2) / 2**31 meet it."""
    at_most[:, 255] = 1
    cumulative = np.ceil(at_most * 2**_WORD_BITS - 0.5).astype(np.uint32)
    first = np.arange(1 << _GUIDE_BITS, dtype=np.uint32) << np.uint32(_WORD_BITS - _GUIDE_BITS)
    guide = [np.searchsorted(row, first, side="right") for row in cumulative]
    return _Law(cumulative, np.array(guide, np.uint8))


def _draw(images: Images, law: _Law, rngs: Generators) -> Images:
    """A draw from the law for every entry, each image from its own generator."""
    entries = images.reshape(len(images), -1)
    out = np.empty_like(entries)
    half = entries.shape[1] // 2 + 1
    for image, drawn, rng in zip(entries, out, rngs, strict=True):
        words = rng.integers(0, 2**64, half, np.uint64).astype("<u8", copy=False).view("<u4")
        _look_up(image, words, law.cumulative, law.guide, drawn)
    return out.reshape(images.shape)


@compiled()
def _look_up(
    image: Images,
    words: NDArray[np.uint32],
    cumulative: NDArray[np.uint32],
    guide: NDArray[np.uint8],
    out: Images,
) -> None:
    shift = np.uint32(_WORD_BITS - _GUIDE_BITS)
    for i in range(image.size):
        level, word = image[i], words[i] >> np.uint32(1)
        k = np.int64(guide[level, word >> shift])
        k += np.int64(word >= cumulative[level, k])  # most often enough, and costs no branch
        while word >= cumulative[level, k]:
            k += 1
        out[i] = k
