"""Acyclic graphs as networks: layers by longest paths, parameters counted, masks in place."""

import random
from itertools import pairwise

import igraph
import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.builders.graphs.dag import (
    Dag,
    Direction,
    directed,
    layer_nodes,
    layers,
    masks,
    parameters,
)
from quire.builders.graphs.graph import Graph, undirected
from tests.builders.graphs.references import as_networkx, graphs, joined

DIRECTIONS: tuple[Direction, ...] = ("down", "up")
directions = st.sampled_from(DIRECTIONS)


def small_world_of_networkx() -> Graph:
    edges = networkx.watts_strogatz_graph(12, 4, 0.5, seed=0).edges
    return undirected(12, np.array(edges))


def ninth_of_igraph() -> Graph:
    """A graph whose parameters were once counted by hand and by the paper's library."""
    igraph.set_random_number_generator(random.Random(9))
    try:
        edges = igraph.Graph.Watts_Strogatz(1, 250, 2, 0.5).get_edgelist()
    finally:
        igraph.set_random_number_generator(random)
    return undirected(250, np.array(edges))


def fully_connected() -> Dag:
    """The hidden nodes of the paper's network 784-50-100-100-50-10."""
    ends = np.cumsum([0, 50, 100, 100, 50])
    blocks = [np.arange(start, stop) for start, stop in pairwise(ends)]
    pairs = [(u, v) for a, b in pairwise(blocks) for u in a for v in b]
    return directed(undirected(300, np.array(pairs)), "up")


@given(graphs(), directions)
def test_arcs_are_the_edges_in_one_direction(graph: Graph, direction: Direction) -> None:
    dag = directed(graph, direction)
    step = dag.arcs[:, 1] - dag.arcs[:, 0]
    assert (step < 0).all() if direction == "down" else (step > 0).all()
    assert np.array_equal(np.sort(dag.arcs, axis=1), graph.edges)


def test_down_is_the_lower_triangle_and_the_default() -> None:
    assert directed(joined(3, (0, 2))).arcs.tolist() == [[2, 0]]
    assert directed(joined(3, (0, 2)), "up").arcs.tolist() == [[0, 2]]


@given(graphs(), directions)
def test_layers_are_networkx_generations(graph: Graph, direction: Direction) -> None:
    dag = directed(graph, direction)
    expected = list(networkx.topological_generations(as_networkx(dag)))
    assert [set(nodes.tolist()) for nodes in layer_nodes(dag)] == [set(nodes) for nodes in expected]
    assert all((np.diff(nodes) > 0).all() for nodes in layer_nodes(dag))
    layer = layers(dag)
    assert layer.shape == (dag.size,)
    for number, nodes in enumerate(expected):
        assert {int(layer[node]) for node in nodes} == {number}


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_layer_is_the_longest_path_not_the_shortest(direction: Direction) -> None:
    layer = layers(directed(joined(3, (0, 1), (1, 2), (0, 2)), direction)).tolist()
    assert layer == ([2, 1, 0] if direction == "down" else [0, 1, 2])


@given(graphs(), directions)
def test_degrees_sources_and_sinks_are_networkx(graph: Graph, direction: Direction) -> None:
    dag = directed(graph, direction)
    reference = as_networkx(dag)
    assert dag.in_degrees.tolist() == [d for _, d in reference.in_degree]
    assert dag.out_degrees.tolist() == [d for _, d in reference.out_degree]
    assert dag.sources.tolist() == [node for node, d in reference.in_degree if d == 0]
    assert dag.sinks.tolist() == [node for node, d in reference.out_degree if d == 0]


def test_an_isolated_node_is_source_and_sink_and_counted_as_both() -> None:
    dag = directed(joined(3, (0, 1)))
    assert dag.sources.tolist() == [1, 2]
    assert dag.sinks.tolist() == [0, 2]
    assert parameters(dag) == 2 * 784 + 1 + 2 * 10 + 3 + 10
    assert parameters(dag, inputs=5, outputs=2) == 2 * 5 + 1 + 2 * 2 + 3 + 2


