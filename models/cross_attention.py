r"""Cross-attention from images to anchors and to proxies (Trivedy & Latecki 2023, section 3.3).

An image is a node that is joined to every anchor (an image too, with a known class) and to every
proxy (a learned vector), and to no other image. What it receives from either set is a weighted sum
of values. Each set has a softmax of its own, so the weights over the anchors sum to 1, and those
over the proxies do. An image's own features are in neither.

Nothing here depends on how many queries come together: each is attended for alone.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True, slots=True)
class Side:
    """Anchors, or proxies, as whoever attends to them sees them."""

    keys: Tensor  # (heads, M, d)
    values: Tensor  # (heads, M, d)


@dataclass(frozen=True, slots=True)
class ProxySet:
    """All that a query attends to, projected once for however many queries."""

    anchors: Side
    proxies: Side


class GraphAttention(nn.Module):
    r"""Computes $\alpha_{ij} = \mathrm{softmax}_j\, a^T \mathrm{LeakyReLU}(W_1 x_i + W_2 g_j)$.

    GATv2 (Brody et al. 2022; Algorithm 1 of CNN2Graph): i is an image, j an anchor or a proxy, and
    $W_2 g_j$ is the value too. Both sets share the weights, but not the softmax.

    Shape: ``(B, F) -> (heads, B, A), (heads, B, P)``.
    """

    def __init__(
        self,
        features: int,
        *,
        heads: int = 1,
        slope: float = 0.2,
        shared_score: bool = True,
        at_once: int = 1 << 26,
    ) -> None:
        """`shared_score` gives all heads one a, as the layer that the paper adapts has it.

        `at_once` bounds the memory: of the B x M x F sums so many are held at a time. Where there
        are more, they are computed again in the backward pass.
        """
        super().__init__()
        self.heads = heads
        self.slope = slope
        self.at_once = at_once
        self.w1 = nn.Linear(features, features, bias=False)
        self.w2 = nn.Linear(features, features, bias=False)
        self.score = nn.Parameter(torch.empty(1 if shared_score else heads, features // heads))
        bound = self.score.shape[1] ** -0.5  # of a linear layer from d numbers to one
        nn.init.uniform_(self.score, -bound, bound)

    def prepare(self, anchors: Tensor, proxies: Tensor) -> ProxySet:
        """(A, F), (P, F) -> what queries attend to."""
        sides = (_by_head(self.w2(nodes), self.heads) for nodes in (anchors, proxies))
        return ProxySet(*(Side(keys=side, values=side) for side in sides))

    def forward(self, queries: Tensor, proxy_set: ProxySet) -> tuple[Tensor, Tensor]:
        """The weights over the anchors and over the proxies; float32 at least."""
        own = _by_head(self.w1(queries), self.heads)
        anchors, proxies = (
            self._scores(own, side.keys) for side in (proxy_set.anchors, proxy_set.proxies)
        )
        return _softmax(anchors), _softmax(proxies)

    def _scores(self, own: Tensor, keys: Tensor) -> Tensor:
        """(heads, B, d), (heads, M, d) -> (heads, B, M)."""
        rows = max(1, self.at_once // max(1, keys.numel()))
        if own.shape[1] <= rows:
            return self._scores_at_once(own, keys)
        parts: list[Tensor] = [
            checkpoint(self._scores_at_once, part, keys, use_reentrant=False)
            for part in own.split(rows, dim=1)
        ]
        return torch.cat(parts, dim=1)

    def _scores_at_once(self, own: Tensor, keys: Tensor) -> Tensor:
        sums = F.leaky_relu(own.unsqueeze(2) + keys.unsqueeze(1), self.slope)  # (heads, B, M, d)
        score = self.score.expand(self.heads, -1)
        return torch.einsum("hbmd,hd->hbm", sums, score.to(sums.dtype))


class TransformerAttention(nn.Module):
    r"""Computes $S(W_q x_i \cdot W_k g_j / \sqrt d)$, S the softmax over j (Eqs. 5 and 6).

    Anchors and proxies have each their own $W_k$ and $W_v$ (Eq. 6 prints the anchors' $W_k$ for the
    proxies; the sentence below it names two). d is the width of a head. No projection follows.

    Shape: ``(B, F) -> (heads, B, A), (heads, B, P)``.
    """

    def __init__(self, features: int, *, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(features, features, bias=False)
        self.anchor_key = nn.Linear(features, features, bias=False)
        self.anchor_value = nn.Linear(features, features, bias=False)
        self.proxy_key = nn.Linear(features, features, bias=False)
        self.proxy_value = nn.Linear(features, features, bias=False)

    @torch.no_grad()
    def liken(self, features: Tensor, proxies: Tensor) -> None:
        r"""Begin with $W_k = W_q$, so that a query attends to what is like it.

        Keys of random matrices of their own tell a query nothing, and where proxies are short
        beside features (a norm of 1.4 beside 20 or 40) all scores are near 0: attention is even,
        and hardly a gradient moves it. Those of proxies are multiplied by the ratio of the norms,
        so that both sets begin alike. (N, F), (P, F), neither of which is changed.
        """
        ratio = features.norm(dim=1).mean() / proxies.norm(dim=1).mean().clamp(min=1e-12)
        self.anchor_key.weight.copy_(self.query.weight)
        self.proxy_key.weight.copy_(ratio * self.query.weight)

    def prepare(self, anchors: Tensor, proxies: Tensor) -> ProxySet:
        """(A, F), (P, F) -> what queries attend to."""
        heads = self.heads
        return ProxySet(
            anchors=Side(
                keys=_by_head(self.anchor_key(anchors), heads),
                values=_by_head(self.anchor_value(anchors), heads),
            ),
            proxies=Side(
                keys=_by_head(self.proxy_key(proxies), heads),
                values=_by_head(self.proxy_value(proxies), heads),
            ),
        )

    def forward(self, queries: Tensor, proxy_set: ProxySet) -> tuple[Tensor, Tensor]:
        """The weights over the anchors and over the proxies; float32 at least."""
        own = _by_head(self.query(queries), self.heads)
        own = own / math.sqrt(own.shape[-1])
        anchors, proxies = (
            own @ side.keys.mT.to(own.dtype) for side in (proxy_set.anchors, proxy_set.proxies)
        )
        return _softmax(anchors), _softmax(proxies)


def message(weights: Tensor, side: Side) -> Tensor:
    """What each query receives, head beside head. (heads, B, M), heads x (M, d) -> (B, heads d).

    >>> side = Side(keys=torch.empty(1, 2, 2), values=torch.tensor([[[1.0, 0.0], [0.0, 4.0]]]))
    >>> message(torch.tensor([[[0.25, 0.75]]]), side)
    tensor([[0.2500, 3.0000]])
    """
    received: Tensor = weights.to(side.values.dtype) @ side.values  # (heads, B, d)
    return received.transpose(0, 1).flatten(1)


def _by_head(nodes: Tensor, heads: int) -> Tensor:
    """(N, heads d) -> (heads, N, d)."""
    by_head: Tensor = nodes.unflatten(1, (heads, -1))
    return by_head.transpose(0, 1)


def _softmax(scores: Tensor) -> Tensor:
    """Over the last dimension, in float32 at least."""
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
