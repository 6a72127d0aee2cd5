"""Properties: equal to networkx within 1e-9 where it has them, and to igraph where it has not."""

import math

import networkx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from quire.builders.graphs.dag import Dag, Direction, directed
from quire.builders.graphs.generators import watts_strogatz
from quire.builders.graphs.graph import Graph
from quire.builders.graphs.properties import Properties, dag_properties, graph_properties
from tests.builders.graphs.references import as_igraph, as_networkx, graphs, joined
from tests.builders.graphs.test_dag import DIRECTIONS, fully_connected, small_world_of_networkx

directions = st.sampled_from(DIRECTIONS)


def properties(graph: Graph | Dag) -> Properties:
    return graph_properties(graph) if isinstance(graph, Graph) else dag_properties(graph)


def same(ours: ArrayLike, theirs: ArrayLike) -> bool:
    return np.allclose(ours, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)


def check_with_networkx(graph: Graph | Dag) -> None:
    """All that networkx defines on any graph, and what follows from its shortest paths."""
    found, reference = properties(graph), as_networkx(graph)
    n = found.order
    paths = [
        {v: d for v, d in ends.items() if d}
        for _, ends in networkx.all_pairs_shortest_path_length(reference)
    ]
    lengths = [d for ends in paths for d in ends.values()]
    weak = (
        networkx.weakly_connected_components
        if reference.is_directed()
        else networkx.connected_components
    )
    parts = sorted(map(sorted, weak(reference)))
    largest = max(parts, key=len, default=[])
    in_largest = [d for node in largest for d in paths[node].values()]

    assert n == reference.number_of_nodes()
    assert found.num_edges == reference.number_of_edges()
    assert same(found.density, networkx.density(reference))
    assert found.num_components == len(parts)
    assert found.largest_component == len(largest)
    assert found.diameter == max(lengths, default=0)
    assert same(found.path_length_reachable, np.mean(lengths) if lengths else math.nan)
    assert same(found.path_length_all_pairs, sum(lengths) / max(n * (n - 1), 1))
    assert same(found.path_length_largest, np.mean(in_largest) if in_largest else math.nan)
    assert found.unreachable_pairs == n * (n - 1) - len(lengths)
    assert found.path_length_counts.sum() == len(lengths)
    for length, count in enumerate(found.path_length_counts):
        assert count == lengths.count(length)
    assert found.eccentricity.tolist() == [max(ends.values(), default=0) for ends in paths]
    betweenness = list(networkx.betweenness_centrality(reference).values())
    closeness = list(networkx.closeness_centrality(reference).values())
    assert same(found.betweenness, betweenness)
    assert same(found.closeness, closeness)
    assert same(found.mean_betweenness, np.mean(betweenness) if n else math.nan)
    assert same(found.mean_closeness, np.mean(closeness) if n else math.nan)
    assert same(found.mean_eccentricity, found.eccentricity.mean() if n else math.nan)
    check_degrees(found, reference)
    check_where_networkx_does_not_raise(found, reference)


def check_degrees(found: Properties, reference: networkx.Graph) -> None:
    inward, outward = reference.degree, reference.degree
    if reference.is_directed():
        inward, outward = reference.in_degree, reference.out_degree
    for ours, theirs in (
        (found.degree, reference.degree),
        (found.in_degree, inward),
        (found.out_degree, outward),
    ):
        assert ours.tolist() == [degree for _, degree in theirs]
    assert found.degree_counts.tolist() == networkx.degree_histogram(reference)


def check_where_networkx_does_not_raise(found: Properties, reference: networkx.Graph) -> None:
    if found.order and (not found.unreachable_pairs or found.order == 1):
        assert found.diameter == networkx.diameter(reference)
        assert found.eccentricity.tolist() == list(networkx.eccentricity(reference).values())
    if found.order > 1 and not found.unreachable_pairs:
        average = networkx.average_shortest_path_length(reference)
        assert same(found.path_length_reachable, average)
        assert same(found.path_length_all_pairs, average)
        assert same(found.path_length_largest, average)


