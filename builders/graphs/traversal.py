"""Shortest and longest paths over arcs in CSR form, compiled.

The arcs of node v lead to ends[starts[v] : starts[v + 1]]. Nodes are unsigned, for numba then needs
no check for indices that count from the end.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.compiled import compiled

Indices: TypeAlias = NDArray[np.uint32]
Longs: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

_ONE = np.uint32(1)


class Arcs(NamedTuple):
    """Arcs in CSR form, those of a node in the order in which they were given."""

    starts: Indices  # (n + 1,)
    ends: Indices  # (A,)


class Sweep(NamedTuple):
    """What shortest paths between all ordered pairs of different nodes say, summed up."""

    lengths: Longs  # (n,): how many pairs lie so far apart; pairs without a path nowhere
    farthest: Longs  # (n,): the distance from a node to the last one it reaches, 0 if to none
    reaches: Longs  # (n,): how many others a node reaches
    distances_from: Longs  # (n,): the sum of the distances to those
    reached_by: Longs  # (n,): how many others reach it
    distances_to: Longs  # (n,): the sum of the distances from those
    dependencies: Floats  # (n,): the shares of the pairs' shortest paths that lead through it


@compiled()
def csr(size: int, sources: Indices, targets: Indices) -> Arcs:
    """Sort arcs by where they begin. (A,), (A,) -> CSR."""
    starts = np.zeros(size + 1, np.uint32)
    for v in sources:
        starts[v + _ONE] += _ONE
    for v in range(size):
        starts[v + 1] += starts[v]
    ends, free = np.empty(sources.size, np.uint32), starts.copy()
    for arc in range(sources.size):
        v = sources[arc]
        ends[free[v]] = targets[arc]
        free[v] += _ONE
    return Arcs(starts, ends)


@compiled()
def longest_paths(arcs: Arcs, order: Indices) -> NDArray[np.int32]:
    """The number of arcs on the longest path that ends in each node. -> (n,).

    `order` is all nodes, each before those that its arcs lead to.
    """
    longest = np.zeros(order.size, np.int32)
    for v in order:
        for arc in range(arcs.starts[v], arcs.starts[v + _ONE]):
            w = arcs.ends[arc]
            longest[w] = max(longest[w], longest[v] + 1)
    return longest


@compiled()
def components(size: int, sources: Indices, targets: Indices) -> Indices:
    """The least node that each node hangs together with, along arcs of any direction. -> (n,)."""
    least = np.arange(size).astype(np.uint32)
    for arc in range(sources.size):
        u, v = sources[arc], targets[arc]
        while least[u] != u:
            least[u] = least[least[u]]  # so that the next search is half as long
            u = least[u]
        while least[v] != v:
            least[v] = least[least[v]]
            v = least[v]
        least[max(u, v)] = min(u, v)
    for v in range(size):  # a node's least is less than it, so already final
        least[v] = least[least[v]]
    return least


@compiled()
def sweep(arcs: Arcs) -> Sweep:
    """A breadth-first search from every node, and Brandes' sum on the way back, in one pass.

    Brandes (2001), A faster algorithm for betweenness centrality. O(n * A) time, O(n + A) memory.
    Every sum is taken in an order that the arcs decide, so its bytes are the same everywhere.
    """
    n = arcs.starts.size - 1
    lengths, farthest, reaches = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    distances_from, reached_by = np.zeros(n, np.int64), np.zeros(n, np.int64)
    distances_to, dependencies = np.zeros(n, np.int64), np.zeros(n)
    distance, paths, share = np.empty(n, np.int32), np.empty(n), np.empty(n)
    # One place more than can be filled, for the search writes first and counts then.
    queue, nexts = np.empty(n + 1, np.uint32), np.empty(arcs.ends.size + 1, np.uint32)
    nexts_end = np.zeros(n + 1, np.uint32)
    for source in range(n):
        found = _search(arcs, source, distance, paths, queue, nexts, nexts_end)
        for i in range(found - 1, 0, -1):
            v = queue[i]
            total = 0.0
            for k in range(nexts_end[i], nexts_end[i + 1]):
                total += share[nexts[k]]
            share[v] = 1 / paths[v] + total
            dependencies[v] += paths[v] * total
            length = distance[v]
            lengths[length] += 1
            reached_by[v] += 1
            distances_to[v] += length
            distances_from[source] += length
        reaches[source] = found - 1
        farthest[source] = distance[queue[found - 1]]
    return Sweep(lengths, farthest, reaches, distances_from, reached_by, distances_to, dependencies)


@compiled()
def _search(
    arcs: Arcs,
    source: int,
    distance: NDArray[np.int32],
    paths: Floats,
    queue: Indices,
    nexts: Indices,
    nexts_end: Indices,
) -> np.uint32:
    """Breadth first from one node; how many nodes were found, itself among them.

    Fills `queue` with them in order, their `distance`, how many shortest `paths` lead to each, and
    `nexts`: for the i-th of them nexts[nexts_end[i] : nexts_end[i + 1]] is where these go on.
    Whether an arc is one of those is a coin toss to the processor, so nothing branches on it.
    """
    distance[:] = distance.size  # further than any
    paths[:] = 0
    queue[0], distance[source], paths[source] = source, 0, 1
    head, found, filled = 0, _ONE, np.uint32(0)
    while head < found:
        v = queue[head]
        length = distance[v] + 1
        for arc in range(arcs.starts[v], arcs.starts[v + _ONE]):
            w = arcs.ends[arc]
            before = distance[w]
            queue[found] = w
            found += np.uint32(before > length)
            distance[w] = min(before, length)
            nexts[filled] = w
            filled += np.uint32(before >= length)
        for k in range(nexts_end[head], filled):
            paths[nexts[k]] += paths[v]
        head += 1
        nexts_end[head] = filled
    return found
