r"""Mini-batch similarity graphs (Mondal, Jain & Siddiqi 2021): classifiers that look around.

A batch of features is a graph: each node aggregates the k others that are most similar to it.
The letters are the paper's: $h_i$ a node's features, $\bar h = W h + b$ their projection,
$\mathcal N(i)$ the neighbours of node i, $A$ the adjacency, whose row i weighs them.

Everything here is a function of features (B, F). Who makes the batch decides what a node can see:
to join the batches of several ranks, gather their features first and take the loss over the
nodes that are wanted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CombineMode: TypeAlias = Literal["concat", "sum", "dropfeat"]
Granularity: TypeAlias = Literal["element", "node"]


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """What a head is made of. The paper gives k, layers, beta, p and heads; the widths are ours.

    Raises:
        ValueError: a number is outside its range, or a word is none of those to choose from.
    """

    k: int = 16  # neighbours of a node
    width: int = 512  # D, the rows of W
    layers: int = 1  # L
    combine: CombineMode = "dropfeat"
    beta: float = 0.5  # the weight of a node's own features in "sum"
    p: float = 0.5  # the probability of keeping a node's own features in "dropfeat"
    granularity: Granularity = "element"  # what "dropfeat" draws for: each number or each node
    attention: bool = False  # Attn-MBSG rather than MBSG
    heads: int = 3  # N, of the attention
    head_width: int = 128  # d', the rows of W_n
    score_width: int = 64  # of the hidden layer of phi_n

    def __post_init__(self) -> None:
        least = {"k": 0, "width": 1, "layers": 1, "heads": 1, "head_width": 1, "score_width": 1}
        for name, bound in least.items():
            if (value := getattr(self, name)) < bound:
                raise ValueError(f"{name} is {value}; it must be at least {bound}")
        for name in ("beta", "p"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {value}; it must be in [0, 1]")
        for name, choice in {"combine": CombineMode, "granularity": Granularity}.items():
            if (value := getattr(self, name)) not in get_args(choice):
                raise ValueError(f"{name} is {value!r}; it must be one of {get_args(choice)}")


def nearest(nodes: Tensor, context: Tensor | None = None, *, k: int) -> Tensor:
    """The neighbours of each node, most similar first: indices of the greatest cosines.

    (..., B, F) -> (..., B, min(k, B - 1)) int64: among the other nodes, never the node itself.
    (..., R, F), (..., M, F) -> (..., R, min(k, M)) int64: among the nodes of a context.

    A choice is not mutual, and no gradient flows through it. Cosines are computed in float32 at
    least, under autocast too. All-zero features have a cosine of 0 with everything; which of
    several that are equally similar are taken is left open.

    >>> nearest(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), k=1).tolist()
    [[1], [0], [1]]
    """
    with torch.no_grad(), torch.autocast(nodes.device.type, enabled=False):
        cosines = _directions(nodes) @ _directions(nodes if context is None else context).mT
        candidates = cosines.shape[-1]
        if context is None:
            itself = torch.eye(candidates, dtype=torch.bool, device=nodes.device)
            cosines = cosines.masked_fill(itself, -torch.inf)
            candidates = max(0, candidates - 1)
        return cosines.topk(min(k, candidates), dim=-1).indices


def adjacency(neighbours: Tensor, weights: Tensor, size: int) -> Tensor:
    """Each row's weights at its neighbours, 0 elsewhere.

    (..., R, k) int64 in [0, size), (..., R, k) -> (..., R, size).

    >>> adjacency(torch.tensor([[2, 0]]), torch.tensor([[0.25, 0.75]]), 4).tolist()
    [[0.75, 0.0, 0.25, 0.0]]
    """
    empty = weights.new_zeros(*weights.shape[:-1], size)
    return empty.scatter(-1, neighbours, weights)


class Concat(nn.Module):
    """Computes own ‖ neigh. Shape: ``(..., D), (..., D) -> (..., 2 D)``."""

    def forward(self, own: Tensor, neigh: Tensor) -> Tensor:
        """(..., D), (..., D) -> (..., 2 D)."""
        return torch.cat([own, neigh], dim=-1)


class WeightedSum(nn.Module):
    """Computes β own + (1 - β) neigh (Eq. 2). Shape: ``(..., D), (..., D) -> (..., D)``."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, own: Tensor, neigh: Tensor) -> Tensor:
        """(..., D), (..., D) -> (..., D)."""
        return self.beta * own + (1 - self.beta) * neigh


