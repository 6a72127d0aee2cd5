"""A simple undirected graph: how many nodes it has, and which pairs of them are joined."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int32]

_MAX_SIZE = 2**31 - 1  # a node is an int32


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes 0..size-1, and edges (E, 2) int32: rows u < v, in lexicographic order, each once.

    Made by `checked_graph` or `undirected`, which see to it that this holds; `edges` is read-only.
    """

    size: int
    edges: Ints


def checked_graph(size: int, edges: NDArray[np.integer[Any]]) -> Graph:
    """A graph from rows that must already be as `Graph` has them: (E, 2) whole numbers.

    For tables that were written by us, where any other form is damage.

    Raises:
        ValueError: a row out of order, twice, with u >= v or a node that there is not.
    """
    _check_size(size)
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu":
        raise ValueError(f"edges are {edges.dtype} of shape {edges.shape}; whole numbers in pairs")
    low, high = edges.astype(np.int64, copy=False).T
    if (bad := (low < 0) | (low >= high) | (high >= size)).any():
        raise ValueError(f"{_row(edges, bad)}; 0 <= u < v < {size} is wanted")
    # lexicographic order is that of one number a row
    if (bad := np.diff(low * size + high, prepend=-1) <= 0).any():
        raise ValueError(f"{_row(edges, bad)}; rows come in order, each once")
    return _graph(size, edges)


def undirected(size: int, pairs: NDArray[np.integer[Any]]) -> Graph:
    """The graph that joins these pairs, (N, 2) whole numbers, in whatever order they come.

    A pair that comes twice, or in both directions, is one edge.

    Raises:
        ValueError: a node joined to itself, or one that there is not.
    """
    _check_size(size)
    one, other = pairs.astype(np.int64, copy=False).reshape(-1, 2).T
    low, high = np.minimum(one, other), np.maximum(one, other)
    if (bad := (low < 0) | (low == high) | (high >= size)).any():
        raise ValueError(f"{_row(pairs, bad)}; two different nodes of 0..{size - 1} are wanted")
    keys = np.sort(low * size + high)
    keys = keys[np.diff(keys, prepend=-1) > 0]  # each once; np.unique takes several times as long
    return _graph(size, np.column_stack(np.divmod(keys, max(size, 1))))


def _graph(size: int, edges: NDArray[np.integer[Any]]) -> Graph:
    own = np.array(edges, dtype=np.int32, order="C")
    own.flags.writeable = False
    return Graph(size, own)


def _check_size(size: int) -> None:
    if not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"a graph of {size} nodes; 0 to {_MAX_SIZE} are possible")


def _row(edges: NDArray[np.integer[Any]], bad: NDArray[np.bool_]) -> str:
    row = int(bad.argmax())
    return f"edge {row} is {tuple(edges[row].tolist())}"
