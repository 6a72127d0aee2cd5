r"""The hidden part of a sparse network: one neuron for each node of a directed acyclic graph.

$z_v = \mathrm{ReLU}(\sum_{u \to v} w_{uv} z_u + b_v)$, as in Ben Amor, Stier & Granitzer: one bias
and one ReLU over what arrives from all layers before. The paper masks a dense matrix for each pair
of layers; here a weight that is masked does not exist, so nothing can move it. A layer of the
graph is one weighted sum of rows, and a graph need not be connected: many networks are one.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def layers(edges: Tensor, size: int) -> Tensor:
    """The layer of each node: 0 without predecessors, else 1 + the last layer among them.

    (E, 2) int64 of (from, to) in [0, size), in any order -> (size,) int64.

    Raises:
        ValueError: `edges` are no such pairs, or one is a loop, comes twice, or is on a cycle.

    >>> layers(torch.tensor([[0, 1], [1, 2], [0, 2]]), 4).tolist()
    [0, 1, 2, 0]
    """
    _check(edges, size)
    layer = torch.zeros(size, dtype=torch.int64, device=edges.device)
    while len(edges):  # those that do not start in a layer that is known
        later = torch.zeros(size, dtype=torch.bool, device=edges.device)
        later[edges[:, 1]] = True
        layer += later
        rest = edges[later[edges[:, 0]]]
        if len(rest) == len(edges):
            node = int(edges[:, 0].min())
            raise ValueError(f"the edges have a cycle; node {node} is on it or behind it")
        edges = rest
    return layer


class HiddenGraph(nn.Module):
    r"""Computes $z_v = \mathrm{ReLU}(\sum_{u \to v} w_{uv} z_u + b_v)$, layer by layer.

    Nodes without predecessors (`sources`) receive from outside, once each; nodes without successors
    (`sinks`), whatever their layer, are what is returned. ``weight[e]`` belongs to ``edges[e]``,
    ``bias[v]`` to node v. The edges are part of the state: that of another graph is refused.

    Shape: ``(sources, B) -> (sinks, B)``, both in the order of their nodes.
    """

    edges: Tensor
    layer: Tensor
    sources: Tensor
    sinks: Tensor
    sink_rows: Tensor

    def __init__(self, edges: Tensor, size: int) -> None:
        """As `layers`. Weights and biases are zero.

        Raises:
            ValueError: the edges are no directed acyclic graph of `size` nodes.
        """
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(edges)))
        self.bias = nn.Parameter(torch.zeros(size))
        edges = edges.detach().cpu().clone()
        buffers = {"edges": edges, "layer": layers(edges, size)}
        for name, end in {"sources": 1, "sinks": 0}.items():
            degree = edges[:, end].bincount(minlength=size)
            buffers[name] = (degree == 0).nonzero().squeeze(1)
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)
        self._wire()

    def _wire(self) -> None:
        """Nodes become rows, layer after layer, so that a layer is a slice of a table."""
        order = self.layer.argsort(stable=True)
        row = order.argsort()
        tail, head = row[self.edges].unbind(1)
        self.depths = self.layer.bincount().tolist()  # nodes of each layer
        nodes = torch.arange(len(order))
        # the bias is the weight of an edge from a row that is always 1
        one = torch.full_like(nodes, len(nodes))
        self.incoming = _Bags(torch.cat([tail, one]), torch.cat([head, row]), self.depths)
        # a sink is pulled by the gradient that arrives for it, with a weight of 1
        arriving = len(nodes) + torch.arange(len(self.sinks))
        pulled = torch.cat([tail, row[self.sinks]])
        self.outgoing = _Bags(torch.cat([head, arriving]), pulled, self.depths)
        self.register_buffer("sink_rows", row[self.sinks], persistent=False)

    def forward(self, drive: Tensor) -> Tensor:
        """What the sources receive -> what the sinks say. (sources, B) -> (sinks, B)."""
        if not drive.shape[1]:  # embedding_bag would refuse rows of nothing
            return drive.new_zeros(len(self.sinks), 0)
        sinks: Tensor = _Propagate.apply(drive.to(self.weight.dtype), self.weight, self.bias, self)
        return sinks

    def matrix(self) -> Tensor:
        """The weight of each edge u -> v at [u, v], 0 where there is none. -> (size, size)."""
        empty = self.weight.new_zeros(len(self.bias), len(self.bias))
        return empty.index_put(self.edges.unbind(1), self.weight)

    def get_extra_state(self) -> Tensor:
        """The edges, for ``state_dict``. -> (E, 2) int64."""
        return self.edges

    def set_extra_state(self, state: Tensor) -> None:
        """Check the edges of a state that is loaded.

        Raises:
            ValueError: they are not those of this graph.
        """
        if not torch.equal(state.cpu(), self.edges.cpu()):
            raise ValueError("the state is that of another graph; its edges are not the same")


class _Bags(nn.Module):
    """Which rows of a table are added up to make a row, for every row, layer by layer."""

    row: Tensor
    edge: Tensor
    rank: Tensor
    bag: Tensor
    start: Tensor
    start_in_layer: Tensor

    def __init__(self, read: Tensor, made: Tensor, depths: Sequence[int]) -> None:
        super().__init__()
        edge = made.argsort(stable=True)
        count = made.bincount(minlength=sum(depths))
        layers = count.split(list(depths))
        self.depths = list(depths)
        self.edges = [int(layer.sum()) for layer in layers]  # of each layer
        buffers = {
            "row": read[edge],
            "edge": edge,  # whose weight it is
            "rank": edge.argsort(),
            "bag": made[edge],  # which sum it is part of
            "start": count.cumsum(0) - count,
            "start_in_layer": torch.cat([layer.cumsum(0) - layer for layer in layers]),
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def by_layer(self, weights: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The rows to read, where those of each sum start, and their weights; (E,) -> each."""
        starts = self.start_in_layer.split(self.depths)
        rows, parts = self.row.split(self.edges), weights[self.edge].split(self.edges)
        return zip(rows, starts, parts, strict=True)


