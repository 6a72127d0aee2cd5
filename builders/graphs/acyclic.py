"""Shortest paths over arcs without a cycle, compiled: many sources go side by side.

In an order of all nodes, each before those that its arcs lead to, a node's distances are final when
its turn comes. No source needs a queue of its own then, so 64 of them share one walk over the arcs,
and each step of it is a few vector instructions. A row holds a node's numbers, a lane a source's.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.compiled import compiled
from quire.builders.graphs import traversal
from quire.builders.graphs.traversal import Arcs, Floats, Indices, Sweep

Distances: TypeAlias = NDArray[np.int32]

_LANES = 64  # rows are whole vectors on every processor, and those of 500 nodes fit in its cache
_EXACT = 2.0**53  # up to here a float counts without rounding
_SAMPLES = 16
_ONE = np.uint32(1)


def sweep(arcs: Arcs, order: Indices) -> Sweep:
    """What `traversal.sweep` finds, to the last bit, but where nodes reach many, far faster.

    `order` is all nodes, each before those that its arcs lead to. O(n * A) time, O(n + A) memory.
    """
    # Lanes pass every arc, reached or not: a row takes as long as 36 steps of a search, an arc as 6
    # (measured), and on average half of both come after a source.
    if _LANES // _SAMPLES * _walked(arcs, order) > 18 * order.size + 3 * arcs.ends.size:
        found, exact = _sweep(arcs, order)
        if exact:  # if not, the order in which paths are added up would be in the last bit
            return Sweep._make(sums[: order.size] for sums in found)
    return traversal.sweep(arcs)


@compiled()
def _walked(arcs: Arcs, order: Indices) -> int:
    """How many nodes and arcs are on the ways of 16 sources at equal intervals of the order."""
    n, walked = order.size, 0
    reached_by = np.zeros(n, np.uint32)  # a bit for each source
    for sample in range(min(n, _SAMPLES)):
        reached_by[order[sample * n // _SAMPLES]] |= _ONE << np.uint32(sample)
    for v in order:
        bits = reached_by[v]
        for arc in range(arcs.starts[v], arcs.starts[v + _ONE]):
            reached_by[arcs.ends[arc]] |= bits
        while bits:
            walked += 1 + arcs.starts[v + _ONE] - arcs.starts[v]
            bits &= bits - _ONE
    return walked


@compiled()
def _sweep(arcs: Arcs, order: Indices) -> tuple[Sweep, bool]:
    """The sums, (n + 64,) each, and whether all paths could be counted."""
    n, exact = order.size, True
    found = _zeros(n + _LANES)  # distances up to n, and lanes that no source is left for
    distance, paths = np.empty((n, _LANES), np.int32), np.empty((n, _LANES))
    share, total = np.empty((n, _LANES)), np.empty(_LANES)
    for first in range(0, n, _LANES):
        begin = _search(arcs, order, first, distance, paths)
        for v in order[begin:][::-1]:
            exact &= _add_up(arcs, v, distance, paths, share, total)
            dependency = found.dependencies[v]
            for lane in range(_LANES):
                dependency += paths[v, lane] * total[lane]
            found.dependencies[v] = dependency
            _count(found, v, first, distance[v], n)
    return found, exact


@compiled(forceinline=True)
def _zeros(size: int) -> Sweep:
    return Sweep(
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size, np.int64),
        np.zeros(size),
    )


# What follows is inlined: else each row would be counted as a reference, for longer than it is read


@compiled(forceinline=True)
def _search(arcs: Arcs, order: Indices, first: int, distance: Distances, paths: Floats) -> int:
    """Fill all rows for the 64 sources from `first` on; where in the order one of these comes.

    The distance of what a source does not reach is n, and so, in the end, is that of itself: then
    it is in none of its own sums.
    """
    n = order.size
    last = min(first + _LANES, n)
    distance[:] = n
    paths[:] = 0
    for source in range(first, last):
        distance[source, source - first] = 0
        paths[source, source - first] = 1
    begin = 0
    while not first <= order[begin] < last:
        begin += 1
    for v in order[begin:]:
        for arc in range(arcs.starts[v], arcs.starts[v + _ONE]):
            w = arcs.ends[arc]
            _go_on(distance[v], paths[v], distance[w], paths[w])
    for source in range(first, last):
        distance[source, source - first] = n
    return begin


@compiled(forceinline=True)
def _go_on(distance: Distances, paths: Floats, next_distance: Distances, nexts: Floats) -> None:
    """Along one arc. All is read before any of it is chosen, so that lanes become vectors."""
    for lane in range(_LANES):
        length, before = distance[lane] + np.int32(1), next_distance[lane]
        new, old = paths[lane], nexts[lane]
        nexts[lane] = (old if before <= length else 0.0) + (new if length <= before else 0.0)
        next_distance[lane] = min(before, length)


@compiled(forceinline=True, error_model="numpy")
def _add_up(
    arcs: Arcs, v: int, distance: Distances, paths: Floats, share: Floats, total: Floats
) -> bool:
    """Brandes' sum at one node on the way back; whether its paths were counted exactly."""
    total[:] = 0
    for arc in range(arcs.starts[v], arcs.starts[v + _ONE]):
        w = arcs.ends[arc]
        _add(distance[v], distance[w], share[w], total)
    exact = True
    for lane in range(_LANES):
        share[v, lane] = 1 / paths[v, lane] + total[lane]  # inf where no path ends, and never read
        exact &= paths[v, lane] <= _EXACT
    return exact


@compiled(forceinline=True)
def _add(distance: Distances, next_distance: Distances, share: Floats, total: Floats) -> None:
    for lane in range(_LANES):
        more = share[lane]
        total[lane] += more if next_distance[lane] == distance[lane] + np.int32(1) else 0.0


@compiled(forceinline=True)
def _count(found: Sweep, v: int, first: int, distance: Distances, n: int) -> None:
    """Count one node for those that reach it, and these for the node."""
    farthest = found.farthest[first : first + _LANES]
    reaches = found.reaches[first : first + _LANES]
    distances_from = found.distances_from[first : first + _LANES]
    reached_by, distances_to = np.int64(0), np.int64(0)
    for lane in range(_LANES):
        reached = distance[lane] < n
        length = distance[lane] if reached else np.int32(0)
        farthest[lane] = max(farthest[lane], length)
        reaches[lane] += reached
        distances_from[lane] += length
        reached_by += reached
        distances_to += length
    found.reached_by[v] += reached_by
    found.distances_to[v] += distances_to
    for lane in range(_LANES):
        found.lengths[np.uint32(distance[lane])] += 1
