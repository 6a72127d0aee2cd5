"""Who gets which sample, exactly: arithmetic on an epoch's order, with no I/O.

An epoch is an order of N samples. Global batch g is a run of the order, and every rank takes its
part of each. What is left at any moment is the order's tail, so a state is one number, it means
the same to any number of ranks and workers, and R ranks with batches of B see the global batches
of one rank with R x B. Each sample comes exactly once in an epoch, and all ranks get the same
number of batches.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

Ranges: TypeAlias = Sequence[tuple[int, int]]  # [start, stop) positions in an epoch's order


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