class DropFeatures(nn.Module):
    """Computes m own + (1 - m) neigh with m ~ Bernoulli(p); in evaluation m is its mean p (Eq. 3).

    m is drawn for each number, or once for each node. The paper's text has own features *dropped*
    with probability p, its Eq. 3 has them weigh p: the equation is followed.

    Shape: ``(..., D), (..., D) -> (..., D)``.
    """

    def __init__(self, p: float, *, granularity: Granularity = "element") -> None:
        super().__init__()
        self.p = p
        self.granularity = granularity

    def forward(self, own: Tensor, neigh: Tensor) -> Tensor:
        """(..., D), (..., D) -> (..., D)."""
        if not self.training:
            return self.p * own + (1 - self.p) * neigh
        masked = own if self.granularity == "element" else own[..., :1]
        kept = torch.rand(masked.shape, device=own.device) < self.p  # float32: bfloat16 is coarse
        return torch.where(kept, own, neigh)


class AttentionHead(nn.Module):
    r"""Computes $e_{ij} = \phi_n(|W_n h_i - W_n h_j|)$ for the neighbours j of each i (Eq. 4).

    $\phi_n$ is a perceptron with one hidden layer. Only (..., R, k, d') differences are formed.
    """

    def __init__(self, features: int, width: int, *, score_width: int) -> None:
        super().__init__()
        self.project = nn.Linear(features, width, bias=False)  # a bias would cancel
        self.score = nn.Sequential(
            nn.Linear(width, score_width), nn.ReLU(), nn.Linear(score_width, 1)
        )

    def forward(self, nodes: Tensor, context: Tensor, neighbours: Tensor) -> Tensor:
        """(..., R, F), (..., M, F), (..., R, k) int64 in [0, M) -> (..., R, k)."""
        own = self.project(nodes)
        others = own if context is nodes else self.project(context)
        scores: Tensor = self.score((own.unsqueeze(-2) - _take(others, neighbours)).abs())
        return scores.squeeze(-1)


class SimilarityGraphLayer(nn.Module):
    r"""Computes $\mathrm{combine}(\bar H, A \bar H)$: Eqs. 1 and 5, before their ReLU.

    Row i of $A$ weighs the neighbours of node i: equally where there are no heads (MBSG), else by
    the mean over the heads of the softmax of their scores (Attn-MBSG). It sums to 1, however few
    neighbours there are; with none at all (k = 0, or a node alone) it is zero, and so is
    $A \bar H$.
    """

    def __init__(
        self,
        features: int,
        width: int,
        *,
        k: int,
        combine: nn.Module,
        heads: Iterable[AttentionHead] = (),
    ) -> None:
        super().__init__()
        self.k = k
        self.linear = nn.Linear(features, width)
        self.combine = combine
        self.heads = nn.ModuleList(heads)

    def forward(self, nodes: Tensor, context: Tensor | None = None) -> Tensor:
        """(..., B, F) -> (..., B, D'), where D' is the width, or twice that if concatenated.

        (..., R, F), (..., M, F) -> (..., R, D'): nodes that aggregate a context, not each other.
        """
        own: Tensor = self.linear(nodes)
        others: Tensor = own if context is None else self.linear(context)
        graph = self.adjacency(nodes, context).to(own.dtype)
        combined: Tensor = self.combine(own, graph @ others)  # A is small beside (..., R, k, D)
        return combined

    def adjacency(self, nodes: Tensor, context: Tensor | None = None) -> Tensor:
        """(..., B, F) -> (..., B, B), or (..., R, F), (..., M, F) -> (..., R, M); >= float32."""
        neighbours = nearest(nodes, context, k=self.k)
        context = nodes if context is None else context
        dtype = _at_least_float32(nodes)
        if self.heads:
            scores = [head(nodes, context, neighbours) for head in self.heads]
            weights = torch.stack(scores).softmax(dim=-1, dtype=dtype).mean(dim=0)
        else:
            equal = 1 / max(1, neighbours.shape[-1])
            weights = torch.full(neighbours.shape, equal, dtype=dtype, device=nodes.device)
        return adjacency(neighbours, weights, context.shape[-2])


