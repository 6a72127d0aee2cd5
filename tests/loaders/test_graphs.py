"""Graphs of a bundle become networks."""

from pathlib import Path

import pytest
import torch

from artifacts.errors import BundleError
from loaders.graphs import load_graphs
from models.sparse import SparseNetwork
from tests.graph_bundles import graph_bundle, with_table


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
    with_table(tmp_path / "b", lambda file: file["edges"].write_direct(file["edges"][()] * 1000))
    with pytest.raises(BundleError, match="graph 0 has an arc outside it"):
        load_graphs(tmp_path / "b")
