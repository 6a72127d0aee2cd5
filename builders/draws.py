"""Randomness that belongs to a sample: the same whoever draws it, when, and next to whom."""

import hashlib
from collections.abc import Iterable

import numpy as np


def sample_rng(seed: int, purpose: str, index: int) -> np.random.Generator:
    """The generator of one sample for one purpose.

    The purpose enters as a digest of four words, so the spawn key has the same length for all of
    them and no two (purpose, index) can meet.
    """
    return sample_rngs(seed, purpose, [index])[0]


def sample_rngs(seed: int, purpose: str, indices: Iterable[int]) -> list[np.random.Generator]:
    """The generators of several samples for one purpose."""
    digest = hashlib.sha256(purpose.encode()).digest()[:16]
    words = np.frombuffer(digest, "<u4").tolist()
    return [
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*words, index)))
        for index in indices
    ]
