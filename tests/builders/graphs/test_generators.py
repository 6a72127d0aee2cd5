"""Random graphs: the model that is named, the same for the same generator, and nothing global."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import igraph
import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.errors import RecipeError
from quire.builders.graphs.dag import directed, parameters
from quire.builders.graphs.generators import (
    GENERATORS,
    barabasi_albert,
    erdos_renyi,
    random_graph,
    random_regular,
    watts_strogatz,
    watts_strogatz_networkx,
)
from quire.builders.graphs.graph import Graph, checked_graph
from tests.builders.graphs.references import graphs

EXAMPLES: dict[str, dict[str, float]] = {
    "watts_strogatz": {"size": 8, "nei": 2, "p": 0.5},
    "watts_strogatz_networkx": {"size": 8, "k": 4, "p": 0.5},
    "erdos_renyi": {"size": 8, "p": 0.4},
    "barabasi_albert": {"size": 8, "m": 2},
    "random_regular": {"size": 8, "degree": 3},
}

# The edges as digits, pinned: bundles are made of them, so a change of igraph's or networkx's
# way of drawing must be noticed.
GOLDEN = {
    "watts_strogatz": "01 04 05 13 14 16 17 24 25 26 34 35 37 45 47 57",
    "watts_strogatz_networkx": "02 03 04 14 16 24 25 26 27 34 37 46 47 56 57 67",
    "erdos_renyi": "01 03 04 06 07 12 16 17 24 25 34 45 46 56 57 67",
    "barabasi_albert": "01 02 03 05 07 14 23 34 36 45 47 56",
    "random_regular": "02 03 04 15 16 17 24 25 36 37 46 57",
}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_there_is_an_example_of_every_generator() -> None:
    assert EXAMPLES.keys() == GOLDEN.keys() == GENERATORS.keys()
    for name, example in EXAMPLES.items():
        assert tuple(example) == GENERATORS[name].parameters


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_edges_are_those_they_have_always_been(name: str) -> None:
    graph = random_graph(name, EXAMPLES[name], rng=rng(7))
    assert " ".join(f"{u}{v}" for u, v in graph.edges.tolist()) == GOLDEN[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_counts_may_be_floats(name: str) -> None:
    floats = {key: float(value) for key, value in EXAMPLES[name].items()}
    graph = random_graph(name, floats, rng=rng(7))
    assert np.array_equal(graph.edges, random_graph(name, EXAMPLES[name], rng=rng(7)).edges)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_generator_alone_decides_the_graph(name: str) -> None:
    one, other, third = (random_graph(name, EXAMPLES[name], rng=rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.edges, other.edges)
    assert not np.array_equal(one.edges, third.edges)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_call_takes_the_same_draws_whatever_it_makes(name: str) -> None:
    used, expected = rng(5), rng(5)
    random_graph(name, EXAMPLES[name], rng=used)
    expected.bytes(32)
    assert used.random() == expected.random()


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_global_is_drawn_from_or_left_changed(name: str) -> None:
    def by_igraph() -> list[tuple[int, int]]:
        edges: list[tuple[int, int]] = igraph.Graph.Erdos_Renyi(n=30, p=0.3).get_edgelist()
        return edges

    state, numpy_state = random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    random_graph(name, EXAMPLES[name], rng=rng())
    assert random.getstate() == state
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index] # noqa: NPY002
    random.seed(11)
    before = by_igraph()
    random.seed(11)
    random_graph(name, EXAMPLES[name], rng=rng())
    assert by_igraph() == before
    random.setstate(state)


def test_igraph_draws_from_the_module_random_again_after_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(igraph.Graph, "Watts_Strogatz", fail)
        with pytest.raises(RuntimeError):
            watts_strogatz(8, 2, 0.5, rng=rng())
    drawn = []
    for _ in range(2):
        random.seed(11)
        drawn.append(igraph.Graph.Erdos_Renyi(n=30, p=0.3).get_edgelist())
    assert drawn[0] == drawn[1]


def test_threads_do_not_draw_from_each_others_generators(monkeypatch: pytest.MonkeyPatch) -> None:
    def edges(seed: int) -> list[list[int]]:
        rows: list[list[int]] = watts_strogatz(20, 2, 0.5, rng=rng(seed)).edges.tolist()
        return rows

    def slowly(*arguments: float) -> igraph.Graph:
        time.sleep(0.002)  # in which the others come as far as they can
        return at_once(*arguments)

    alone, at_once = [edges(seed) for seed in range(24)], igraph.Graph.Watts_Strogatz
    monkeypatch.setattr(igraph.Graph, "Watts_Strogatz", slowly)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(edges, range(24))) == alone


@given(graphs())
def test_every_graph_is_simple_and_in_order(graph: Graph) -> None:
    assert np.array_equal(checked_graph(graph.size, graph.edges).edges, graph.edges)


@given(st.integers(3, 60), st.data(), st.just(0.0) | st.floats(1e-9, 1))
def test_small_worlds_have_nei_edges_a_node(size: int, data: st.DataObject, p: float) -> None:
    nei = data.draw(st.integers(1, (size - 1) // 2))
    graph = watts_strogatz(size, nei, p, rng=rng())
    assert graph.size == size
    assert len(graph.edges) == size * nei


def test_without_rewiring_it_is_the_ring() -> None:
    graph = watts_strogatz(9, 2, 0, rng=rng())
    ring = networkx.circulant_graph(9, [1, 2])
    assert graph.edges.tolist() == sorted(sorted(edge) for edge in ring.edges)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.8])
def test_both_ends_of_an_edge_are_rewired(p: float) -> None:
    """What tells igraph's small worlds from networkx's: (1 - p)**2 of the ring is left, not 1 - p.

    A rewired edge may fall on the ring again, and then another one's rewiring may not.
    """
    size, nei = 400, 2
    edges = np.vstack([watts_strogatz(size, nei, p, rng=rng(seed)).edges for seed in range(20)])
    apart = edges[:, 1] - edges[:, 0]
    local = (np.minimum(apart, size - apart) <= nei).mean()
    by_chance = 2 * nei / (size - 1)
    expected = (1 - p) ** 2 + (1 - (1 - p) ** 2) * by_chance
    assert abs(local - expected) < 4 * (expected * (1 - expected) / len(edges)) ** 0.5


@pytest.mark.parametrize("p", [0.25, 0.5, 0.8])
def test_networkx_rewires_one_end_and_each_node_keeps_its_own(p: float) -> None:
    size, k = 400, 4
    drawn = [watts_strogatz_networkx(size, k, p, rng=rng(seed)) for seed in range(20)]
    edges = np.vstack([graph.edges for graph in drawn])
    assert len(edges) == 20 * size * k // 2
    apart = edges[:, 1] - edges[:, 0]
    local = (np.minimum(apart, size - apart) <= k // 2).mean()
    expected = (1 - p) + p * k / (size - 1)
    assert abs(local - expected) < 4 * (expected * (1 - expected) / len(edges)) ** 0.5
    assert min(np.bincount(graph.edges.ravel()).min() for graph in drawn) >= k // 2
    odd = watts_strogatz_networkx(20, 5, 0, rng=rng())
    assert odd.edges.tolist() == watts_strogatz(20, 2, 0, rng=rng()).edges.tolist()


def test_erdos_renyi_joins_each_pair_with_the_same_probability() -> None:
    counts = np.zeros((12, 12))
    for seed in range(400):
        graph = erdos_renyi(12, 0.3, rng=rng(seed))
        counts[tuple(graph.edges.T)] += 1
    often = counts[np.triu_indices(12, 1)] / 400
    deviation = (0.3 * 0.7 / 400) ** 0.5
    assert np.abs(often - 0.3).max() < 4.5 * deviation
    assert abs(often.mean() - 0.3) < 4 * deviation / len(often) ** 0.5


def test_the_other_models_keep_what_they_promise() -> None:
    assert len(erdos_renyi(9, 0, rng=rng()).edges) == 0
    assert len(erdos_renyi(9, 1, rng=rng()).edges) == 36
    assert erdos_renyi(1, 1, rng=rng()).size == 1
    scale_free = barabasi_albert(300, 3, rng=rng())
    assert len(scale_free.edges) == 297 * 3
    degrees = np.bincount(scale_free.edges.ravel())
    assert degrees.min() == 3
    assert degrees.max() > 30  # a hub, where a random graph of so many edges has none
    regular = random_regular(50, 5, rng=rng())
    assert np.bincount(regular.edges.ravel()).tolist() == [5] * 50
    assert len(random_regular(4, 0, rng=rng()).edges) == 0
    for degree in (19, 20, 37, 38, 39):
        dense = random_regular(40, degree, rng=rng())
        assert np.bincount(dense.edges.ravel()).tolist() == [degree] * 40


NAN = float("nan")


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("watts_strogatz", {"size": 8, "nei": 0, "p": 0.5}, "nei is 0; .* less than size 8"),
        ("watts_strogatz", {"size": 8, "nei": 4, "p": 0.5}, "nei is 4; .* less than size 8"),
        ("watts_strogatz", {"size": 0, "nei": 1, "p": 0.5}, "less than size 0"),
        (
            "watts_strogatz",
            {"size": 8, "nei": 2, "p": 1.01},
            "p is 1.01; it must be 0, or 1e-09 to 1",
        ),
        ("watts_strogatz", {"size": 8, "nei": 2, "p": NAN}, "p is nan"),
        ("watts_strogatz", {"size": 8, "nei": 2, "p": 9e-10}, "p is 9e-10"),
        ("watts_strogatz_networkx", {"size": 8, "k": 1, "p": 0.5}, "k is 1; .* less than size 8"),
        ("watts_strogatz_networkx", {"size": 8, "k": 8, "p": 0.5}, "k is 8; .* less than size 8"),
        ("erdos_renyi", {"size": 8, "p": 1e-17}, "p is 1e-17"),
        ("erdos_renyi", {"size": 0, "p": 0.5}, "size is 0; it must be at least 1"),
        ("erdos_renyi", {"size": 8, "p": -0.1}, "p is -0.1"),
        ("barabasi_albert", {"size": 8, "m": 8}, "m is 8; .* less than size 8"),
        ("barabasi_albert", {"size": 8, "m": 0}, "m is 0"),
        ("random_regular", {"size": 7, "degree": 3}, "degree is 3; .* product even"),
        ("random_regular", {"size": 8, "degree": 8}, "less than size 8"),
        ("random_regular", {"size": 8, "degree": -2}, "degree is -2"),
        ("random_regular", {"size": 0, "degree": 0}, "size is 0"),
        ("erdos_renyi", {"size": 8, "m": 2}, "erdos_renyi has the parameters size, p; .* size, m"),
        ("erdos_renyi", {}, "size, p; given are none"),
        ("erdos_renyi", {"size": 8.5, "p": 0.5}, "size is 8.5; it must be a whole number"),
        ("erdos_renyi", {"size": NAN, "p": 0.5}, "size is nan"),
        ("ring", {"size": 8}, "no graph generator is called 'ring'; there are watts_strogatz, "),
    ],
)
def test_parameters_that_no_graph_has_are_refused(
    name: str, given: dict[str, float], reason: str
) -> None:
    with pytest.raises(RecipeError, match=reason):
        random_graph(name, given, rng=rng())


SIZES, PROBABILITIES = (250, 300, 350, 400, 500), (0.5, 0.6, 0.7, 0.8, 0.9)


def accepted(nei: int, seed: int) -> int:
    """How many small worlds of the paper's grid have 50,000 to 91,000 parameters."""
    grid = [(size, p) for size in SIZES for p in PROBABILITIES]
    draws = rng(seed)
    drawn = [watts_strogatz(size, nei, p, rng=draws) for size, p in grid]
    return sum(50_000 <= parameters(directed(graph)) <= 91_000 for graph in drawn)


def test_the_papers_grid_accepts_hardly_any_but_those_of_nei_2() -> None:
    counts = {nei: [accepted(nei, seed) for seed in range(6)] for nei in (2, 4, 6)}
    assert 14 <= np.mean(counts[2]) <= 17.5
    assert 0 <= np.mean(counts[4]) <= 2.5
    assert sum(counts[6]) == 0


@pytest.mark.slow
def test_the_papers_grid_accepts_sixteen_in_a_repeat() -> None:
    counts = {nei: sum(accepted(nei, seed) for seed in range(12)) for nei in (2, 4, 6, 8, 10, 20)}
    total = sum(counts.values())
    assert 15 <= total / 12 <= 18
    assert 0.88 <= counts[2] / total <= 0.99
    assert counts[2] + counts[4] == total
