"""graphs.h5: directed acyclic graphs, the sparse networks they are, and what graph theory says.

G graphs, one a sample in the order of the index, with N nodes and E arcs in all. What has a row a
node or an arc is cut into graphs by `offsets`.

size, num_edges, num_layers, num_sources, num_sinks    (G,)
parameters/connected, parameters/dense                 (G,) of the network, by two ways to count
generator/<parameter>, generator/cell, ../attempts     (G,) how each was drawn; not for people's own
edges                            (E, 2) int32 rows (from, to)
layers                           (N,) int32
masks/indptr, masks/indices      (N + G,), (E,) int32, a CSR matrix a graph
dag/<name>, undirected/<name>                          (G,) the names in SCALARS
dag/nodes/<name>, undirected/nodes/<name>              (N,)
dag/counts/<name>, undirected/counts/<name>            degree and path_length
offsets/edges, offsets/nodes, offsets/indptr, offsets/dag/degree, ...   (G + 1,) int64
cells/<parameter>, cells/attempts, cells/accepted      (C,) the grid, and how often it gave a graph

Every array says in its attributes what it holds, and in which unit.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError

GRAPHS = "graphs.h5"
MAX_CELLS = 1 << 16  # of a grid
LENGTHS = "lengths/"  # in a part: how many rows of an array each graph has; gives its offsets
CELLS = "cells/"  # in a part: (1, C) counts, which add up

Array: TypeAlias = NDArray[Any]
Part: TypeAlias = Mapping[str, Array]

_PAIRS = "ordered pairs of different nodes"
SCALARS: Mapping[str, tuple[str, str]] = {
    "density": ("1", f"edges or arcs by {_PAIRS}; twice that if undirected"),
    "num_components": ("components", "parts that hang together, along arcs of either direction"),
    "largest_component": ("nodes", "size of the largest component"),
    "diameter": ("arcs", "the longest of all shortest paths; 0 where there is none"),
    "path_length_reachable": (
        "arcs",
        "mean shortest path over all pairs with a path (igraph's average_path_length); nan if none",
    ),
    "path_length_all_pairs": (
        "arcs",
        "mean shortest path over all pairs, 0 for those without one (networkx 2's on DAGs)",
    ),
    "path_length_largest": (
        "arcs",
        "mean shortest path over the pairs with a path within the largest component",
    ),
    "mean_eccentricity": ("arcs", "mean over all nodes of nodes/eccentricity"),
    "mean_betweenness": ("1", "mean over all nodes of nodes/betweenness"),
    "mean_closeness": ("1", "mean over all nodes of nodes/closeness"),
    "unreachable_pairs": ("pairs", f"{_PAIRS} without a path"),
}
_NODES = {
    "eccentricity": ("arcs", "distance to the farthest node that can be reached, along the arcs"),
    "betweenness": ("1", "share of shortest paths through a node, mean over pairs of others"),
    "closeness": ("1", "incoming, with Wasserman and Faust's factor; networkx's"),
    "closeness_reachable": ("1", "incoming, without that factor; igraph's; nan if none reaches it"),
    "degree": ("arcs", "edges at a node, or arcs of both directions"),
    "in_degree": ("arcs", "arcs to a node"),
    "out_degree": ("arcs", "arcs from a node"),
}
_COUNTS = {
    "degree": ("nodes", "how many nodes have degree 0, 1, ..."),
    "path_length": ("pairs", f"how many {_PAIRS} are 0, 1, ... arcs apart, one way"),
}
_PARAMETERS = {
    "size": ("nodes", "asked for"),
    "nei": ("nodes", "neighbours on each side before rewiring, as igraph has it"),
    "k": ("nodes", "neighbours on both sides before rewiring, as networkx has it"),
    "p": ("1", "probability that an edge is rewired or, in erdos_renyi, that there is one"),
    "m": ("edges", "that a new node brings"),
    "degree": ("edges", "at each node"),
}
_PLAIN = {
    "size": ("nodes", "nodes of the graph, the network's hidden neurons"),
    "num_edges": ("arcs", "arcs of the graph"),
    "num_layers": ("layers", "arcs on the longest path, and one"),
    "num_sources": ("nodes", "nodes that no arc leads to: they hear all inputs"),
    "num_sinks": ("nodes", "nodes from which no arc leads: all outputs hear them"),
    "parameters/connected": ("parameters", "weights that are there, and biases"),
    "parameters/dense": ("parameters", "as deepstruct's MaskedDeepDAN, masked weights included"),
    "generator/cell": ("rows of cells", "the parameters that were drawn"),
    "generator/attempts": ("graphs", "graphs drawn until this one was accepted, it included"),
    "generator/pruning": ("prunings", "which of several that begin with the same graph"),
    "generator/step": ("steps", "how often a share of the arcs was removed"),
    "edges": ("nodes", "arcs in rows (from, to), in the order of their undirected edges"),
    "layers": ("layers", "0 without predecessors, else 1 + the highest of theirs"),
    "masks/indptr": (
        "arcs",
        "CSR (n, n) a graph: rows are where arcs lead to, columns where they come from, both by"
        " layer and within a layer by number; the mask between two layers is a block of it",
    ),
    "masks/indices": ("columns", "see masks/indptr"),
    "cells/attempts": ("graphs", "graphs drawn with these parameters"),
    "cells/accepted": ("graphs", "those of them that are here"),
}
_KINDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "generator": _PARAMETERS,
    "cells": _PARAMETERS,
    "dag": SCALARS,
    "undirected": SCALARS,
    "nodes": _NODES,
    "counts": _COUNTS,
}


def attributes(name: str) -> dict[str, str]:
    """What is said of an array: unit, definition, and the offsets that cut it into graphs."""
    group, _, last = name.rpartition("/")
    unit, definition = _PLAIN.get(name) or _KINDS[group.rpartition("/")[2]][last]
    said = {"unit": unit, "definition": definition}
    return said | ({"offsets": f"offsets/{cut}"} if (cut := _cut_by(name)) else {})


def _cut_by(name: str) -> str | None:
    """The offsets of an array that has no row a graph."""
    graph, _, rest = name.partition("/")
    if rest.startswith("counts/"):
        return f"{graph}/{rest.removeprefix('counts/')}"
    if rest.startswith("nodes/"):
        return "nodes"
    known = {"edges": "edges", "masks/indices": "edges", "masks/indptr": "indptr"}
    return known.get(name, "nodes" if name == "layers" else None)


def write_graphs(file: h5py.File, parts: Iterable[Part], cells: Mapping[str, Array]) -> None:
    """Write the table from its parts, which come in order; memory stays flat.

    `cells` are the parameters of the grid, (C,) each; none where there was no grid.
    """
    growing = tables.Growing(file)
    ends: dict[str, int] = {}
    counts: dict[str, Array] = {}
    for part in parts:
        for name, rows in part.items():
            if name.startswith(LENGTHS):
                what = name.removeprefix(LENGTHS)
                first = [] if what in ends else [0]
                offsets = ends.get(what, 0) + np.cumsum(rows)
                joined = np.concatenate([np.array(first, np.int64), offsets])
                growing.append(f"offsets/{what}", joined, unit="rows")
                ends[what] = int(joined[-1]) if len(joined) else ends[what]
            elif name.startswith(CELLS):
                counts[name] = counts.get(name, 0) + rows.sum(axis=0)
            else:
                growing.append(name, rows, **attributes(name))
    for name, column in ({CELLS + name: column for name, column in cells.items()} | counts).items():
        tables.put(file, name, column, **attributes(name))


@dataclass(frozen=True, slots=True, eq=False)
class GraphTable:
    """What a network is made from, and the numbers to relate it to."""

    sizes: Array  # (G,) int64
    offsets: Array  # (G + 1,) int64: where each graph's rows of `edges` begin
    edges: Array  # (E, 2) int32, rows (from, to)
    parameters: Mapping[str, Array]  # connected, dense: (G,)
    properties: Mapping[str, Array]  # dag/density, ..., undirected/density, ...: (G,)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A grid of parameters, and how often it gave a graph that was kept. (C,) each."""

    parameters: Mapping[str, Array]
    attempts: Array
    accepted: Array


