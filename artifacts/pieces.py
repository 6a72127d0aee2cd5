"""Pieces of shards, each with a digest of its own: what can be fetched, and checked, by itself.

A piece is the samples of a shard that begin in one stretch of `PIECE` bytes, whole; the last one of
a shard goes on to its end. So no sample lies in two pieces.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

PIECE = 1 << 18  # bytes

Buffer: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a shard, in order; each begins where the one before it ends."""

    ends: NDArray[np.int64]
    """(P,) bytes into the shard; the last is its length."""
    digests: NDArray[np.uint8]
    """(P, 32) sha256 of each."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a shard."""

    start: int
    end: int
    digest: str
    """Its sha256, in 64 hexadecimal digits."""

    @property
    def length(self) -> int:
        """In bytes."""
        return self.end - self.start


def damaged(pieces: Sequence[Piece], begin: int, body: Buffer) -> str | None:
    """Which of some pieces differs from its digest, in a sentence; None when none does.

    `body` are bytes of their shard from `begin` on.
    """
    view = memoryview(body)
    for piece in pieces:
        data = view[piece.start - begin :][: piece.length]
        if hashlib.sha256(data).hexdigest() != piece.digest:
            where = f"bytes {piece.start:,} to {piece.end:,}"
            return f"is damaged in {where}: their digest is not the index's"
    return None


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
