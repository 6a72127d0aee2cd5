"""What graph theory says of a graph, or of a directed acyclic one, all at once.

The properties are those of Ben Amor, Stier & Granitzer (see quire.builders.graphs.dag), by the
definitions of networkx where it has one. It has none for most graphs here: between most nodes of
an acyclic graph there is no path, and small worlds of few edges fall apart. So each property says
which pairs it counts. "Pairs" are ordered pairs of different nodes everywhere: an undirected graph
has each twice. Equal to networkx within 1e-9, and by the same bytes on every machine.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quire.builders.graphs import acyclic, traversal
from quire.builders.graphs.dag import Dag
from quire.builders.graphs.graph import Graph, Ints
from quire.builders.graphs.traversal import Floats, Indices, Longs, Sweep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Properties:
    """Scalars, then one value a node (n,), then counts.

    A mean over nothing is nan: those over nodes where there is none, those over pairs with a path
    where there is none.
    """

    order: int
    """Nodes."""
    num_edges: int
    """Edges, or arcs."""
    density: float
    """Arcs by pairs: E / (n (n - 1)), twice that if undirected; 0 below two nodes."""
    num_components: int
    """Parts that hang together, if directed along arcs of either direction."""
    largest_component: int
    """Nodes of the largest of these; of several as large, the one with the least node."""
    diameter: int
    """The longest of all shortest paths, whichever part it is in; 0 where there is none."""
    path_length_reachable: float
    """The mean over all pairs with a path; igraph's average_path_length."""
    path_length_all_pairs: float
    """The mean over all pairs, those without a path as 0; networkx 2's on directed graphs. 0
    below two nodes."""
    path_length_largest: float
    """The mean over the pairs with a path within the largest component; equal to the first where
    all hangs together. If undirected, networkx's of that component."""
    mean_eccentricity: float
    """The mean of `eccentricity` over all nodes, isolated ones too."""
    mean_betweenness: float
    mean_closeness: float
    unreachable_pairs: int
    """Pairs without a path."""

    eccentricity: Longs
    """The distance to the farthest node that can be reached, if directed along the arcs; 0 for a
    node that reaches none. igraph's with mode "out"; networkx's where all can be reached."""
    betweenness: Floats
    """The share of shortest paths through a node, the mean over the (n - 1) (n - 2) pairs of
    others; pairs without a path add 0. networkx's. 0 below three nodes."""
    closeness: Floats
    """r / d * r / (n - 1) for the r nodes that reach a node and the sum d of their distances to
    it; networkx's, with Wasserman & Faust's factor. 0 where r is 0."""
    closeness_reachable: Floats
    """r / d, without that factor; igraph's with mode "in". nan where r is 0."""
    degree: Longs
    """Edges at a node, if directed of both kinds."""
    in_degree: Longs
    """Arcs to a node; if undirected, equal to `degree`."""
    out_degree: Longs
    """Arcs from a node; if undirected, equal to `degree`."""

    degree_counts: Longs
    """(highest degree + 1,): how many nodes have each degree."""
    path_length_counts: Longs
    """(diameter + 1,): how many pairs are so far apart; with `unreachable_pairs`, all n (n - 1)."""


def graph_properties(graph: Graph) -> Properties:
    """The properties of an undirected graph. O(n E) time, O(n + E) memory."""
    both_ways = np.vstack([graph.edges, graph.edges[:, ::-1]])
    return _properties(graph.size, both_ways, len(graph.edges), None)


def dag_properties(dag: Dag) -> Properties:
    """The properties of a directed acyclic graph, along its arcs. O(n E) time, O(n + E) memory."""
    return _properties(dag.size, dag.arcs, len(dag.arcs), dag.order)


def _properties(size: int, arcs: Ints, num_edges: int, order: Indices | None) -> Properties:
    """`order` is that of an acyclic graph's nodes, None if undirected."""
    sources, targets = arcs.T.astype(np.uint32, order="C")
    by_source = traversal.csr(size, sources, targets)
    paths = traversal.sweep(by_source) if order is None else acyclic.sweep(by_source, order)
    part_sizes, largest = _parts(size, sources, targets)
    in_degree, out_degree = (np.bincount(ends, minlength=size) for ends in (targets, sources))
    degree = out_degree if order is None else in_degree + out_degree
    closeness, closeness_reachable = _closeness(paths)
    betweenness = paths.dependencies / max((size - 1) * (size - 2), 1)
    diameter, pairs = int(paths.farthest.max(initial=0)), size * (size - 1)
    return Properties(
        order=size,
        num_edges=num_edges,
        density=len(arcs) / max(pairs, 1),
        num_components=len(part_sizes),
        largest_component=int(part_sizes.max(initial=0)),
        diameter=diameter,
        path_length_reachable=_mean(paths.distances_from, paths.reaches.sum()),
        path_length_all_pairs=_mean(paths.distances_from, max(pairs, 1)),
        path_length_largest=_mean(paths.distances_from[largest], paths.reaches[largest].sum()),
        mean_eccentricity=_mean(paths.farthest, size),
        mean_betweenness=_mean(betweenness, size),
        mean_closeness=_mean(closeness, size),
        unreachable_pairs=pairs - int(paths.reaches.sum()),
        eccentricity=paths.farthest,
        betweenness=betweenness,
        closeness=closeness,
        closeness_reachable=closeness_reachable,
        degree=degree,
        in_degree=in_degree,
        out_degree=out_degree,
        degree_counts=np.bincount(degree),
        path_length_counts=paths.lengths[: diameter + 1],
    )


def _parts(size: int, sources: Indices, targets: Indices) -> tuple[Longs, NDArray[np.bool_]]:
    """The sizes of the components, and which nodes are in the largest. -> (parts,), (n,)."""
    least = traversal.components(size, sources, targets)
    first, sizes = np.unique(least, return_counts=True)
    return sizes, np.isin(least, first[sizes == sizes.max(initial=0)][:1])


def _closeness(paths: Sweep) -> tuple[Floats, Floats]:
    """With Wasserman & Faust's factor, 0 for a node that none reaches, and without, nan for it."""
    reached = paths.reached_by > 0
    plain = np.full(reached.shape, np.nan)
    np.divide(paths.reached_by, paths.distances_to, out=plain, where=reached)
    return np.where(reached, plain * (paths.reached_by / max(len(plain) - 1, 1)), 0), plain


def _mean(values: Longs | Floats, count: int) -> float:
    """The exact sum, so that no order of summation is in the bytes, divided by `count`."""
    return math.fsum(values.tolist()) / int(count) if count else math.nan
