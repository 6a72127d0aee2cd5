"""A recipe cut into shard tasks: arithmetic alone, small values that travel to a worker."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShardTask:
    """The source's samples [start, stop) in one part of a recipe, and the file they go to."""

    name: str
    part: str  # what the recipe calls it: for `corrupted` a cell such as `fog-3`
    start: int
    stop: int
    bytes: int | None  # of the finished shard where every sample is there; None when that is open


def cut(num_samples: int, samples_per_shard: int) -> tuple[tuple[int, int], ...]:
    """Cut samples into runs [start, stop), all full but perhaps the last.

    >>> cut(5, 2)
    ((0, 2), (2, 4), (4, 5))
    """
    starts = range(0, num_samples, samples_per_shard)
    return tuple((start, min(start + samples_per_shard, num_samples)) for start in starts)
