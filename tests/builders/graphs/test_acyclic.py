"""Side by side or one by one: the searches from all nodes find the same, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.builders.graphs import acyclic, traversal
from quire.builders.graphs.dag import Direction, directed
from quire.builders.graphs.generators import watts_strogatz
from quire.builders.graphs.graph import Graph, undirected
from quire.builders.graphs.traversal import Arcs, Indices, Sweep
from tests.builders.graphs.references import graphs, joined
from tests.builders.graphs.test_dag import DIRECTIONS

directions = st.sampled_from(DIRECTIONS)


def arcs_and_order(graph: Graph, direction: Direction) -> tuple[Arcs, Indices]:
    dag = directed(graph, direction)
    sources, targets = dag.arcs.T.astype(np.uint32, order="C")
    return traversal.csr(dag.size, sources, targets), dag.order


def side_by_side(arcs: Arcs, order: Indices) -> Sweep:
    """Without the choice of what is faster."""
    found, exact = acyclic._sweep(arcs, order)
    assert exact
    return Sweep._make(sums[: order.size] for sums in found)


def assert_same_bytes(ours: Sweep, theirs: Sweep) -> None:
    for name, one, other in zip(Sweep._fields, ours, theirs, strict=True):
        assert one.dtype == other.dtype, name
        assert one.tobytes() == other.tobytes(), name


@settings(max_examples=150)
@given(graphs(), directions)
def test_small_graphs(graph: Graph, direction: Direction) -> None:
    arcs, order = arcs_and_order(graph, direction)
    one_by_one = traversal.sweep(arcs)
    assert_same_bytes(side_by_side(arcs, order), one_by_one)
    assert_same_bytes(acyclic.sweep(arcs, order), one_by_one)


@pytest.mark.parametrize("size", [63, 64, 65, 127, 128, 129, 250])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("nei", "p"), [(1, 0.0), (2, 0.9), (5, 0.25), (20, 0.5)])
def test_more_sources_than_go_side_by_side(
    size: int, direction: Direction, nei: int, p: float
) -> None:
    graph = watts_strogatz(size, nei, p, rng=np.random.default_rng(size))
    arcs, order = arcs_and_order(graph, direction)
    one_by_one = traversal.sweep(arcs)
    assert_same_bytes(side_by_side(arcs, order), one_by_one)
    assert_same_bytes(acyclic.sweep(arcs, order), one_by_one)


def test_any_order_that_the_arcs_allow_will_do() -> None:
    """Nodes are numbered anew, so that the order neither rises nor falls."""
    rng = np.random.default_rng(0)
    dag = directed(watts_strogatz(150, 3, 0.3, rng=rng))
    number = rng.permutation(dag.size).astype(np.uint32)
    sources, targets = number[dag.arcs.T]
    arcs = traversal.csr(dag.size, sources, targets)
    assert_same_bytes(side_by_side(arcs, number[dag.order]), traversal.sweep(arcs))


def ladder(levels: int) -> Graph:
    """Levels of three nodes, each joined to all of the next: 3**(levels - 2) paths at the most."""
    pairs = [
        (3 * k + a, 3 * k + 3 + b) for k in range(levels - 1) for a in range(3) for b in range(3)
    ]
    return joined(3 * levels, *pairs)


@pytest.mark.parametrize(("levels", "exact"), [(35, True), (36, False)])
def test_paths_are_counted_up_to_what_a_float_holds(levels: int, exact: bool) -> None:
    """3**33 < 2**53 < 3**34."""
    arcs, order = arcs_and_order(ladder(levels), "up")
    assert acyclic._sweep(arcs, order)[1] is exact


def tangled(levels: int) -> Graph:
    """A ladder of seven nodes a level, with a fifth of the rungs left out."""
    rng = np.random.default_rng(0)
    low, high = np.triu_indices(7 * levels, 1)
    kept = (high // 7 - low // 7 == 1) & (rng.random(low.size) < 0.8)
    return undirected(7 * levels, np.column_stack([low[kept], high[kept]]))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_beyond_that_bytes_are_still_those_of_one_by_one(direction: Direction) -> None:
    arcs, order = arcs_and_order(tangled(40), direction)
    found, exact = acyclic._sweep(arcs, order)
    one_by_one = traversal.sweep(arcs)
    assert not exact
    assert found.dependencies[: order.size].tobytes() != one_by_one.dependencies.tobytes()
    assert_same_bytes(acyclic.sweep(arcs, order), one_by_one)


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_what_is_walked_is_what_searches_find(p: float) -> None:
    """Of 16 nodes all are samples: each counts the nodes it finds, itself too, and their arcs."""
    graph = watts_strogatz(16, 2, p, rng=np.random.default_rng(0))
    arcs, order = arcs_and_order(graph, "down")
    found = traversal.sweep(arcs)
    degrees = np.diff(arcs.starts.astype(np.int64))
    assert acyclic._walked(arcs, order) == ((found.reached_by + 1) * (degrees + 1)).sum()
