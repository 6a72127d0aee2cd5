"""Many networks at once, held against each of them alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quire.models.sparse import SparseNetwork
from quire.models.sparse_batch import SparseNetworks, cross_entropies

SHAPES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 20)), min_size=1, max_size=5)
MIXED = [(1, 0), (12, 20), (4, 0), (30, 60), (7, 9)]  # nodes and edges at most


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def network_of(size: int, edges: int, *, seed: int, outputs: int = 3) -> SparseNetwork:
    """A random graph, whose nodes are in no order, in float64."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(size, (edges, 2), generator=generator).sort(dim=1).values
    ends = ends[ends[:, 0] != ends[:, 1]].unique(dim=0)
    name = torch.randperm(size, generator=generator)
    network = SparseNetwork(name[ends], size, inputs=5, outputs=outputs).double()
    network.initialise("normal", generator=generator)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(5)  # so that a graph of many layers says something
        network.hidden.bias.abs_()
    return network


def networks_of(shapes: list[tuple[int, int]], *, seed: int = 0) -> list[SparseNetwork]:
    return [network_of(*shape, seed=seed + index) for index, shape in enumerate(shapes)]


@settings(max_examples=25)
@given(SHAPES, st.booleans(), st.integers(0, 99))
def test_each_member_computes_what_it_does_alone(
    shapes: list[tuple[int, int]], shared: bool, seed: int
) -> None:
    networks = networks_of(shapes, seed=seed)
    together = SparseNetworks(networks)
    own = normal(len(networks), 4, 5, seed=seed).requires_grad_()
    batches = own[0] if shared else own
    logits = together(batches)
    alone = [network(own[0] if shared else own[i]) for i, network in enumerate(networks)]
    torch.testing.assert_close(logits, torch.stack(alone))
    direction = normal(*logits.shape, seed=seed + 1)
    found = torch.autograd.grad(logits, [own, *together.parameters()], direction)
    wanted = [own, *(parameter for network in networks for parameter in network.parameters())]
    expected = torch.autograd.grad(alone, wanted, [*direction])
    torch.testing.assert_close(found[0], expected[0])
    for parameter, gradient in zip(together.parameters(), found[1:], strict=True):
        parameter.grad = gradient
    torch.testing.assert_close(gradients_of(together), [*expected[1:]])


def gradients_of(together: SparseNetworks) -> list[Tensor]:
    """Each member's, in its own order: a member whose weights are the gradients."""
    gradients = copy.deepcopy(together)
    with torch.no_grad():
        for parameter, source in zip(gradients.parameters(), together.parameters(), strict=True):
            assert source.grad is not None
            parameter.copy_(source.grad)
    members = [gradients.member(index) for index in range(len(gradients))]
    return [parameter.detach() for member in members for parameter in member.parameters()]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [(torch.float64, 1e-10), pytest.param(torch.float32, 1e-4, marks=pytest.mark.slow)],
)
def test_training_together_is_training_alone(dtype: torch.dtype, rtol: float, shared: bool) -> None:
    networks = [network.to(dtype) for network in networks_of(MIXED)]
    together = SparseNetworks(networks)
    images = normal(20, len(MIXED), 8, 5).to(dtype)  # for 20 steps
    images = images[:, :1].expand_as(images) if shared else images
    labels = torch.arange(20 * len(MIXED) * 8).view(20, len(MIXED), 8) % 3
    expected = [
        train(network, images[:, index], labels[:, index]) for index, network in enumerate(networks)
    ]
    found = train(together, images[:, 0] if shared else images, labels)
    torch.testing.assert_close(found, torch.stack(expected, dim=1), rtol=rtol, atol=0)
    for index, network in enumerate(networks):
        for one, other in zip(
            together.member(index).parameters(), network.parameters(), strict=True
        ):
            torch.testing.assert_close(one, other, rtol=rtol, atol=rtol)


