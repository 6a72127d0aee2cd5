"""Indexes without a bundle: samples of given sizes in shards of given lengths."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.index import Index
from quire.artifacts.shards import BLOCK, Rows, padded


def made_index(samples: Sequence[int], lengths: NDArray[np.int64]) -> Index:
    """Shards with so many samples each; a sample is one file. (N,) bytes of all files."""
    ends = np.empty(len(lengths), np.int64)
    first = 0
    for count in samples:
        own = slice(first, first + count)
        ends[own] = (BLOCK + padded(lengths[own])).cumsum()
        first += count
    return Index(
        shard=np.repeat(np.arange(len(samples), dtype=np.int32), samples),
        rows=Rows(
            keys=np.array([f"{i:08d}" for i in range(len(lengths))], np.bytes_),
            offsets={"ppm": ends - padded(lengths)},
            lengths={"ppm": lengths},
            columns={},
        ),
    )
