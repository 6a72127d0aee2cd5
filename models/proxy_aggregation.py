r"""How an image and its proxy set become one representation (Trivedy & Latecki 2023, section 3).

With attention an image weighs the anchors and the proxies; without ("isotropic") it takes them all
alike. The letters: x is an image's embedding, $L'$ and $P'$ its messages from anchors and proxies.
"""

import functools
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.models.cross_attention import (
    GraphAttention,
    ProxySet,
    Side,
    TransformerAttention,
    message,
)

Isotropic: TypeAlias = Literal["mean", "max"]
Aggregate: TypeAlias = Literal["cat", "max", "sum"]


class AttentiveAggregation(nn.Module):
    r"""Computes $\omega(x, L', P')$ (Eq. 7), or $\omega(L', P')$ without the own embedding.

    $\omega$ sets side by side ("cat"), takes the greatest of each feature ("max"), or adds ("sum":
    line 7 of Algorithm 1 read to the letter).
    """

    def __init__(
        self,
        attention: GraphAttention | TransformerAttention,
        *,
        aggregate: Aggregate,
        own: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.aggregate = aggregate
        self.own = own
        self.dropout = dropout

    def prepare(self, anchors: Tensor, proxies: Tensor) -> ProxySet:
        """(A, F), (P, F) -> what queries attend to."""
        return self.attention.prepare(anchors, proxies)

    def forward(self, queries: Tensor, proxy_set: ProxySet) -> tuple[Tensor, Tensor, Tensor]:
        """(B, F) -> (B, F or a multiple), and the weights: (heads, B, A), (heads, B, P)."""
        weights = self.attention(queries, proxy_set)
        parts = [queries] if self.own else []
        for rows, side in zip(weights, (proxy_set.anchors, proxy_set.proxies), strict=True):
            received = message(F.dropout(rows, self.dropout, self.training), side)
            parts.append(received.to(queries.dtype))
        match self.aggregate:
            case "cat":
                combined = torch.cat(parts, dim=1)
            case "max":
                combined = functools.reduce(torch.maximum, parts)
            case "sum":
                combined = functools.reduce(torch.add, parts)
        return combined, *weights


class IsotropicAggregation(nn.Module):
    r"""Computes the image's row of $D^{-1/2} A D^{-1/2} [X \| P \| L]$ (Eq. 2), or a maximum.

    Every node has a loop to itself, so an image has the degree M + 1, where M is the size of the
    proxy set, and the others have `degree` + 1. The paper's `degree` is the size of the batch; here
    it is fixed, or an image's logits would change with the number of those beside it. With `degree`
    equal to M this is the plain mean.
    """

    def __init__(self, kind: Isotropic, *, degree: int) -> None:
        super().__init__()
        self.kind = kind
        self.degree = degree

    def prepare(self, anchors: Tensor, proxies: Tensor) -> ProxySet:
        """(A, F), (P, F) -> the same, as values of one head."""
        sides = (Side(keys=nodes[None], values=nodes[None]) for nodes in (anchors, proxies))
        return ProxySet(*sides)

    def forward(self, queries: Tensor, proxy_set: ProxySet) -> tuple[Tensor, Tensor, Tensor]:
        """(B, F) -> (B, F), and the weights of no heads: (0, B, A), (0, B, P)."""
        sides = [side.values[0] for side in (proxy_set.anchors, proxy_set.proxies)]
        others = torch.cat(sides)
        nowhere = [queries.new_empty(0, len(queries), len(side)) for side in sides]
        if self.kind == "max":
            combined = torch.maximum(queries, others.amax(dim=0))
        else:
            ends = len(others) + 1
            combined = queries / ends + others.sum(dim=0) / (ends * (self.degree + 1)) ** 0.5
        return combined, nowhere[0], nowhere[1]
