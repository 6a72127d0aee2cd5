"""What a discriminator sees of a batch, against naive loops in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from quire.models.batch_features import (
    EdgeGraph,
    EdgeGraphConfig,
    EdgeHead,
    MinibatchConfig,
    MinibatchDiscrimination,
)

BATCH, FEATURES = 6, 7
MINIBATCH = MinibatchConfig(kernels=4, kernel_width=3)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def minibatch(config: MinibatchConfig) -> MinibatchDiscrimination:
    layer = MinibatchDiscrimination(FEATURES, config).double()
    layer.load_state_dict(
        {
            "theta": normal(*layer.theta.shape, seed=1),
            "log_scale": 0.3 * normal(*layer.log_scale.shape, seed=2),
            "bias": normal(*layer.bias.shape, seed=3),
        }
    )
    return layer


def test_minibatch_discrimination_is_a_naive_sum() -> None:
    layer, h = minibatch(MINIBATCH), normal(BATCH, FEATURES)
    theta, scale, bias = layer.theta.tolist(), layer.log_scale.tolist(), layer.bias.tolist()
    expected = []
    for i in range(BATCH):
        row = []
        for k in range(4):
            total = bias[k]
            for j in range(BATCH):
                distance = 0.0
                for c in range(3):
                    column = [theta[f][k][c] for f in range(FEATURES)]
                    length = math.sqrt(math.fsum(x * x for x in column))
                    weight = [x * math.exp(scale[k][c]) / length for x in column]
                    own, other = (
                        math.fsum(w * x for w, x in zip(weight, h[n].tolist(), strict=True))
                        for n in (i, j)
                    )
                    distance += abs(own - other)
                if j != i:
                    total += math.exp(-distance)
            row.append(total)
        expected.append(row)
    torch.testing.assert_close(layer(h), torch.tensor(expected, dtype=torch.double))


def test_counting_oneself_adds_one() -> None:
    without, within = (
        minibatch(MINIBATCH),
        minibatch(MinibatchConfig(kernels=4, kernel_width=3, include_self=True)),
    )
    h = normal(BATCH, FEATURES)
    torch.testing.assert_close(within(h) - 1, without(h))


@pytest.mark.parametrize("include_self", [False, True])
def test_a_batch_all_alike_is_as_close_as_can_be(include_self: bool) -> None:
    layer = MinibatchDiscrimination(FEATURES, MinibatchConfig(include_self=include_self))
    found = layer(torch.ones(BATCH, FEATURES))
    expected = BATCH - 1 + include_self + layer.bias.detach()
    torch.testing.assert_close(found, expected.expand(BATCH, -1))


@pytest.mark.parametrize("edge", ["difference", "concat"])
def test_edges_are_summed_as_equation_8_says(edge: str) -> None:
    config = EdgeGraphConfig(heads=2, head_width=3, hidden=5, edge_width=4, edge=edge)  # type: ignore[arg-type]
    torch.manual_seed(0)
    layer, h = EdgeGraph(FEATURES, config).double(), normal(BATCH, FEATURES)
    found = layer(h)
    assert found.shape == (BATCH, layer.outputs)
    for n, head in enumerate(layer.heads):
        assert isinstance(head, EdgeHead)
        for i in range(BATCH):
            total = torch.zeros(4, dtype=torch.double)
            for j in range(BATCH):
                a, b = head.project.weight @ h[i], head.project.weight @ h[j]
                pair = (a - b).abs() if edge == "difference" else torch.cat([a, b])
                total += head.final(head.activation(head.hidden(pair)))
            torch.testing.assert_close(found[i, 4 * n : 4 * n + 4], total)


def test_minibatch_discrimination_is_the_special_case_of_exponentials() -> None:
    """Of absolute differences, phi = exp(-sum) and one head a kernel; the sum has j = i in it."""
    layer, h = (
        minibatch(MinibatchConfig(kernels=4, kernel_width=3, include_self=True)),
        normal(6, 7),
    )

    class Exponential(torch.nn.Module):
        def forward(self, edges: Tensor) -> Tensor:
            return (-edges.sum(dim=-1, keepdim=True)).exp()

    weight = layer.theta * (layer.log_scale.exp() / layer.theta.norm(dim=0))
    config = EdgeGraphConfig(heads=4, head_width=3, hidden=3, edge_width=1)
    for kernel in range(4):
        head = EdgeHead(FEATURES, config).double()
        head.activation = Exponential()  # type: ignore[assignment]
        values = {
            "project.weight": weight[:, kernel].mT,
            "hidden.weight": torch.eye(3).double(),
            "hidden.bias": torch.zeros(3).double(),
            "final.weight": torch.ones(1, 1).double(),
            "final.bias": torch.zeros(1).double(),
        }
        edges = functional_call(head, values, (h,))
        torch.testing.assert_close(edges[:, 0] + layer.bias[kernel], layer(h)[:, kernel])


@pytest.mark.parametrize("layer", [EdgeGraph(FEATURES), MinibatchDiscrimination(FEATURES)])
def test_the_order_of_a_batch_says_nothing(layer: torch.nn.Module) -> None:
    h, order = normal(BATCH, FEATURES), torch.tensor([3, 1, 5, 0, 2, 4])
    layer = layer.double()
    torch.testing.assert_close(layer(h[order]), layer(h)[order])


@pytest.mark.parametrize("layer", [EdgeGraph(FEATURES), MinibatchDiscrimination(FEATURES)])
def test_gradients_are_those_of_finite_differences(layer: torch.nn.Module) -> None:
    h = normal(4, FEATURES).requires_grad_()
    assert torch.autograd.gradcheck(layer.double(), (h,))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="kernels is 0; it must be at least 1"):
        MinibatchConfig(kernels=0)
    with pytest.raises(ValueError, match="heads is 0"):
        EdgeGraphConfig(heads=0)
    with pytest.raises(ValueError, match="edge is 'sum'; it must be one of"):
        EdgeGraphConfig(edge="sum")  # type: ignore[arg-type]