def check_with_igraph(graph: Graph | Dag) -> None:
    """Its conventions, which are those where networkx has none."""
    found, reference = properties(graph), as_igraph(graph)
    if found.order:
        assert found.diameter == reference.diameter(unconn=True)
    assert same(found.path_length_reachable, reference.average_path_length(unconn=True))
    assert found.eccentricity.tolist() == reference.eccentricity(mode="out")
    assert same(found.closeness_reachable, reference.closeness(mode="in", normalized=True))
    pairs = max((found.order - 1) * (found.order - 2), 1)
    twice = 1 if reference.is_directed() else 2
    assert same(found.betweenness, np.array(reference.betweenness()) * twice / pairs)
    histogram = {int(start): count for start, _, count in reference.path_length_hist().bins()}
    ours = {d: c // twice for d, c in enumerate(found.path_length_counts.tolist()) if c}
    assert ours == {length: count for length, count in histogram.items() if count}
    assert found.unreachable_pairs == reference.path_length_hist().unconnected * twice


@settings(max_examples=150)
@given(graphs())
def test_undirected_graphs_have_networkx_properties(graph: Graph) -> None:
    check_with_networkx(graph)


@settings(max_examples=150)
@given(graphs(), directions)
def test_acyclic_graphs_have_networkx_properties(graph: Graph, direction: Direction) -> None:
    check_with_networkx(directed(graph, direction))


@settings(max_examples=100)
@given(graphs(), directions)
def test_both_have_igraphs(graph: Graph, direction: Direction) -> None:
    check_with_igraph(graph)
    check_with_igraph(directed(graph, direction))


PAPERS = [(250, 2, 0.5), (250, 2, 0.9), (300, 2, 0.6), (350, 2, 0.7), (400, 2, 0.8), (500, 2, 0.5)]
PAPERS += [(500, 2, 0.9), (250, 4, 0.6), (300, 6, 0.9), (250, 20, 0.5), (500, 4, 0.7)]


def small_world(number: int) -> Graph:
    size, nei, p = PAPERS[number]
    return watts_strogatz(size, nei, p, rng=np.random.default_rng(number))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PAPERS)))
def test_small_worlds_of_the_papers_sizes_have_networkx_properties(number: int) -> None:
    graph = small_world(number)
    for direction in DIRECTIONS:
        check_with_networkx(directed(graph, direction))
        check_with_igraph(directed(graph, direction))
    check_with_igraph(graph)
    if graph.size < 300:
        check_with_networkx(graph)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(PAPERS)))
def test_undirected_small_worlds_have_networkx_properties(number: int) -> None:
    check_with_networkx(small_world(number))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_known_small_world_has_its_known_properties(direction: Direction) -> None:
    found = dag_properties(directed(small_world_of_networkx(), direction))
    assert found.path_length_reachable == pytest.approx(1.5319148936, abs=1e-9)
    assert found.mean_eccentricity == pytest.approx(20 / 12)
    assert found.num_edges == 24


def test_the_papers_fully_connected_network_has_its_known_properties() -> None:
    found = dag_properties(fully_connected())
    assert found.density == pytest.approx(20_000 / 89_700)
    assert found.path_length_reachable == pytest.approx(1.461538, abs=1e-6)
    assert found.path_length_all_pairs == pytest.approx(0.529543, abs=1e-6)
    assert found.mean_eccentricity == 1.5
    assert found.path_length_counts.tolist() == [0, 20_000, 10_000, 2_500]


def test_a_path_and_a_pair_apart() -> None:
    """0 - 1 - 2 and 3 - 4: what is said of graphs that fall apart, by hand."""
    found = graph_properties(joined(5, (0, 1), (1, 2), (3, 4)))
    assert (found.num_components, found.largest_component, found.diameter) == (2, 3, 2)
    assert found.path_length_reachable == 1.25
    assert found.path_length_all_pairs == 10 / 20
    assert found.path_length_largest == 8 / 6
    assert found.unreachable_pairs == 12
    assert found.path_length_counts.tolist() == [0, 6, 2]
    assert found.eccentricity.tolist() == [2, 1, 2, 1, 1]
    assert found.mean_eccentricity == 7 / 5
    assert found.betweenness.tolist() == [0, 2 / 12, 0, 0, 0]
    assert same(found.closeness, [1 / 3, 1 / 2, 1 / 3, 1 / 4, 1 / 4])
    assert same(found.closeness_reachable, [2 / 3, 1, 2 / 3, 1, 1])
    assert found.density == 3 / 10
    assert found.degree_counts.tolist() == [0, 4, 1]


