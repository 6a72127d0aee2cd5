"""Sparse networks, held against a loop over neurons and against masked dense matrices."""

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quire.models.sparse import SparseNetwork
from quire.models.sparse_hidden import layers

Graph: TypeAlias = tuple[list[tuple[int, int]], int]  # edges and size

# networkx 3.6: watts_strogatz_graph(12, 4, 0.5, seed=0), each edge from its higher node down
WATTS_STROGATZ: Graph = (
    [
        *[(1, 0), (10, 0), (5, 0), (2, 1), (11, 1), (6, 1), (9, 1), (4, 2)],
        *[(8, 2), (7, 3), (4, 3), (8, 3), (8, 4), (6, 5), (11, 5), (8, 5)],
        *[(8, 6), (7, 6), (8, 7), (10, 8), (11, 8), (10, 9), (11, 9), (11, 10)],
    ],
    12,
)
ONE_NODE: Graph = ([], 1)
NO_EDGES: Graph = ([], 4)
SHORTCUT: Graph = ([(0, 1), (1, 2), (0, 2)], 3)
ISOLATED: Graph = ([(3, 1)], 5)
SINKS_EVERYWHERE: Graph = ([(5, 4), (4, 3), (3, 2), (5, 1), (4, 0)], 7)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any directed acyclic graph of up to 12 nodes; neither nodes nor edges are in any order."""
    size = draw(st.integers(1, 12))
    name = draw(st.permutations(range(size)))
    pairs = [(name[u], name[v]) for v in range(size) for u in range(v)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return chosen, size


def every_kind_of_graph(test: Callable[[Graph], None]) -> Callable[[], None]:
    for graph in (WATTS_STROGATZ, ONE_NODE, NO_EDGES, SHORTCUT, ISOLATED, SINKS_EVERYWHERE):
        test = example(graph)(test)
    return settings(max_examples=25)(given(graphs())(test))


def pairs_of(graph: Graph) -> Tensor:
    return torch.tensor(graph[0], dtype=torch.int64).reshape(-1, 2)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network_of(graph: Graph, *, inputs: int = 5, outputs: int = 3) -> SparseNetwork:
    """In float64; biases of nodes are positive, so that few are always off."""
    network = SparseNetwork(pairs_of(graph), graph[1], inputs=inputs, outputs=outputs).double()
    with torch.no_grad():
        for seed, parameter in enumerate(network.parameters()):
            parameter.copy_(normal(*parameter.shape, seed=seed))
        network.hidden.bias.abs_()
    return network


def slow_layer(graph: Graph, node: int) -> int:
    """The number of edges of the longest path that ends in a node."""
    return max((1 + slow_layer(graph, u) for u, v in graph[0] if v == node), default=0)


def slow_logits(network: SparseNetwork, graph: Graph, image: Tensor) -> Tensor:
    """Neuron by neuron, for one image. (inputs,) -> (outputs,)."""
    edges, size = graph
    sources = [node for node in range(size) if all(v != node for _, v in edges)]
    sinks = [node for node in range(size) if all(u != node for u, _ in edges)]
    z: dict[int, Tensor] = {}
    for node in sorted(range(size), key=lambda node: slow_layer(graph, node)):
        total = network.hidden.bias[node]
        if node in sources:
            total = total + network.input.weight[sources.index(node)] @ image
        for index, (u, v) in enumerate(edges):
            if v == node:
                total = total + network.hidden.weight[index] * z[u]
        z[node] = total.clamp(min=0)
    said = torch.stack([z[node] for node in sinks])
    logits: Tensor = network.output.weight @ said + network.output.bias
    return logits


# The graph


@every_kind_of_graph
def test_a_layer_is_the_longest_path_that_ends_there(graph: Graph) -> None:
    expected = [slow_layer(graph, node) for node in range(graph[1])]
    assert layers(pairs_of(graph), graph[1]).tolist() == expected


def test_a_graph_of_watts_and_strogatz() -> None:
    found = layers(pairs_of(WATTS_STROGATZ), 12)
    assert found.bincount().tolist() == [1, 1, 2, 2, 3, 2, 1]
    network = SparseNetwork(pairs_of(WATTS_STROGATZ), 12, inputs=784, outputs=10)
    assert network.num_parameters == 850 == 784 * 1 + 24 + 10 * 2 + 12 + 10
    assert network.num_dense == 862  # 36 pairs in the 11 pairs of layers with an edge


@every_kind_of_graph
def test_only_connections_that_exist_have_parameters(graph: Graph) -> None:
    edges, size = graph
    sources = size - len({v for _, v in edges})
    sinks = size - len({u for u, _ in edges})
    network = network_of(graph)
    assert network.num_parameters == 5 * sources + len(edges) + 3 * sinks + size + 3
    layer = [slow_layer(graph, node) for node in range(size)]
    blocks = {(layer[u], layer[v]) for u, v in edges}
    dense = sum(layer.count(a) * layer.count(b) for a, b in blocks)
    assert network.num_dense == network.num_parameters - len(edges) + dense


@pytest.mark.parametrize(
    ("edges", "size", "message"),
    [
        ([[0, 1], [1, 2], [2, 1]], 4, "the edges have a cycle; node 1 is on it or behind it"),
        ([[3, 0], [0, 1], [1, 2], [2, 0]], 4, "the edges have a cycle; node 0 is on it"),
        ([[0, 1], [2, 2]], 4, r"the edge \[2, 2\] is a loop"),
        ([[0, 1], [2, 3], [0, 1]], 4, r"the edge \[0, 1\] comes more than once"),
        ([[0, 1], [1, 4]], 4, r"the edge \[1, 4\] is outside the graph of 4 nodes"),
        ([[0, 1], [-1, 2]], 4, r"the edge \[-1, 2\] is outside the graph of 4 nodes"),
        ([[0, 1, 2]], 4, r"torch.int64 of shape \(1, 3\), not int64 of \(E, 2\)"),
        ([0, 1], 4, r"torch.int64 of shape \(2,\), not int64"),
        ([[0.0, 1.0]], 4, r"torch.float32 of shape \(1, 2\), not int64"),
        ([[0, 1]], 0, "the graph has 0 nodes; it must have at least 1"),
    ],
)
def test_what_is_no_graph_is_refused(edges: list[list[int]], size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SparseNetwork(torch.tensor(edges), size, inputs=5, outputs=3)
    assert "\n" not in str(caught.value)


# What a network computes


@every_kind_of_graph
def test_logits_and_gradients_are_those_of_a_loop_over_neurons(graph: Graph) -> None:
    network = network_of(graph)
    wanted = [*network.parameters(), images := normal(6, 5, seed=9).requires_grad_()]
    fast = network(images)
    slow = torch.stack([slow_logits(network, graph, image) for image in images])
    torch.testing.assert_close(fast, slow)
    direction = normal(6, 3, seed=10)
    found = torch.autograd.grad(fast, wanted, direction)
    expected = torch.autograd.grad(slow, wanted, direction, allow_unused=True)
    for one, other, parameter in zip(found, expected, wanted, strict=True):
        torch.testing.assert_close(one, torch.zeros_like(parameter) if other is None else other)


def test_gradients_of_images_alone_are_the_same() -> None:
    network = network_of(SINKS_EVERYWHERE)
    images = normal(6, 5).requires_grad_()
    (expected,) = torch.autograd.grad(network(images).sum(), images)
    network.requires_grad_(False)
    (found,) = torch.autograd.grad(network(images).sum(), images)
    assert torch.equal(found, expected) and found.abs().sum() > 0


@every_kind_of_graph
def test_the_order_of_edges_does_not_matter(graph: Graph) -> None:
    network = network_of(graph)
    order = torch.randperm(len(graph[0]), generator=torch.Generator().manual_seed(3))
    other = SparseNetwork(pairs_of(graph)[order], graph[1], inputs=5, outputs=3).double()
    state = network.state_dict()
    state["hidden.weight"] = state["hidden.weight"][order]
    other.load_state_dict({**state, "hidden._extra_state": pairs_of(graph)[order]})
    torch.testing.assert_close(other(normal(4, 5)), network(normal(4, 5)))
    assert torch.equal(other.hidden.matrix(), network.hidden.matrix())


def test_a_batch_may_be_empty_and_numbers_float32() -> None:
    network = network_of(WATTS_STROGATZ)
    assert network(normal(0, 5)).shape == (0, 3)
    assert network.float()(torch.zeros(0, 5)).shape == (0, 3)
    images = normal(4, 5)
    single = network(images.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), network.double()(images), rtol=1e-5, atol=1e-5)


# Training


class Masked(nn.Module):
    """The paper's form: dense matrices and a mask; nodes must be numbered as they come."""

    mask: Tensor

    def __init__(self, network: SparseNetwork) -> None:
        super().__init__()
        self.register_buffer("mask", (network.hidden.matrix() != 0).double())
        self.dense = nn.Parameter(network.hidden.matrix().detach().clone())
        self.bias = nn.Parameter(network.hidden.bias.detach().clone())
        self.input = nn.Parameter(network.input.weight.detach().clone())
        outputs, sinks = network.output.weight.shape
        self.output = nn.Linear(sinks, outputs, dtype=torch.float64)
        self.output.load_state_dict(network.output.state_dict())
        self.sources, self.sinks = network.hidden.sources, network.hidden.sinks

    def forward(self, images: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        received = images.new_zeros(len(images), len(self.bias))
        received = received.index_copy(1, self.sources, images @ self.input.T)
        columns: list[Tensor] = []
        for node in range(len(self.bias)):
            before = torch.stack([*columns, *[received[:, 0] * 0] * (len(self.bias) - node)], dim=1)
            arrives = before @ (self.dense * self.mask)[:, node]
            columns.append((received[:, node] + arrives + self.bias[node]).relu())
        logits: Tensor = self.output(torch.stack(columns, dim=1)[:, self.sinks])
        return logits


def train(network: nn.Module, *, steps: int = 20) -> list[float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.1)
    losses = []
    for step in range(steps):
        labels = torch.arange(6) % 3
        loss = F.cross_entropy(network(normal(6, 5, seed=step)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_is_that_of_a_masked_matrix_and_what_is_masked_stays_zero() -> None:
    edges, size = WATTS_STROGATZ
    graph = ([(size - 1 - u, size - 1 - v) for u, v in edges], size)  # from lower to higher nodes
    network = network_of(graph)
    masked = Masked(network)
    start = network.hidden.weight.detach().clone()
    losses = train(network)
    torch.testing.assert_close(losses, train(masked), rtol=1e-9, atol=0)
    assert losses[-1] < losses[0]
    matrix = network.hidden.matrix()
    torch.testing.assert_close(matrix, masked.dense * masked.mask)
    assert (network.hidden.weight != start).all()
    absent = torch.ones(size, size, dtype=torch.bool)
    absent[pairs_of(graph).unbind(1)] = False
    assert absent.sum() == size**2 - len(edges) and (matrix[absent] == 0).all()


# States


def test_a_state_makes_the_same_network() -> None:
    network = network_of(SINKS_EVERYWHERE)
    train(network, steps=2)
    other = SparseNetwork(pairs_of(SINKS_EVERYWHERE), 7, inputs=5, outputs=3).double()
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(normal(4, 5)), network(normal(4, 5)))


def test_the_state_of_another_graph_is_refused() -> None:
    network = network_of(([(0, 2), (1, 2), (2, 3)], 4))
    other = network_of(([(0, 3), (1, 3), (3, 2)], 4))  # all shapes are the same
    with pytest.raises(ValueError, match="another graph"):
        other.load_state_dict(network.state_dict())
