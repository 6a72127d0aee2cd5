"""The graphs of a bundle as tensors, each ready to be a sparse network or a mask of one."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.graph_table import read_graphs

_PRUNED = "pruned"  # the kind of recipe whose graphs are masks


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

    `quire.models.sparse.SparseNetwork(graph.edges, graph.size, inputs=..., outputs=...)` is the
    network of one; inputs and outputs are fields of the bundle's recipe.

    Raises:
        BundleError: the bundle is incomplete or damaged, has no graphs, a graph that cannot be, or
            graphs of pruned networks, which are read by `load_prunings`.
    """
    opened = open_bundle(bundle)
    if opened.manifest.identity.recipe.get("kind") == _PRUNED:
        raise BundleError(f"{bundle} has masks of pruned networks, not graphs of networks")
    return _stored(opened)


def _stored(opened: Bundle) -> list[StoredGraph]:
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


@dataclass(frozen=True, slots=True, eq=False)
class Prunings:
    """A network that loses hidden connections step by step, in several ways.

    Its graph at step 0 is a `quire.models.sparse.SparseNetwork`'s, and the later ones are masks of
    it: a node that has lost all its predecessors receives no inputs, but its bias.
    """

    graphs: Sequence[Sequence[StoredGraph]]
    """Of each pruning, by step; `graphs[p][0]` are all the same."""
    removed_at: Tensor
    """(P, E) int64: the step of each pruning that removes each edge of step 0, from 1 on; the
    number of steps + 1 for those that stay."""

    @property
    def whole(self) -> StoredGraph:
        """The network before any step."""
        return self.graphs[0][0]

    @property
    def steps(self) -> int:
        """How many there are, step 0 not counted."""
        return len(self.graphs[0]) - 1

    def kept(self, step: int) -> Tensor:
        """Which edges of `whole` each pruning has after a step. -> (P, E) bool."""
        return self.removed_at > step


def load_prunings(bundle: str | os.PathLike[str]) -> Prunings:
    """The prunings of a bundle that `quire build pruned` made.

    Raises:
        BundleError: the bundle is incomplete or damaged, of another kind, or its graphs are not
            those of prunings.
    """
    opened = open_bundle(bundle)
    if (kind := opened.manifest.identity.recipe.get("kind")) != _PRUNED:
        raise BundleError(f"{bundle} is of the kind {kind!r}; it has no pruned networks")
    graphs, length = _stored(opened), _length(opened)
    prunings = [graphs[start : start + length] for start in range(0, len(graphs), length)]
    removed_at = [_removed_at(prunings[0][0], pruning) for pruning in prunings]
    return Prunings(prunings, torch.stack(removed_at))


def _length(bundle: Bundle) -> int:
    """How many samples a pruning has: its steps, and step 0."""
    columns = bundle.index.rows.columns
    pruning, step = (columns.get(name, np.empty(0)) for name in ("pruning", "step"))
    rows = np.arange(len(bundle.index))
    last = int(step.max(initial=0)) if step.dtype.kind in "iu" else 0
    length = min(last, len(rows)) + 1
    same = np.array_equal(step, rows % length) and np.array_equal(pruning, rows // length)
    if not same or not len(rows) or len(rows) % length:
        raise BundleError(f"{bundle}: the index does not number prunings and their steps")
    return length


def _removed_at(whole: StoredGraph, steps: Sequence[StoredGraph]) -> Tensor:
    """The step that removes each edge. (E,) int64."""
    removed = torch.full((len(whole.edges),), len(steps))
    number = torch.tensor([whole.size, 1])  # of an edge, among all pairs
    rows, left = torch.arange(len(whole.edges)), whole.edges @ number
    for step, graph in enumerate(steps):
        stays = torch.isin(left, graph.edges @ number)
        known = int(stays.sum()) == len(graph.edges) and graph.size == whole.size
        if not known or (step == 0 and not stays.all()):
            raise BundleError(f"{graph.key} is not what is left of the step before it")
        removed[rows[~stays]] = step
        rows, left = rows[stays], left[stays]
    return removed