class SimilarityGraphHead(nn.Module):
    r"""Computes $\ell = W_{final} (h^{(1)} \| \dots \| h^{(L)})$ with $h^{(l+1)}$ = ReLU(layer l).

    $h^{(0)}$, the features, is not part of the readout (Eq. 6), which has no bias. Each layer
    makes its own graph from what it is given.

    >>> head = SimilarityGraphHead(8, 10, GraphConfig(k=2, attention=True))
    >>> head(torch.randn(5, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(self, features: int, classes: int, config: GraphConfig | None = None) -> None:
        super().__init__()
        config = config or GraphConfig()
        width = config.width * (2 if config.combine == "concat" else 1)
        inputs = [features] + [width] * (config.layers - 1)
        self.layers = nn.ModuleList(_layer(size, config) for size in inputs)
        self.final = nn.Linear(config.layers * width, classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of every node of a graph of all. (B, F) -> (B, C); B may be 1, or 0."""
        nodes, readout = features, []
        for layer in self.layers:
            nodes = layer(nodes).relu()
            readout.append(nodes)
        logits: Tensor = self.final(torch.cat(readout, dim=-1))
        return logits

    def transductive(self, queries: Tensor, context: Tensor, *, rows: int = 8192) -> Tensor:
        """Logits of each query as if it were alone with the context. (Q, F), (M, F) -> (Q, C).

        Equal to row 0 of ``self(torch.cat([query, context]))`` for each query, up to rounding: no
        query sees another. With one layer only the queries' rows are computed; with more, a query
        can change what its context says of itself, so every query has a graph of its own. `rows`
        bounds the memory: so many rows of graphs are computed at a time.

        Raises:
            RuntimeError: the head is in training mode.
        """
        if self.training:
            raise RuntimeError("the head is in training mode; call eval() before transductive()")
        rows_each = 1 if len(self.layers) == 1 else 1 + len(context)
        chunks = queries.split(max(1, rows // rows_each))
        return torch.cat([self._alone(chunk, context) for chunk in chunks])

    def _alone(self, queries: Tensor, context: Tensor) -> Tensor:
        """`transductive` for as many queries as fit into memory."""
        own, others = queries.unsqueeze(1), context  # (Q, 1, F); (M, F), then (Q, M, D')
        readout = []
        for layer in self.layers[:-1]:
            graphs = torch.cat([own, others.expand(len(own), -1, -1)], dim=1)
            own, others = layer(graphs).relu().split([1, others.shape[-2]], dim=1)
            readout.append(own)
        readout.append(self.layers[-1](own, others).relu())  # here nobody receives from a query
        logits: Tensor = self.final(torch.cat(readout, dim=-1).squeeze(1))
        return logits


class LinearHead(nn.Module):
    """Computes W h + b: the baseline, with a graph head's interface and no graph."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.final = nn.Linear(features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, C)."""
        logits: Tensor = self.final(features)
        return logits

    def transductive(self, queries: Tensor, context: Tensor) -> Tensor:
        """(Q, F), (M, F) -> (Q, C); the context says nothing here."""
        return self.forward(queries)


def _layer(features: int, config: GraphConfig) -> SimilarityGraphLayer:
    heads = (
        AttentionHead(features, config.head_width, score_width=config.score_width)
        for _ in range(config.heads if config.attention else 0)
    )
    return SimilarityGraphLayer(
        features, config.width, k=config.k, combine=_combination(config), heads=heads
    )


def _combination(config: GraphConfig) -> nn.Module:
    match config.combine:
        case "concat":
            return Concat()
        case "sum":
            return WeightedSum(config.beta)
        case "dropfeat":
            return DropFeatures(config.p, granularity=config.granularity)


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _directions(x: Tensor) -> Tensor:
    """Rows of length 1, zero rows as they are. (..., F) -> (..., F), float32 at least."""
    return F.normalize(x.to(_at_least_float32(x)), dim=-1)


def _take(nodes: Tensor, index: Tensor) -> Tensor:
    """The nodes that each row names, graph by graph. (..., M, d), (..., R, k) -> (..., R, k, d)."""
    *graphs, size, width = nodes.shape
    first = torch.arange(math.prod(graphs), device=index.device).view(*graphs, 1, 1) * size
    # an embedding: its backward pass is several times as fast as that of plain indexing
    return F.embedding(index + first, nodes.reshape(-1, width))