def read_graphs(bundle: Bundle) -> GraphTable:
    """Read the graphs of a bundle; they are simple, acyclic, and one for each of its samples.

    Raises:
        BundleError: there is no such table, or it is damaged or cannot be what it says.
    """
    count = len(bundle.index)
    # Every arc and node is in a shard as well, so a table that claims more claims too much.
    stored = sum(shard.bytes for shard in bundle.manifest.shards)
    with _opened(bundle) as file:
        sizes = _integers(file, "size", (count,))
        offsets = _integers(file, "offsets/edges", (count + 1,))
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] > stored:
            raise BundleError(f"{GRAPHS}: offsets/edges do not rise from 0 to what the shards hold")
        if count and (sizes.min() < 0 or sizes.max() > stored):
            raise BundleError(f"{GRAPHS}: size holds what no graph has")
        table = GraphTable(
            sizes=sizes,
            offsets=offsets,
            edges=_integers(file, "edges", (int(offsets[-1]), 2)),
            parameters={
                name: _integers(file, f"parameters/{name}", (count,))
                for name in ("connected", "dense")
            },
            properties={
                name: tables.get(file, name, shape=(count,))
                for name in (f"{kind}/{name}" for kind in ("dag", "undirected") for name in SCALARS)
            },
        )
    _check(table)
    return table


