"""The order of an epoch: which sample comes when, from the index alone.

An order follows from the bundle, the rows that are wanted, the seed, the epoch and the fields of a
`Shuffle`. Memory, ranks, workers, batch size, and whether the bundle lies in a folder or at an
address have no part in it, so a run of one place is the run of another.

A uniformly random order of a bundle that is larger than memory reads each sample by itself, from
anywhere. So larger bundles are shuffled in two steps: **blocks** of neighbouring samples in random
order, and the samples of each **window** of many blocks mixed. What is read at a time is a block;
what has to be at hand is a window.
"""

import itertools
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.index import Index
from quire.artifacts.later import Even
from quire.artifacts.shards import padded, sample_starts

Rows: TypeAlias = NDArray[np.int64]
Positions: TypeAlias = NDArray[np.int64]

_PART = 1 << 20  # rows that are looked at together
_RUN = 1 << 25  # bytes of a window where samples are not mixed by windows, and do not fit in one
_STRATA = 1024  # of a window
_ROUNDS = 4  # samples of a stratum, at least


@dataclass(frozen=True, kw_only=True)
class Shuffle:
    """How samples are shuffled; another value of a field is another order.

    Raises:
        ValueError: a block is empty, or larger than a window.
    """

    block: int = 1 << 20
    """Bytes of a shard whose samples stay together when they are read. Samples belong to the block
    that they begin in, whatever else of it is wanted."""
    window: int = 1 << 28
    """Bytes that are mixed with each other, at most; all samples, if they are no more than that."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if not 1 <= self.block <= self.window:
            raise ValueError(f"block is {self.block}; it must be 1 to the window, {self.window}")


@dataclass(frozen=True, eq=False)
class Epoch:
    """One epoch's order."""

    rows: Rows
    """(N,) rows of the index, in order."""
    windows: Positions
    """(W + 1,) positions in the order: where each window begins, and where the last one ends.
    Samples of a window are read together."""
    places: NDArray[np.float64] | None = None
    """(N,) where in its window, in [0, 1), each sample was before the window was mixed; ranks
    divide a batch by it, so that none needs all of a window. Where there is none, they divide it
    by the order."""

    def divided(self, batch: Positions) -> Positions:
        """The positions of a batch in the order in which ranks divide it. (B,) -> (B,)."""
        if self.places is None:
            return batch
        return batch[np.argsort(self.places.take(batch), kind="stable")]

    def window_of(self, positions: Positions) -> Positions:
        """The number of the window that each position is in. (M,) -> (M,)."""
        return np.searchsorted(self.windows, positions, "right")


class Order(Protocol):
    """The orders of all epochs."""

    @property
    def name(self) -> str:
        """What it hangs on, beside rows and seed; a state of another order is refused."""

    def __len__(self) -> int:
        """How many positions an epoch has."""

    def __call__(self, epoch: int) -> Epoch:
        """The order of an epoch, by its number."""


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator of one epoch's order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))


class Sequential:
    """The rows as they were asked for, in every epoch."""

    name = "sequential"

    def __init__(self, index: Index, rows: Rows) -> None:
        self.rows = rows
        self.bytes = stored_bytes(index, rows)
        most = max(_RUN, self.bytes * (self.bytes <= Shuffle.window))
        self.windows = _equal(len(rows), self.bytes, most)

    def __len__(self) -> int:
        """See `Order`."""
        return len(self.rows)

    def __call__(self, epoch: int) -> Epoch:
        """See `Order`."""
        return Epoch(self.rows, self.windows)


class Uniform(Sequential):
    """All rows in a uniformly random order."""

    name = "shuffled"

    def __init__(self, index: Index, rows: Rows, seed: int) -> None:
        super().__init__(index, rows)
        self.seed = seed

    def __call__(self, epoch: int) -> Epoch:
        """See `Order`."""
        return Epoch(epoch_rng(self.seed, epoch).permutation(self.rows), self.windows)


