r"""Layers by which a discriminator compares each sample of a batch with all of it.

Minibatch discrimination (Salimans et al. 2016, section 3.2) and what Mondal, Jain & Siddiqi 2021
(earlier version, Eq. 8) make of it: features of the edges of a complete graph over the batch,
summed for each node. Real and generated batches are to be given apart: a row of the result hangs
on every row that it was given with.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

Edge: TypeAlias = Literal["difference", "concat"]


@dataclass(frozen=True, kw_only=True)
class MinibatchConfig:
    """The constants of minibatch discrimination; the defaults are those of its reference.

    Raises:
        ValueError: a number is below 1.
    """

    kernels: int = 100
    """Numbers that a sample is given: how close others are to it, each in other coordinates."""
    kernel_width: int = 5
    """Coordinates of each."""
    include_self: bool = False
    """Count the sample itself as one that is close: the paper's formula has it, its code not."""

    def __post_init__(self) -> None:
        _at_least_one(self, "kernels", "kernel_width")


@dataclass(frozen=True, kw_only=True)
class EdgeGraphConfig:
    """The sizes of MC-MBGNN, which the paper does not print: with these it has 1.6 million
    parameters at 64x64 where minibatch discrimination has 4.1 million.

    Raises:
        ValueError: a number is below 1, or a word is none of those to choose from.
    """

    heads: int = 3
    """Projections W_n, each with a perceptron phi_n of its own."""
    head_width: int = 64
    """Rows of W_n."""
    hidden: int = 64
    """Hidden units of phi_n."""
    edge_width: int = 32
    """Outputs of phi_n, which are summed over the batch."""
    edge: Edge = "difference"
    """What phi_n is given of two samples: the absolute difference of their projections, or both."""

    def __post_init__(self) -> None:
        _at_least_one(self, "heads", "head_width", "hidden", "edge_width")
        if self.edge not in get_args(Edge):
            raise ValueError(f"edge is {self.edge!r}; it must be one of {get_args(Edge)}")


class MinibatchDiscrimination(nn.Module):
    r"""Computes $o_{ik} = b_k + \sum_j e^{-\|M_{ik} - M_{jk}\|_1}$ with $M_i = h_i W$.

    The sum is over all j but i, or over all (`include_self`), which adds exactly 1. Columns of W
    have the length $e^{s}$, where s is learned, as in the reference.

    Shape: ``(B, F) -> (B, kernels)``.
    """

    def __init__(self, features: int, config: MinibatchConfig | None = None) -> None:
        super().__init__()
        config = config or MinibatchConfig()
        shape = config.kernels, config.kernel_width
        self.include_self = config.include_self
        self.theta = nn.Parameter(0.05 * torch.randn(features, *shape))
        self.log_scale = nn.Parameter(torch.zeros(shape))
        self.bias = nn.Parameter(torch.full(shape[:1], -1.0))

    @property
    def outputs(self) -> int:
        """Numbers that a sample is given."""
        return len(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, kernels)."""
        weight = self.theta * (self.log_scale.exp() / self.theta.norm(dim=0))
        coordinates = (features @ weight.flatten(1)).unflatten(1, self.log_scale.shape)
        distances = (coordinates.unsqueeze(1) - coordinates).abs().sum(dim=-1)  # (B, B, kernels)
        closeness = (-distances).exp()
        if not self.include_self:
            itself = torch.eye(len(features), dtype=torch.bool, device=features.device)
            closeness = closeness.masked_fill(itself.unsqueeze(-1), 0)
        summed: Tensor = closeness.sum(dim=1)
        return summed + self.bias


class EdgeGraph(nn.Module):
    r"""Computes $\bar h_i^n = \sum_{j=1}^B \phi_n(\psi(W_n h_i, W_n h_j))$ for each head n (Eq. 8).

    j = i is one of the sum. $\phi_n$ is a perceptron with a hidden layer.

    Shape: ``(B, F) -> (B, heads x edge_width)``.
    """

    def __init__(self, features: int, config: EdgeGraphConfig | None = None) -> None:
        super().__init__()
        config = config or EdgeGraphConfig()
        self.outputs = config.heads * config.edge_width
        self.heads = nn.ModuleList(EdgeHead(features, config) for _ in range(config.heads))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, heads x edge_width)."""
        return torch.cat([head(features) for head in self.heads], dim=1)


class EdgeHead(nn.Module):
    """One head of an `EdgeGraph`. Shape: ``(B, F) -> (B, edge_width)``."""

    def __init__(self, features: int, config: EdgeGraphConfig) -> None:
        super().__init__()
        self.edge = config.edge
        inputs = config.head_width * (2 if config.edge == "concat" else 1)
        self.project = nn.Linear(features, config.head_width, bias=False)
        self.hidden = nn.Linear(inputs, config.hidden)
        self.activation = nn.LeakyReLU(0.2)
        self.final = nn.Linear(config.hidden, config.edge_width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, edge_width)."""
        nodes = self.project(features)
        if self.edge == "concat":  # the layer's two halves, so that no pair is formed before it
            own, other = self.hidden.weight.chunk(2, dim=1)
            edges = (nodes @ own.mT).unsqueeze(1) + nodes @ other.mT + self.hidden.bias
        else:
            edges = self.hidden((nodes.unsqueeze(1) - nodes).abs())
        hidden = self.activation(edges)  # what follows is linear, so the sum may come first
        summed: Tensor = hidden.sum(dim=1) @ self.final.weight.mT
        return summed + len(features) * self.final.bias


def _at_least_one(config: MinibatchConfig | EdgeGraphConfig, *names: str) -> None:
    for name in names:
        if (value := getattr(config, name)) < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