def read_cells(bundle: Bundle) -> Cells | None:
    """Read the grid that a bundle's graphs are from; None where they are from none.

    Raises:
        BundleError: there is no such table, or it is damaged or cannot be what it says.
    """
    with _opened(bundle) as file:
        group = file.get("cells")
        if not isinstance(group, h5py.Group):
            return None
        attempts = group.get("attempts")
        count = attempts.shape[0] if isinstance(attempts, h5py.Dataset) and attempts.shape else 0
        if not 0 < count <= MAX_CELLS:
            raise BundleError(f"{GRAPHS}: cells has {count} rows; 1 to {MAX_CELLS} are possible")
        found = {name: tables.get(group, name, shape=(count,)) for name in group}
    if any(column.dtype.kind not in "iuf" for column in found.values()) or "accepted" not in found:
        raise BundleError(f"{GRAPHS}: cells are not the numbers of a grid")
    return Cells(attempts=found.pop("attempts"), accepted=found.pop("accepted"), parameters=found)


@contextmanager
def _opened(bundle: Bundle) -> Iterator[h5py.File]:
    """The table, once its bytes are known to be the manifest's."""
    with tables.open_table(bundle.table(GRAPHS, "graphs")) as file:
        yield file


def _integers(file: h5py.File, name: str, shape: tuple[int, ...]) -> Array:
    array = tables.get(file, name, shape=shape)
    if array.dtype not in (np.int32, np.int64):
        raise BundleError(f"{GRAPHS}: {name} is {array.dtype}, not whole numbers")
    return array


def _check(table: GraphTable) -> None:
    """Refuse arcs that no graph here has; their order makes it certain that there is no cycle."""
    graph = np.repeat(np.arange(len(table.sizes)), np.diff(table.offsets))
    low, high = np.sort(table.edges, axis=1).T
    falls = table.edges[:, 0] > table.edges[:, 1]
    _refuse(
        (low < 0) | (low == high) | (high >= table.sizes[graph]), graph, "has an arc outside it"
    )
    _refuse(falls != falls[:1], graph, "has arcs in both directions: it may have a cycle")
    rises = (np.diff(low) > 0) | ((np.diff(low) == 0) & (np.diff(high) > 0))
    again = np.concatenate([[False], ~rises & (np.diff(graph) == 0)])[: len(graph)]
    _refuse(again, graph, "has an arc twice, or out of order")


def _refuse(bad: Array, graph: Array, reason: str) -> None:
    if bad.any():
        raise BundleError(f"{GRAPHS}: graph {graph[bad.argmax()]} {reason}")
