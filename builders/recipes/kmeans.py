"""k-means of whole numbers: the same clusters on every processor and by any number of threads.

Scikit-learn and dask-ml add floats in an order that hangs on threads and chunks, and their products
are rounded as the processor likes; a rounding moves a point, and then everything after it. Here
points are whole numbers and centres are whole numbers of small fractions, chosen so that no sum of
products has more than 52 bits. A float64 holds each of them exactly, so the product of matrices is
exact, whoever computes it and in whatever order.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import BuildError

_FLOAT, _INTEGER = 52, 62  # bits that a sum may have, in a float64 and in an int64
_FINEST = 16  # bits of a fraction: no more are of any use
_ROWS = 4096  # points whose distances to all centres are in memory at a time


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Whole numbers (N, D), of any integer type, none above `largest` in size."""

    values: NDArray[np.integer]
    largest: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def fraction(self) -> int:
        """Bits after the point that the numbers of a centre have.

        Raises:
            BuildError: there are so many dimensions that not even whole numbers are exact.
        """
        used = 2 * self.largest.bit_length() + math.ceil(math.log2(self.values.shape[1]))
        if used > _FLOAT - 2:  # differences have a bit more, and are squared
            raise BuildError(f"{self.values.shape[1]:,} dimensions are more than k-means adds up")
        return min(_FINEST, _FLOAT - used, (_INTEGER - used) // 2)


def kmeans(
    points: Points, clusters: int, *, rngs: Iterable[np.random.Generator], rounds: int
) -> NDArray[np.int64]:
    """The cluster of each point: the best of one attempt a generator. -> (N,) in [0, clusters).

    Lloyd's algorithm from k-means++ (Arthur & Vassilvitskii 2007), until no point moves or so many
    rounds are over. Of equally near centres the first counts; a cluster that nobody is nearest to
    gets the point that is farthest from its centre. The best has the least sum of squared
    distances, the first of several.

    Raises:
        BuildError: there are fewer different points than clusters.
    """
    best, least = None, math.inf
    for rng in rngs:
        labels, cost = _lloyd(points, _spread(points, clusters, rng), rounds)
        if cost < least:
            best, least = labels, cost
    assert best is not None  # there is a generator
    return best


def _spread(points: Points, clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Points to begin with: each is drawn in proportion to its squared distance to the nearest."""
    chosen = [int(rng.integers(len(points)))]
    nearest = _squared_distances(points, chosen[0])
    while len(chosen) < clusters:
        summed = nearest.cumsum()
        if not (total := int(summed[-1])):
            raise BuildError(
                f"there are {len(chosen):,} different images; {clusters:,} bins were asked for"
            )
        chosen.append(int(summed.searchsorted(rng.integers(total), side="right")))
        nearest = np.minimum(nearest, _squared_distances(points, chosen[-1]))
    return np.array(chosen)


def _squared_distances(points: Points, one: int) -> NDArray[np.int64]:
    """Of every point to one of them. -> (N,)."""
    there = points.values[one].astype(np.float64)
    found = np.empty(len(points), np.int64)
    for rows in _blocks(len(points)):
        differences = points.values[rows] - there
        found[rows] = np.einsum("nd,nd->n", differences, differences)
    return found


def _lloyd(
    points: Points, first: NDArray[np.int64], rounds: int
) -> tuple[NDArray[np.int64], float]:
    """The cluster of each point, and what is least for the least sum of squared distances."""
    fraction = points.fraction
    centres = points.values[first].astype(np.int64) << fraction
    labels, costs = _nearest(points, centres)
    for _ in range(rounds):
        labels = _none_empty(points, labels, costs, len(first))
        counts = np.bincount(labels)[:, None]
        centres = ((cluster_sums(points.values, labels) << fraction + 1) // counts + 1) >> 1
        before = labels
        labels, costs = _nearest(points, centres)
        if np.array_equal(labels, before):
            break
    return _none_empty(points, labels, costs, len(first)), math.fsum(costs)


def _nearest(
    points: Points, centres: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest centre of each point, and (|c|^2 - 2 x.c) / 2 of it, in fractions. -> (N,), (N,).

    The squared length of the point, which is the same for every centre, is left out.
    """
    halves = (np.einsum("kd,kd->k", centres, centres) >> points.fraction + 1).astype(np.float64)
    columns = np.ascontiguousarray(centres.T, np.float64)
    labels, costs = np.empty(len(points), np.int64), np.empty(len(points))
    for rows in _blocks(len(points)):
        scores = halves - points.values[rows].astype(np.float64) @ columns
        labels[rows] = scores.argmin(axis=1)
        costs[rows] = scores.min(axis=1)
    return labels, costs


def _none_empty(
    points: Points, labels: NDArray[np.int64], costs: NDArray[np.float64], clusters: int
) -> NDArray[np.int64]:
    """The same clusters, of which those without a point get one each."""
    empty = np.flatnonzero(np.bincount(labels, minlength=clusters) == 0)
    if not len(empty):
        return labels
    labels = labels.copy()
    blocks = (points.values[rows].astype(np.float64) for rows in _blocks(len(points)))
    lengths = np.concatenate([np.square(block).sum(axis=1) for block in blocks])
    distances = costs + lengths * 2.0 ** (points.fraction - 1)
    sizes = np.bincount(labels, minlength=clusters)
    for point in np.argsort(-distances, kind="stable"):
        if not len(empty):
            break
        if sizes[labels[point]] > 1:
            sizes[labels[point]] -= 1
            labels[point], empty = empty[0], empty[1:]
    return labels


def cluster_sums(values: NDArray[np.integer], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of the rows of each cluster, none of which is empty. (N, D), (N,) -> (K, D)."""
    order = labels.argsort(kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    return np.add.reduceat(values[order], starts, axis=0, dtype=np.int64)


def _blocks(count: int) -> Iterable[slice]:
    return (slice(start, start + _ROWS) for start in range(0, count, _ROWS))
