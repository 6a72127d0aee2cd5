"""The reads that samples take."""

from dataclasses import dataclass

import numpy as np

from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, ShardPieces
from quire.loaders.order import Rows, extents

_REQUEST = 1 << 21  # bytes: the pieces of a block of 1 MiB, and of its last sample


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


class PieceReads:
    """The reads of the pieces that samples lie in, in the order of the shards.

    Neighbouring pieces are read together, `_REQUEST` bytes at a time unless one is longer.
    """

    def __init__(self, index: Index, pieces: ShardPieces) -> None:
        self.index = index
        self.pieces = pieces
        lengths = pieces.ends[np.flatnonzero(np.diff(pieces.shard, append=-1))]
        self.firsts = lengths.cumsum() - lengths  # where shards begin when laid end to end
        self.ends = self.firsts[pieces.shard] + pieces.ends

    def __call__(self, rows: Rows) -> list[Read]:
        """Those of some rows.

        Raises:
            BundleError: a sample lies in two pieces.
        """
        starts, stops = extents(self.index, rows)
        firsts = self.firsts[self.index.shard[rows]]
        numbers = np.searchsorted(self.ends, firsts + starts, "right")
        if (firsts + stops > self.ends[numbers]).any():
            raise BundleError("the index cuts the shards into pieces within samples")
        wanted = np.unique(numbers)
        pieces = self.pieces
        table = (pieces.shard[wanted], pieces.starts[wanted], pieces.ends[wanted])
        reads: list[Read] = []
        for shard, start, stop in zip(*(column.tolist() for column in table), strict=True):
            before = reads[-1] if reads else None
            if before and (before.shard, before.stop) == (shard, start):
                if stop - before.start <= _REQUEST:
                    reads[-1] = Read(shard, before.start, stop)
                    continue
            reads.append(Read(shard, start, stop))
        return reads
