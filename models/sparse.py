"""Sparse networks with the structure of a graph (Ben Amor, Stier & Granitzer).

Nodes without predecessors receive all inputs; the outputs receive all nodes without successors, in
whatever layer they are. The paper connects the outputs to "neurons in the last layer", which has
few nodes or one: networks made so do not reach its accuracy.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from quire.models.sparse_hidden import HiddenGraph
from quire.models.sparse_init import INITIALISATIONS


class SparseNetwork(nn.Module):
    """Linear to the sources of a graph, the graph, linear from its sinks.

    Its parameters are those of connections that exist; ``hidden.weight[e]`` is ``edges[e]``'s.
    Inputs are normalised by `mean` and `std`, which are part of the state: whoever attacks an image
    does so in its own unit.

    Shape: ``(B, inputs) -> (B, outputs)``.

    >>> network = SparseNetwork(torch.tensor([[0, 1], [1, 2], [0, 2]]), 4, inputs=8, outputs=10)
    >>> network(torch.randn(5, 8)).shape
    torch.Size([5, 10])
    >>> network.num_parameters  # 8 * 2 + 3 + 10 * 2 weights, 4 + 10 biases
    53
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        edges: Tensor,
        size: int,
        *,
        inputs: int,
        outputs: int,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        """`edges` are (E, 2) int64 of (from, to) in [0, size), in any order.

        Weights are he_normal's of seed 0; `initialise` draws others.

        Raises:
            ValueError: the edges are no directed acyclic graph of `size` nodes.
        """
        super().__init__()
        self.hidden = HiddenGraph(edges, size)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        # no draw from the global generator for weights that are replaced below
        self.input = nn.utils.skip_init(nn.Linear, inputs, len(self.hidden.sources), bias=False)
        self.output = nn.utils.skip_init(nn.Linear, len(self.hidden.sinks), outputs)
        self.initialise("he_normal", generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialise(self, name: str, *, generator: torch.Generator) -> None:
        """Draw all weights, and biases where the method does. The generator is the CPU's.

        Raises:
            ValueError: `name` is none of INITIALISATIONS.
        """
        if name not in INITIALISATIONS:
            raise ValueError(f"initialisation is {name!r}; it must be one of {[*INITIALISATIONS]}")
        method = INITIALISATIONS[name]
        for weight, fan_in, fan_out in self._weights():
            weight.copy_(method.weights(fan_in, fan_out, generator=generator))
        for bias in (self.hidden.bias, self.output.bias):
            bias.copy_(method.bias(len(bias), generator=generator))

    def _weights(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All weights, each with the fans of the dense matrix that it would be part of."""
        for linear in (self.input, self.output):
            fans = torch.tensor([linear.in_features, linear.out_features], dtype=torch.float32)
            fan_in, fan_out = fans.view(2, 1, 1).expand(2, *linear.weight.shape)
            yield linear.weight, fan_in, fan_out
        hidden = self.hidden
        widths = hidden.layer.bincount()[hidden.layer[hidden.edges]].float().cpu()
        yield hidden.weight, widths[:, 0], widths[:, 1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits. (B, inputs) -> (B, outputs); B may be 0."""
        normalised = (inputs - self.mean) / self.std
        logits: Tensor = self.output(self.hidden(self.input(normalised).T).T)
        return logits

    @property
    def num_parameters(self) -> int:
        """Weights of connections that exist, and biases: inputs S + E + outputs K + n + outputs."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def num_dense(self) -> int:
        """As `num_parameters`, with a full matrix for each pair of layers that share an edge."""
        hidden = self.hidden
        pairs = hidden.layer[hidden.edges].unique(dim=0)
        dense = int(hidden.layer.bincount()[pairs].prod(dim=1).sum())
        return self.num_parameters - len(hidden.edges) + dense