class Blocks:
    """Random blocks of neighbouring samples, mixed within windows."""

    def __init__(self, index: Index, rows: Rows, shuffle: Shuffle, seed: int) -> None:
        """`rows` may have any order; the blocks are those of the sorted rows."""
        self.name = f"shuffled in blocks of {shuffle.block} and windows of {shuffle.window} bytes"
        self.rows, self.seed, self.window = _sorted(rows), seed, shuffle.window
        self.bounds, self.bytes = _blocks(index, self.rows, shuffle.block)
        self.count = -(-int(self.bytes.sum()) // shuffle.window)  # windows

    def __len__(self) -> int:
        """See `Order`."""
        return len(self.rows)

    def __call__(self, epoch: int) -> Epoch:
        """See `Order`."""
        rng = epoch_rng(self.seed, epoch)
        order = rng.permutation(len(self.bytes))
        lengths = np.diff(self.bounds)[order]
        begins = lengths.cumsum() - lengths
        steps = np.arange(len(self.rows)) - np.repeat(begins, lengths)
        rows = self.rows[np.repeat(self.bounds[order], lengths) + steps]
        before = self.bytes[order].cumsum() - self.bytes[order]
        window = before * self.count // int(self.bytes.sum())  # of each block
        windows = np.append(begins[np.diff(window, prepend=-1) > 0], len(rows))
        places = np.empty(len(rows))
        for start, stop in itertools.pairwise(windows.tolist()):
            mixed = _mixed(rng, stop - start)
            rows[start:stop] = rows[start + mixed]
            places[start:stop] = mixed / (stop - start)
        return Epoch(rows, windows, places)


def _sorted(rows: Rows) -> Rows:
    return rows if (rows[1:] >= rows[:-1]).all() else np.sort(rows)


def _blocks(index: Index, rows: Rows, size: int) -> tuple[Positions, NDArray[np.int64]]:
    """Where the blocks of sorted rows begin, and the last one ends, and how large each is.

    -> (K + 1,) positions in the rows, (K,) bytes.
    """
    firsts, sums = [], []  # of each block: its first row, and the bytes before it
    before, total = (-1, -1), 0
    for start in range(0, len(rows), _PART):  # so that ten million rows take little memory
        some = rows[start : start + _PART]
        starts, ends = extents(index, some)
        shard, block = index.shard.take(some), starts // size
        begins = (shard[1:] != shard[:-1]) | (block[1:] != block[:-1])
        first = np.flatnonzero(np.append((int(shard[0]), int(block[0])) != before, begins))
        passed = np.append(0, (ends - starts).cumsum()) + total
        firsts.append(first + start)
        sums.append(passed[first])
        before, total = (int(shard[-1]), int(block[-1])), int(passed[-1])
    bounds = np.append(np.concatenate(firsts), len(rows))
    return bounds, np.diff(np.append(np.concatenate(sums), total))


def shuffled(index: Index, rows: Rows, shuffle: Shuffle | None, seed: int) -> Uniform | Blocks:
    """Blocks mixed in windows; without a `Shuffle`, or where one window holds all, uniform."""
    uniform = Uniform(index, rows, seed)
    if shuffle is not None and uniform.bytes > shuffle.window:
        return Blocks(index, rows, shuffle, seed)
    return uniform


def _mixed(rng: np.random.Generator, count: int) -> Positions:
    """A random order of the positions of a window. -> (count,).

    The window is cut into strata of equal size. Each round takes one sample of every stratum, at
    random, in an order of strata (bit reversal) of which any stretch is spread evenly over the
    window. So every batch is of the whole window, and of each part of it in equal measure, which
    is what lets ranks divide batches by place: the share of a rank is one part of the window.
    """
    strata = max(1, min(_STRATA, count // _ROUNDS))
    bounds = np.arange(strata + 1) * count // strata
    cells = bounds[:-1, None] + np.arange(-(-count // strata))
    cells[cells >= bounds[1:, None]] = -1
    cells = rng.permuted(cells, axis=1)
    lanes = np.roll(_bit_reversed(strata), rng.integers(strata))
    order: Positions = cells[lanes].T.ravel()
    return order[order >= 0]


def _bit_reversed(count: int) -> Positions:
    """0..count-1 by the reverse of their binary digits. -> (count,).

    >>> _bit_reversed(6).tolist()
    [0, 4, 2, 1, 5, 3]
    """
    bits = max(1, (count - 1).bit_length())
    numbers = np.arange(1 << bits)
    reverse = sum((numbers >> bit & 1) << (bits - 1 - bit) for bit in range(bits))
    return np.asarray(reverse)[np.asarray(reverse) < count]


def _equal(samples: int, size: int, most: int) -> Positions:
    """Where windows of equally many samples begin, `most` bytes each on average at most."""
    count = max(1, min(samples, -(-size // most)))
    return np.arange(count + 1) * samples // count


def stored_bytes(index: Index, rows: Rows) -> int:
    """What samples take in their shards, tar headers and padding included."""
    if (stride := stride_of(index)) is not None:
        return len(rows) * stride
    starts, ends = extents(index, rows)
    return int((ends - starts).sum())


def stride_of(index: Index) -> int | None:
    """What each sample takes, where all take the same."""
    for offsets in index.rows.offsets.values():
        return offsets.stride if isinstance(offsets, Even) else None
    return None


def extents(index: Index, rows: Rows) -> tuple[Rows, Rows]:
    """Where each sample begins and ends in its shard, tar headers and padding included.

    (N,) rows -> (N,), (N,) bytes. Samples without members have no extent.
    """
    offsets, lengths = index.rows.offsets, index.rows.lengths
    if not offsets:
        return np.zeros_like(rows), np.zeros_like(rows)
    if (stride := stride_of(index)) is not None:
        starts = sample_starts(index.rows, rows)
        return starts, starts + stride
    ends = np.max([offsets[e][rows] + padded(lengths[e][rows]) for e in offsets], axis=0)
    return sample_starts(index.rows, rows), ends
