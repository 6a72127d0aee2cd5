"""Pieces of shards, each with a digest of its own: what can be fetched, and checked, by itself.

A piece is the samples of a shard that begin in one stretch of `PIECE` bytes, whole; the last one of
a shard goes on to its end. So no sample lies in two pieces.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 18  # bytes


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a shard, in order; each begins where the one before it ends."""

    ends: NDArray[np.int64]
    """(P,) bytes into the shard; the last is its length."""
    digests: NDArray[np.uint8]
    """(P, 32) sha256 of each."""


class Cutter:
    """Cuts a shard into pieces while it is written."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._number = 0  # of the stretch that the open piece began in
        self._length = 0  # of what was written
        self._ends: list[int] = []
        self._digests: list[bytes] = []

    def write(self, data: memoryview, starts: NDArray[np.int64]) -> None:
        """The next bytes of the shard, and where in it samples begin among them. (N,)."""
        numbers = starts // PIECE
        first = np.flatnonzero(np.diff(numbers, prepend=self._number))
        done = 0
        for start, number in zip(starts[first].tolist(), numbers[first].tolist(), strict=True):
            self._digest.update(data[done : start - self._length])
            done = start - self._length
            self._close(start)
            self._number = number
        self._digest.update(data[done:])
        self._length += len(data)

    def pieces(self) -> Pieces:
        """All of them, when the shard is written."""
        self._close(self._length)
        digests = np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, 32)
        return Pieces(np.array(self._ends, np.int64), digests)

    def _close(self, end: int) -> None:
        self._ends.append(end)
        self._digests.append(self._digest.digest())
        self._digest = hashlib.sha256()