class _Propagate(torch.autograd.Function):
    """All layers of a graph, in one table that is never copied; forth and back only gather."""

    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, weight: Tensor, bias: Tensor, graph: HiddenGraph
    ) -> Tensor:
        table = drive.new_empty(len(bias) + 1, drive.shape[1])
        table[-1] = 1
        targets = table[:-1].split(graph.depths)
        bags = graph.incoming.by_layer(torch.cat([weight, bias]))
        for index, (target, bag) in enumerate(zip(targets, bags, strict=True)):
            sums = _sums(table, *bag)
            if index == 0:
                sums += drive
            torch.clamp_min(sums, 0, out=target)
        ctx.save_for_backward(table, weight, bias)
        ctx.graph = graph
        return table[graph.sink_rows]

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        table, weight, bias = ctx.saved_tensors
        graph: HiddenGraph = ctx.graph
        pull = arriving.new_empty(len(bias) + len(arriving), arriving.shape[1])
        pull[len(bias) :] = arriving
        targets, values = (nodes[: len(bias)].split(graph.depths) for nodes in (pull, table))
        bags = graph.outgoing.by_layer(torch.cat([weight, weight.new_ones(len(arriving))]))
        for target, value, bag in reversed(list(zip(targets, values, bags, strict=True))):
            # what autograd calls for a ReLU: the gradient where the value is above 0
            torch.ops.aten.threshold_backward.grad_input(
                _sums(pull, *bag), value, 0, grad_input=target
            )
        drive = targets[0]
        if not any(ctx.needs_input_grad[1:3]):  # an attack asks for its inputs alone
            return drive, None, None, None
        both = _weights_gradient(table, pull[: len(bias)], graph.incoming)
        return drive, both[: len(weight)], both[len(weight) :], None


_SUM = 0  # embedding_bag's number of the mode


def _sums(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """A weighted sum of rows for each start. -> (starts, B)."""
    return F.embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)


def _weights_gradient(table: Tensor, pull: Tensor, bags: _Bags) -> Tensor:
    """The product of what an edge reads and the gradient of what it makes. -> (E,)."""
    # what autograd calls for these sums; it makes no (E, B) table of what the edges read
    backward = torch.ops.aten._embedding_bag_per_sample_weights_backward
    gradient: Tensor = backward(pull, table, bags.row, bags.start, bags.bag, _SUM)
    return gradient[bags.rank]


def _check(edges: Tensor, size: int) -> None:
    """Refuse what is no set of edges between different nodes."""
    if size < 1:
        raise ValueError(f"the graph has {size} nodes; it must have at least 1")
    if edges.dtype != torch.int64 or edges.ndim != 2 or edges.shape[1] != 2:
        shape = tuple(edges.shape)
        raise ValueError(f"the edges are {edges.dtype} of shape {shape}, not int64 of (E, 2)")
    tail, head = edges.unbind(1)
    if len(out := edges[((edges < 0) | (edges >= size)).any(1)]):
        raise ValueError(f"the edge {out[0].tolist()} is outside the graph of {size} nodes")
    if len(loops := edges[tail == head]):
        raise ValueError(f"the edge {loops[0].tolist()} is a loop")
    pairs, times = edges.unique(dim=0, return_counts=True)
    if len(twice := pairs[times > 1]):
        raise ValueError(f"the edge {twice[0].tolist()} comes more than once")
