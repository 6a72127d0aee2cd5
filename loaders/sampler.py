"""Who gets which sample, exactly: arithmetic on an epoch's order, with no I/O.

An epoch is an order of N samples. Two ways to share it out:

* *interleaved* (local bundles): global batch g is a run of the order, and every rank takes its
  part of each. What is left at any moment is the order's tail, so a state is one number, it means
  the same to any number of ranks and workers, and R ranks with batches of B see the global batches
  of one rank with R x B.
* *ranges* (bundles at an address): every reader takes a run of the order of its own, so that it
  need not fetch what others read. What is left is a list of ranges.

In both, each sample comes exactly once in an epoch and all ranks get the same number of batches.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.int64]
Ranges: TypeAlias = Sequence[tuple[int, int]]  # [start, stop) positions in an epoch's order


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator of one epoch's order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(epoch,)))


def shuffled(rows: Rows, seed: int, epoch: int) -> Rows:
    """A uniformly random order of all rows. (N,) -> (N,)."""
    return epoch_rng(seed, epoch).permutation(rows)


def shuffled_by_shard(rows: Rows, shards: NDArray[np.int32], seed: int, epoch: int) -> Rows:
    """Shards in random order, and each one's rows in random order, so that one shard is read at a
    time.

    (N,) rows in the order of their shards, (N,) the shard of each -> (N,).
    """
    rng = epoch_rng(seed, epoch)
    runs = np.split(rows, np.flatnonzero(np.diff(shards)) + 1)
    order = [rng.permutation(runs[i]) for i in rng.permutation(len(runs))]
    return np.concatenate(order) if order else rows


def global_batches(
    start: int, stop: int, *, batch_size: int, world_size: int, drop_last: bool
) -> Iterator[tuple[int, int]]:
    """Cut positions [start, stop) into the batches that all ranks share.

    All are full (batch_size x world_size) but the last. Where fewer samples than ranks are left
    for the last, the one before gives some of its own, so that every rank has at least one; where
    that cannot be (a batch size of 1, or nothing before), ranks without a sample get an empty
    batch.

    >>> list(global_batches(0, 9, batch_size=4, world_size=1, drop_last=False))
    [(0, 4), (4, 8), (8, 9)]
    >>> list(global_batches(0, 9, batch_size=2, world_size=2, drop_last=False))
    [(0, 4), (4, 7), (7, 9)]
    """
    full = batch_size * world_size
    while stop - start >= full:
        rest = stop - start - full
        if drop_last or rest == 0 or rest >= world_size or batch_size == 1:
            size = full
        else:
            size = full - (world_size - rest)
        yield start, start + size
        start += size
    if stop > start and not drop_last:
        yield start, stop


def part(start: int, stop: int, *, number: int, parts: int) -> tuple[int, int]:
    """One of several nearly equal runs of [start, stop).

    >>> [part(0, 5, number=i, parts=2) for i in range(2)]
    [(0, 2), (2, 5)]
    """
    size = stop - start
    return start + size * number // parts, start + size * (number + 1) // parts


def batch_sizes(samples: int, batches: int, batch_size: int) -> list[int]:
    """How a reader cuts its run when it has to make a certain number of batches of it.

    >>> batch_sizes(10, 3, 4), batch_sizes(8, 3, 4), batch_sizes(1, 2, 4)
    ([4, 4, 2], [4, 3, 1], [1, 0])
    """
    sizes = [min(batch_size, max(0, samples - i * batch_size)) for i in range(batches)]
    if batches > 1 and sizes[-1] == 0 and sizes[-2] > 1:
        sizes[-2:] = [sizes[-2] - 1, 1]
    return sizes


def total(ranges: Ranges) -> int:
    """How many positions some ranges hold."""
    return sum(stop - start for start, stop in ranges)


def slice_ranges(ranges: Ranges, start: int, stop: int) -> list[tuple[int, int]]:
    """The positions that stand at [start, stop) when the ranges are laid end to end.

    >>> slice_ranges([(0, 3), (10, 20)], 2, 5)
    [(2, 3), (10, 12)]
    """
    found = []
    before = 0
    for first, last in ranges:
        a, b = first + max(0, start - before), min(last, first + stop - before)
        if a < b:
            found.append((a, b))
        before += last - first
    return found


def merged(ranges: Ranges) -> list[tuple[int, int]]:
    """The same positions in as few ranges as can be.

    >>> merged([(0, 2), (2, 5), (7, 8)])
    [(0, 5), (7, 8)]
    """
    found: list[tuple[int, int]] = []
    for start, stop in ranges:
        if found and found[-1][1] == start:
            found[-1] = found[-1][0], stop
        else:
            found.append((start, stop))
    return found


def shares(samples: int, *, parts: int, batch_size: int, drop_last: bool) -> list[list[int]]:
    """Where each reader's batches begin and end when samples are laid end to end.

    Every reader has as many batches as every other; without `drop_last` no sample is left out.

    >>> shares(10, parts=2, batch_size=4, drop_last=False)
    [[0, 4, 5], [5, 9, 10]]
    """
    bounds = [part(0, samples, number=i, parts=parts) for i in range(parts)]
    if drop_last:
        batches = min((stop - start) // batch_size for start, stop in bounds)
    else:
        batches = max(-(-(stop - start) // batch_size) for start, stop in bounds)
    ends = []
    for start, stop in bounds:
        sizes = batch_sizes(stop - start, batches, batch_size)
        ends.append(list(itertools.accumulate(sizes, initial=start)))
    return ends
