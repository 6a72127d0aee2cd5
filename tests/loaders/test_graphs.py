"""Graphs of a bundle become networks, or masks of one."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from quire.artifacts.errors import BundleError
from quire.artifacts.graph_table import GRAPHS
from quire.artifacts.manifest import INDEX
from quire.loaders.graphs import load_graphs, load_prunings
from quire.models.sparse import SparseNetwork
from tests.graph_bundles import PRUNED, graph_bundle
from tests.hostile_tables import with_table


def test_every_graph_becomes_the_network_that_was_counted(tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")
    graphs = load_graphs(tmp_path / "b")
    assert [graph.key for graph in graphs] == [f"{number:08d}" for number in range(9)]
    for graph in graphs:
        network = SparseNetwork(graph.edges, graph.size, inputs=784, outputs=10)
        assert network.num_parameters == graph.parameters["connected"]
        assert network(torch.zeros(2, 784)).shape == (2, 10)
        pairs = graph.size * (graph.size - 1)
        assert graph.properties["dag/density"] == pytest.approx(len(graph.edges) / pairs)
    assert len({tuple(graph.edges.flatten().tolist()) for graph in graphs}) == 9


def test_a_hostile_table_gives_no_graphs(tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")
    with_table(
        tmp_path / "b", GRAPHS, lambda file: file["edges"].write_direct(file["edges"][()] * 1000)
    )
    with pytest.raises(BundleError, match="graph 0 has an arc outside it"):
        load_graphs(tmp_path / "b")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned") / "b"
    graph_bundle(folder, PRUNED)
    return folder


@pytest.fixture
def pruned(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "b")


def test_prunings_are_masks_of_the_network_that_was_counted(pruned: Path) -> None:
    prunings = load_prunings(pruned)
    whole = prunings.whole
    network = SparseNetwork(whole.edges, whole.size, inputs=PRUNED.inputs, outputs=PRUNED.outputs)
    assert prunings.removed_at.shape == (3, 35) and prunings.steps == 5
    assert prunings.kept(0).all()
    for number, graphs in enumerate(prunings.graphs):
        for step, graph in enumerate(graphs):
            kept = prunings.kept(step)[number]
            assert graph.key == f"{number:04d}-{step:04d}"
            assert torch.equal(whole.edges[kept], graph.edges)
            removed = 35 - int(kept.sum())
            assert graph.parameters["connected"] == network.num_parameters - removed
            assert graph.properties["dag/density"] == pytest.approx(int(kept.sum()) / 132)
    assert int(prunings.removed_at.max()) == 6  # of what stays


def test_a_pruned_graph_is_not_taken_for_a_network(pruned: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="masks of pruned networks, not graphs of networks"):
        load_graphs(pruned)
    graph_bundle(tmp_path / "random")
    with pytest.raises(BundleError, match="is of the kind 'graphs'; it has no pruned networks"):
        load_prunings(tmp_path / "random")


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("step", np.zeros(18, np.int64)),
        ("step", np.arange(18)[::-1] % 6),
        ("step", np.r_[np.arange(17) % 6, 2**63 - 1]),
        ("step", np.arange(18) % 6 - 1),
        ("step", np.arange(18) % 9),
        ("step", np.full(18, np.nan)),
        ("step", np.array([b"0"] * 18)),
        ("pruning", np.arange(18) // 9),
        ("pruning", None),
        ("step", None),
    ],
)
def test_an_index_that_numbers_no_prunings_is_refused(
    pruned: Path, column: str, values: Any
) -> None:
    def change(file: h5py.File) -> None:
        del file[f"columns/{column}"]
        if values is not None:
            file[f"columns/{column}"] = values

    with_table(pruned, INDEX, change)
    with pytest.raises(BundleError, match="the index does not number prunings and their steps"):
        load_prunings(pruned)


@pytest.mark.parametrize(("row", "key"), [(2, "0000-0002"), (6, "0001-0000"), (17, "0002-0005")])
def test_a_step_that_adds_an_edge_is_refused(pruned: Path, row: int, key: str) -> None:
    def change(file: h5py.File) -> None:
        file["edges"][int(file["offsets/edges"][row])] = [0, 1]  # within the first layer

    with_table(pruned, GRAPHS, change)
    with pytest.raises(BundleError, match=f"{key} is not what is left of the step before it"):
        load_prunings(pruned)


def test_a_pruning_that_begins_with_less_than_the_first_is_refused(pruned: Path) -> None:
    def change(file: h5py.File) -> None:
        offsets, edges = file["offsets/edges"], file["edges"][()]
        del file["edges"]
        file["edges"] = np.delete(edges, offsets[6], axis=0)
        offsets[7:] -= 1

    with_table(pruned, GRAPHS, change)
    with pytest.raises(BundleError, match="0001-0000 is not what is left of the step before it"):
        load_prunings(pruned)
