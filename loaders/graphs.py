"""The graphs of a bundle as tensors, each ready to be a sparse network."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from artifacts.bundle import open_bundle
from artifacts.graph_table import read_graphs


@dataclass(frozen=True, slots=True, eq=False)
class StoredGraph:
    """A directed acyclic graph, and what is known of it."""

    key: str
    size: int
    """Nodes."""
    edges: Tensor
    """(E, 2) int64 rows (from, to)."""
    parameters: Mapping[str, int]
    """Of its network: `connected`, `dense`."""
    properties: Mapping[str, float]
    """`dag/density`, ..., `undirected/mean_closeness`; nan for a mean over nothing."""


def load_graphs(bundle: str | os.PathLike[str]) -> list[StoredGraph]:
    """All graphs of a bundle that `quire build graphs` made, in the order of its index.

    `models.sparse.SparseNetwork(graph.edges, graph.size, inputs=..., outputs=...)` is the network
    of one; inputs and outputs are fields of the bundle's recipe.

    Raises:
        BundleError: the bundle is incomplete or damaged, has no graphs, or a graph that cannot be.
    """
    opened = open_bundle(Path(bundle))
    table = read_graphs(opened)
    edges = torch.from_numpy(table.edges).long()
    keys = [key.decode() for key in opened.index.rows.keys.tolist()]
    bounds = table.offsets.tolist()
    parameters = {name: column.tolist() for name, column in table.parameters.items()}
    properties = {name: column.tolist() for name, column in table.properties.items()}
    return [
        StoredGraph(
            key=key,
            size=size,
            edges=edges[bounds[row] : bounds[row + 1]],
            parameters={name: column[row] for name, column in parameters.items()},
            properties={name: column[row] for name, column in properties.items()},
        )
        for row, (key, size) in enumerate(zip(keys, table.sizes.tolist(), strict=True))
    ]