def train(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """20 steps of Adam, the paper's but for a faster rate. -> (20,) or (20, M)."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=0.01)
    losses = []
    for batch, targets in zip(images, labels, strict=True):
        logits = network(batch)
        many = logits.ndim == 3
        loss = cross_entropies(logits, targets) if many else F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def test_a_member_is_the_network_that_was_given() -> None:
    networks = [network.eval() for network in networks_of(MIXED)]
    together = SparseNetworks(networks).eval()
    assert len(together) == len(networks)
    before = torch.get_rng_state()
    for index, network in enumerate(networks):
        member = together.member(index)
        assert not member.training
        for key, value in network.state_dict().items():
            assert torch.equal(member.state_dict()[key], value)
    assert torch.equal(torch.get_rng_state(), before)
    last = together.member(-1)
    assert torch.equal(last.input.weight, networks[-1].input.weight)
    with torch.no_grad():
        last.input.weight.zero_()  # a copy
    assert together.member(-1).input.weight.any()
    with pytest.raises(IndexError):
        together.member(len(networks))


def test_networks_given_are_copied_and_not_trained() -> None:
    networks = networks_of(MIXED)
    before = copy.deepcopy(networks)
    images, labels = normal(3, 8, 5), torch.arange(24).view(3, 8) % 3
    train(SparseNetworks(networks), images, labels)
    for one, other in zip(networks, before, strict=True):
        for key, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[key])


def test_a_state_makes_the_same_networks() -> None:
    together = SparseNetworks(networks_of(MIXED))
    other = SparseNetworks(networks_of(MIXED))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(together.state_dict())
    assert torch.equal(other(normal(4, 5)), together(normal(4, 5)))
    assert together(normal(0, 5)).shape == (len(MIXED), 0, 3)


def test_networks_of_different_kinds_are_refused() -> None:
    wide = network_of(4, 3, seed=0, outputs=4)
    for networks in ([], [network_of(4, 3, seed=0), wide], [wide, copy.deepcopy(wide).float()]):
        with pytest.raises(ValueError, match=f"the networks are of {len(networks)} kinds"):
            SparseNetworks(networks)


def test_cross_entropies_are_the_mean_of_each_member() -> None:
    logits, labels = normal(3, 4, 5), torch.arange(12).view(3, 4) % 5
    expected = [F.cross_entropy(*pair) for pair in zip(logits, labels, strict=True)]
    torch.testing.assert_close(cross_entropies(logits, labels), torch.stack(expected))
    shared = [F.cross_entropy(one, labels[0]) for one in logits]
    torch.testing.assert_close(cross_entropies(logits, labels[0]), torch.stack(shared))


def test_inputs_are_normalised_within_the_networks() -> None:
    plain = networks_of([(6, 10), (9, 12)])
    scaled = []
    for network in plain:
        state = {**network.state_dict(), "mean": torch.tensor(0.25), "std": torch.tensor(0.5)}
        edges, size = network.hidden.edges, len(network.hidden.bias)
        other = SparseNetwork(edges, size, inputs=5, outputs=3, mean=0.25, std=0.5).double()
        other.load_state_dict(state)
        scaled.append(other)
    images = normal(7, 5)
    expected = SparseNetworks(plain)((images - 0.25) / 0.5)
    together = SparseNetworks(scaled)
    torch.testing.assert_close(together(images), expected)
    torch.testing.assert_close(scaled[1](images), expected[1])
    assert (float(together.member(0).mean), float(together.member(0).std)) == (0.25, 0.5)
    with pytest.raises(ValueError, match="2 kinds"):
        SparseNetworks([plain[0], scaled[1]])


def test_a_mean_of_0_and_a_deviation_of_1_change_no_bit() -> None:
    """Networks that know of neither, from before there were such, say what they said."""
    network = network_of(9, 20, seed=0).float()
    images = normal(50, 5).float()
    raw = network.output(network.hidden(network.input(images).T).T)
    assert torch.equal(network(images), raw)
