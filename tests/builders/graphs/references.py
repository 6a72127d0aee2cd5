"""Graphs as networkx and igraph have them, their properties by their functions, and hypotheses."""

from typing import Any

import igraph
import networkx
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from quire.builders.graphs.dag import Dag
from quire.builders.graphs.generators import (
    barabasi_albert,
    erdos_renyi,
    random_regular,
    watts_strogatz,
)
from quire.builders.graphs.graph import Graph, undirected


def joined(size: int, *pairs: tuple[int, int]) -> Graph:
    """A graph of a few edges."""
    return undirected(size, np.array(pairs, dtype=np.int64))


def as_networkx(graph: Graph | Dag) -> Any:
    """The same nodes and edges or arcs."""
    result = networkx.Graph() if isinstance(graph, Graph) else networkx.DiGraph()
    result.add_nodes_from(range(graph.size))
    result.add_edges_from(_pairs(graph).tolist())
    return result


def as_igraph(graph: Graph | Dag) -> Any:
    """The same nodes and edges or arcs."""
    return igraph.Graph(graph.size, _pairs(graph).tolist(), directed=isinstance(graph, Dag))


def _pairs(graph: Graph | Dag) -> NDArray[np.int32]:
    return graph.edges if isinstance(graph, Graph) else graph.arcs


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Small graphs of every generator, and of any edges; many fall apart."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(3, 40))
    p = draw(st.just(0.0) | st.floats(1e-9, 1))
    match draw(st.integers(0, 4)):
        case 0:
            nei = draw(st.integers(1, (size - 1) // 2))
            return watts_strogatz(size, nei, p, rng=rng)
        case 1:
            return erdos_renyi(size, p**3 if p > 0.01 else 0, rng=rng)  # cubed: sparse ones too
        case 2:
            return barabasi_albert(size, draw(st.integers(1, size - 1)), rng=rng)
        case 3:
            return random_regular(size, draw(st.integers(0, min((size - 1) // 2, 6))) * 2, rng=rng)
    size = draw(st.integers(0, 12))
    pairs = np.argwhere(rng.random((size, size)) < p)
    return undirected(size, pairs[pairs[:, 0] != pairs[:, 1]])
