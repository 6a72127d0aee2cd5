"""A graph is what it says: edges u < v, in order, each once, or it is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.builders.graphs.graph import checked_graph, undirected


@given(st.integers(2, 30), st.data())
def test_pairs_in_any_order_make_the_same_graph(size: int, data: st.DataObject) -> None:
    node = st.integers(0, size - 1)
    pair = st.tuples(node, node).filter(lambda ends: ends[0] != ends[1])
    pairs = data.draw(st.lists(pair, max_size=50))
    graph = undirected(size, np.array(pairs, dtype=np.int64))
    assert [tuple(row) for row in graph.edges.tolist()] == sorted({(min(p), max(p)) for p in pairs})
    assert graph.edges.dtype == np.int32
    assert graph.edges.shape == (len(graph.edges), 2)
    turned = [pair[::-1] for pair in data.draw(st.permutations(pairs + pairs))]
    again = undirected(size, np.array(turned, dtype=np.int64))
    assert np.array_equal(graph.edges, again.edges)
    assert np.array_equal(checked_graph(size, graph.edges).edges, graph.edges)


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([[0, 1], [2, 2]], r"edge 1 is \(2, 2\); 0 <= u < v < 4 is wanted"),
        ([[1, 0]], r"edge 0 is \(1, 0\)"),
        ([[-1, 2]], r"edge 0 is \(-1, 2\)"),
        ([[0, 4]], r"edge 0 is \(0, 4\)"),
        ([[0, 2], [0, 1]], r"edge 1 is \(0, 1\); rows come in order, each once"),
        ([[0, 2], [0, 2]], r"edge 1 is \(0, 2\); rows come in order"),
        ([[1, 2], [0, 3]], r"edge 1 is \(0, 3\); rows come in order"),
        ([[0.0, 1.0]], "edges are float64 of shape"),
        ([0, 1], r"edges are int64 of shape \(2,\)"),
        ([[0, 1, 2]], r"edges are int64 of shape \(1, 3\)"),
    ],
)
def test_any_other_form_is_refused(edges: list[list[int]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked_graph(4, np.array(edges))


@pytest.mark.parametrize(
    ("pair", "reason"), [((2, 2), r"edge 1 is \(2, 2\); two"), ((4, 0), "4, 0"), ((3, -1), "3, -1")]
)
def test_pairs_that_are_no_edge_are_refused(pair: tuple[int, int], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        undirected(4, np.array([(0, 1), pair]))


@pytest.mark.parametrize("size", [-1, 2**31])
def test_a_size_that_no_graph_has_is_refused(size: int) -> None:
    for make in (checked_graph, undirected):
        with pytest.raises(ValueError, match=f"a graph of {size} nodes"):
            make(size, np.empty((0, 2), dtype=np.int64))


def test_the_largest_nodes_keep_their_order() -> None:
    last = 2**31 - 2
    pairs = np.array([(last, last - 1), (last, 0), (last - 2, last - 1)])
    expected = [[0, last], [last - 2, last - 1], [last - 1, last]]
    graph = undirected(last + 1, pairs)
    assert graph.edges.tolist() == expected
    assert checked_graph(last + 1, graph.edges).edges.tolist() == expected


def test_edges_are_a_copy_that_can_not_be_written_to() -> None:
    rows = np.array([[0, 1]], dtype=np.int32)
    graph = checked_graph(2, rows)
    rows[0, 1] = 7
    assert graph.edges.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="read-only"):
        graph.edges[0, 0] = 1