def test_known_networks_have_their_known_parameters() -> None:
    small = directed(small_world_of_networkx())
    assert [len(nodes) for nodes in layer_nodes(small)] == [1, 1, 2, 2, 3, 2, 1]
    assert parameters(small) == 850
    ninth = directed(ninth_of_igraph())
    assert parameters(ninth) == 31_746
    assert parameters(ninth, count="dense") == 55_025
    pruned = fully_connected()
    assert parameters(pruned) == parameters(pruned, count="dense") == 60_010 + 50 * 10 - 500
    assert len(pruned.arcs) == 20_000


def modules(dag: Dag, inputs: int, outputs: int) -> int:
    """What fully connected modules hold, one for each two layers joined, one by one."""
    generations = list(networkx.topological_generations(as_networkx(dag)))
    reference = as_networkx(dag)
    total = (inputs + 1) * len(generations[0])
    for t, later in enumerate(generations):
        for first in generations[:t]:
            if any(reference.has_edge(u, v) for u in first for v in later):
                total += (len(first) + 1) * len(later)
    return total + (len(generations[-1]) + 1) * outputs


@given(graphs().filter(lambda graph: graph.size > 0), directions)
def test_dense_parameters_are_those_of_full_matrices(graph: Graph, direction: Direction) -> None:
    dag = directed(graph, direction)
    assert parameters(dag, inputs=7, outputs=3, count="dense") == modules(dag, 7, 3)


@given(graphs(), directions)
def test_connected_parameters_are_weights_and_biases(graph: Graph, direction: Direction) -> None:
    dag = directed(graph, direction)
    reference = as_networkx(dag)
    into = sum(784 if d == 0 else d for _, d in reference.in_degree)
    out_of = sum(10 for _, d in reference.out_degree if d == 0)
    assert parameters(dag) == into + out_of + graph.size + 10


@given(graphs(), directions)
def test_masks_hold_every_arc_once_in_its_place(graph: Graph, direction: Direction) -> None:
    dag = directed(graph, direction)
    nodes = layer_nodes(dag)
    found = []
    for (first, later), mask in masks(dag).items():
        assert first < later
        assert mask.shape == (len(nodes[later]), len(nodes[first]))
        assert mask.dtype == np.bool_
        assert mask.nnz > 0
        assert mask.has_canonical_format
        for row, column in np.argwhere(mask.toarray()):
            found.append((nodes[first][column], nodes[later][row]))
    assert len(found) == len(dag.arcs)
    assert sorted(found) == sorted(map(tuple, dag.arcs.tolist()))
    assert list(masks(dag)) == sorted(masks(dag))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_masked_layers_are_the_network_of_its_nodes(direction: Direction) -> None:
    """Summed layer by layer through masks, and node by node through arcs."""
    dag = directed(small_world_of_networkx(), direction)
    weights = np.random.default_rng(0).normal(size=(12, 12))
    by_node = np.ones(12)
    for v in networkx.topological_sort(as_networkx(dag)):
        before = dag.arcs[dag.arcs[:, 1] == v, 0]
        by_node[v] = np.tanh(weights[v, before] @ by_node[before] + 1)
    nodes, blocks = layer_nodes(dag), masks(dag)
    values = [np.ones(len(layer)) for layer in nodes]
    for t, later in enumerate(nodes):
        total = np.ones(len(later))
        for s in range(t):
            if (s, t) in blocks:
                block = weights[np.ix_(later, nodes[s])]
                total += (block * blocks[s, t].toarray()) @ values[s]
        values[t] = np.tanh(total)
    for layer, value in zip(nodes, values, strict=True):
        assert np.allclose(value, by_node[layer], atol=1e-12)


def test_there_is_nothing_in_a_graph_without_nodes() -> None:
    dag = directed(undirected(0, np.empty((0, 2), dtype=np.int64)))
    assert layers(dag).tolist() == []
    assert layer_nodes(dag) == ()
    assert masks(dag) == {}
    assert parameters(dag) == 10
    assert parameters(dag, count="dense") == 10


def test_nodes_without_edges_are_one_layer_without_masks() -> None:
    dag = directed(joined(3))
    assert [nodes.tolist() for nodes in layer_nodes(dag)] == [[0, 1, 2]]
    assert masks(dag) == {}
    assert parameters(dag, count="dense") == 785 * 3 + 4 * 10
