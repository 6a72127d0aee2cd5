"""The reads that samples take."""

from dataclasses import dataclass

import numpy as np

from quire.artifacts.index import Index
from quire.loaders.order import Rows, extents


@dataclass(frozen=True, slots=True)
class Read:
    """Neighbouring bytes of a shard: [start, stop)."""

    shard: int
    start: int
    stop: int


def reads_of(index: Index, rows: Rows) -> list[Read]:
    """The reads that some samples take, in the order of the shards. (N,) rows -> at most N.

    What lies between two samples is read with them where it is no more than one of them.
    """
    rows = np.sort(rows)
    shards = index.shard[rows]
    starts, stops = extents(index, rows)
    between = starts[1:] - stops[:-1]
    last = np.flatnonzero((np.diff(shards) != 0) | (between > (stops - starts)[:-1]))
    last = np.append(last, len(rows) - 1) if len(rows) else last
    first = np.append(0, last[:-1] + 1) if len(rows) else last
    reads = (shards[first].tolist(), starts[first].tolist(), stops[last].tolist())
    return [Read(*read) for read in zip(*reads, strict=True)]