def test_the_same_with_arcs() -> None:
    """2 -> 1 -> 0 and 4 -> 3."""
    found = dag_properties(directed(joined(5, (0, 1), (1, 2), (3, 4))))
    assert (found.num_components, found.largest_component, found.diameter) == (2, 3, 2)
    assert found.path_length_reachable == 1.25
    assert found.path_length_all_pairs == 5 / 20
    assert found.path_length_largest == 4 / 3
    assert found.unreachable_pairs == 16
    assert found.eccentricity.tolist() == [0, 1, 2, 0, 1]
    assert found.betweenness.tolist() == [0, 1 / 12, 0, 0, 0]
    assert same(found.closeness, [2 / 3 * 2 / 4, 1 / 4, 0, 1 / 4, 0])
    assert same(found.closeness_reachable, [2 / 3, 1, math.nan, 1, math.nan])
    assert found.density == 3 / 20
    assert found.in_degree.tolist() == [1, 1, 0, 1, 0]
    assert found.out_degree.tolist() == [0, 1, 1, 0, 1]
    assert found.degree.tolist() == [1, 2, 1, 1, 1]


def test_of_components_as_large_the_one_with_the_least_node_counts() -> None:
    """1 - 3 - 5 is a path, 0 - 2 - 4 a triangle: both have three nodes."""
    found = graph_properties(joined(6, (1, 3), (3, 5), (0, 2), (2, 4), (0, 4)))
    assert found.path_length_largest == 1
    turned = graph_properties(joined(6, (0, 2), (2, 4), (1, 3), (3, 5), (1, 5)))
    assert turned.path_length_largest == 4 / 3


@pytest.mark.parametrize("size", [0, 1, 2, 7])
@pytest.mark.parametrize("direction", [None, *DIRECTIONS])
def test_without_edges_no_node_reaches_another(size: int, direction: Direction | None) -> None:
    graph = joined(size)
    found = properties(graph if direction is None else directed(graph, direction))
    assert found.num_components == found.order == found.unreachable_pairs // max(size - 1, 1) or (
        size == 1
    )
    assert found.largest_component == min(size, 1)
    assert (found.density, found.diameter, found.path_length_all_pairs) == (0, 0, 0)
    assert math.isnan(found.path_length_reachable)
    assert math.isnan(found.path_length_largest)
    for mean in (found.mean_eccentricity, found.mean_betweenness, found.mean_closeness):
        assert math.isnan(mean) if size == 0 else mean == 0
    for values in (found.eccentricity, found.betweenness, found.closeness, found.degree):
        assert values.tolist() == [0] * size
    assert np.isnan(found.closeness_reachable).all()
    assert found.degree_counts.tolist() == ([size] if size else [])
    assert found.path_length_counts.tolist() == ([0] if size else [])


def test_two_nodes_and_an_edge() -> None:
    found = graph_properties(joined(2, (0, 1)))
    assert (found.density, found.diameter, found.unreachable_pairs) == (1, 1, 0)
    assert found.path_length_reachable == found.path_length_largest == 1
    assert found.betweenness.tolist() == [0, 0]
    assert found.closeness.tolist() == [1, 1]
    arc = dag_properties(directed(joined(2, (0, 1))))
    assert (arc.density, arc.diameter, arc.unreachable_pairs) == (0.5, 1, 1)
    assert arc.path_length_all_pairs == 0.5
    assert arc.closeness.tolist() == [1, 0]


def test_as_many_shortest_paths_as_a_grid_has() -> None:
    """Betweenness where paths are counted in billions: 2 x 2 blocks joined 40 times over."""
    pairs = [(2 * k + a, 2 * k + 2 + b) for k in range(40) for a in (0, 1) for b in (0, 1)]
    check_with_networkx(joined(82, *pairs))
    check_with_networkx(directed(joined(82, *pairs)))


def test_scalars_are_plain_numbers() -> None:
    found = dag_properties(directed(small_world_of_networkx()))
    for name in Properties.__dataclass_fields__:
        value = getattr(found, name)
        assert type(value) in (int, float) or (isinstance(value, np.ndarray) and value.ndim == 1)


def test_the_bytes_are_those_they_have_always_been() -> None:
    """Stored in bundles, so the last bit counts."""
    found = dag_properties(directed(small_world_of_networkx()))
    assert found.mean_betweenness.hex() == "0x1.364d9364d9365p-6"
    assert found.mean_closeness.hex() == "0x1.eb680d784487fp-3"
    assert [value.hex() for value in found.betweenness[:4].tolist()] == [
        "0x0.0p+0",
        "0x1.42b7142b7142bp-5",
        "0x1.745d1745d1746p-6",
        "0x0.0p+0",
    ]
