r"""CNN2Graph (Trivedy & Latecki 2023): classifiers that compare an image with a proxy set.

The letters are the paper's: $X$ the embeddings of the images of a batch, $L$ those of the anchors
(images that stand for their classes), $P$ the proxies (learned vectors of the same width, assigned
to classes), $L'$ and $P'$ what an image receives from either, $\omega$ how all that becomes one.

An image aggregates the proxy set alone, never another image. So its logits are the same in
any batch (once batch normalisation is frozen), and cost the same however many images came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from quire.models.classifier import NormalisedEncoder
from quire.models.cross_attention import GraphAttention, ProxySet, TransformerAttention
from quire.models.proxy_aggregation import (
    Aggregate,
    AttentiveAggregation,
    Isotropic,
    IsotropicAggregation,
)

Kind: TypeAlias = Literal["gnn", "transformer", "mean", "max"]
Start: TypeAlias = Literal["random", "similar"]


@dataclass(frozen=True, kw_only=True)
class CNN2GraphConfig:
    """What a head is made of. Of the numbers the paper gives `proxies` alone.

    Raises:
        ValueError: a number is outside its range, a word is none of those to choose from, or
            images would be told apart by nothing.
    """

    kind: Kind = "transformer"
    heads: int = 4  # of the attention; they share the width of the embedding
    aggregate: Aggregate = "cat"  # omega, of the attention
    own: bool = True  # whether omega sees the image's own embedding (Table 3: not)
    proxies: int = 1  # of each class (Table 6: 1, 3, 5)
    dropout: float = 0.0  # of the attention's weights
    slope: float = 0.2  # of the LeakyReLU of "gnn"
    shared_score: bool = True  # whether the heads of "gnn" share a
    start: Start = "random"  # of the attention of "transformer": see `TransformerAttention.liken`
    degree: int = 256  # images that a node of the proxy set is joined to in "mean": a batch

    def __post_init__(self) -> None:
        for name in ("heads", "proxies", "degree"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be in [0, 1)")
        for name, choice in {"kind": Kind, "aggregate": Aggregate, "start": Start}.items():
            if (value := getattr(self, name)) not in get_args(choice):
                raise ValueError(f"{name} is {value!r}; it must be one of {get_args(choice)}")
        if self.start != "random" and self.kind != "transformer":
            raise ValueError(f"start is {self.start!r}, but {self.kind!r} has no queries and keys")
        if self.kind in get_args(Isotropic) and not self.own:
            raise ValueError(f"own is False; with {self.kind!r} all images would be alike")


@dataclass(frozen=True, slots=True)
class Look:
    """What a head makes of a batch, and what it looked at. Isotropic heads attend to nothing."""

    logits: Tensor  # (B, C)
    embeddings: Tensor  # (B, F): X, as it was given
    aggregated: Tensor  # (B, F or a multiple): what the classifier sees
    anchor_attention: Tensor  # (B, heads, A), rows sum to 1; (B, 0, A) if isotropic
    proxy_attention: Tensor  # (B, heads, P), rows sum to 1; (B, 0, P) if isotropic


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one sort, with their logits."""

    embeddings: Tensor  # (N, F)
    logits: Tensor  # (N, C)


@dataclass(frozen=True, slots=True)
class Joint:
    """All nodes of a training step: what the losses are made of."""

    images: Nodes
    anchors: Nodes
    proxies: Nodes


class CNN2GraphHead(nn.Module):
    r"""Computes $W z + b$ with z what the aggregation makes of an embedding and a proxy set.

    One classifier serves images, anchors and proxies: anchors and proxies are queries like any
    other when they are classified, and receive from the proxy set that they are in.

    >>> head = CNN2GraphHead(8, 10, CNN2GraphConfig(kind="gnn", heads=2))
    >>> head(torch.randn(5, 8), head.prepare(torch.randn(10, 8))).shape
    torch.Size([5, 10])

    Raises:
        ValueError: the width cannot be shared by the heads.
    """

    proxy_labels: Tensor  # (P,) int64: the class of each proxy, class after class

    def __init__(self, features: int, classes: int, config: CNN2GraphConfig | None = None) -> None:
        super().__init__()
        config = config or CNN2GraphConfig()
        self.aggregation = _aggregation(features, config)
        self.proxies = nn.Parameter(torch.empty(classes * config.proxies, features))
        nn.init.kaiming_normal_(self.proxies)  # He et al. 2015
        labels = torch.arange(classes).repeat_interleave(config.proxies)
        self.register_buffer("proxy_labels", labels, persistent=False)
        attentive = isinstance(self.aggregation, AttentiveAggregation)
        parts = 2 + config.own if attentive and config.aggregate == "cat" else 1
        self.final = nn.Linear(parts * features, classes)

    def liken(self, features: Tensor) -> None:
        """Let attention begin as likeness: of some features as they are before training. (N, F)."""
        attention = self.aggregation.attention  # as the configuration made sure
        assert isinstance(attention, TransformerAttention)
        attention.liken(features, self.proxies)

    def prepare(self, anchors: Tensor) -> ProxySet:
        """What images are compared with: the given anchors, and the proxies. (A, F) -> …"""
        return self.aggregation.prepare(anchors, self.proxies)

    def forward(self, features: Tensor, proxy_set: ProxySet) -> Tensor:
        """Logits of each image for itself. (B, F) -> (B, C)."""
        return self.look(features, proxy_set).logits

    def look(self, features: Tensor, proxy_set: ProxySet) -> Look:
        """The logits, with all that led to them. (B, F) -> …"""
        combined, anchors, proxies = self.aggregation(features, proxy_set)
        return Look(
            logits=self.final(combined),
            embeddings=features,
            aggregated=combined,
            anchor_attention=anchors.transpose(0, 1),
            proxy_attention=proxies.transpose(0, 1),
        )

    def joint(self, features: Tensor, anchors: Tensor) -> Joint:
        """Images, anchors and proxies, all classified. (B, F), (A, F) -> …"""
        embeddings = (features, anchors, self.proxies)
        logits = self(torch.cat(embeddings), self.prepare(anchors)).split(
            list(map(len, embeddings))
        )
        return Joint(*(Nodes(*both) for both in zip(embeddings, logits, strict=True)))


class CNN2Graph(NormalisedEncoder):
    """Computes head(encoder((x - mean) / std)): CNN2GNN, CNN2Transformer or an isotropic one.

    A step of training takes `joint`. To evaluate, `prepare` the anchors once, and call the model
    with what came out. Images are (B, channels, H, W), float in [0, 1].
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: CNN2GraphHead,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        resize: int | None = None,
    ) -> None:
        """See `NormalisedEncoder`."""
        super().__init__(encoder, mean=mean, std=std, resize=resize)
        self.head = head

    @torch.no_grad()
    def prepare(self, anchors: Tensor) -> ProxySet:
        """Embed the anchors for evaluation. (A, channels, H, W) -> a value for `forward`.

        It holds until a weight changes; no gradient flows back from it.

        Raises:
            RuntimeError: the model is in training mode, and would take their statistics.
        """
        if self.training:
            raise RuntimeError("the model is in training mode; call eval() before prepare()")
        return self.head.prepare(self.features(anchors))

    @torch.no_grad()
    def liken(self, anchors: Tensor) -> None:
        """Let attention begin as likeness, before training. (A, channels, H, W), A > 1.

        Batch normalisation takes the statistics of these images, as it does in a step, and keeps
        none of them.
        """
        before = {name: buffer.clone() for name, buffer in self.encoder.named_buffers()}
        training = self.training
        self.train()
        self.head.liken(self.features(anchors))
        self.train(training)
        for name, buffer in self.encoder.named_buffers():
            buffer.copy_(before[name])

    def forward(self, images: Tensor, proxy_set: ProxySet) -> Tensor:
        """Logits of each image for itself. (B, channels, H, W) -> (B, C)."""
        logits: Tensor = self.head(self.features(images), proxy_set)
        return logits

    def look(self, images: Tensor, proxy_set: ProxySet) -> Look:
        """The logits, with all that led to them. (B, channels, H, W) -> …"""
        return self.head.look(self.features(images), proxy_set)

    def joint(self, images: Tensor, anchors: Tensor) -> Joint:
        """Embed images and anchors as one batch, and classify all nodes: a step of training.

        (B, channels, H, W), (A, channels, H, W) -> … Batch normalisation sees them together.
        """
        features = self.features(torch.cat([images, anchors]))
        return self.head.joint(*features.split([len(images), len(anchors)]))


def _aggregation(
    features: int, config: CNN2GraphConfig
) -> AttentiveAggregation | IsotropicAggregation:
    if config.kind == "mean" or config.kind == "max":
        return IsotropicAggregation(config.kind, degree=config.degree)
    if features % config.heads:
        raise ValueError(f"{config.heads} heads cannot share {features} features equally")
    attention: GraphAttention | TransformerAttention
    if config.kind == "transformer":
        attention = TransformerAttention(features, heads=config.heads)
    else:
        attention = GraphAttention(
            features, heads=config.heads, slope=config.slope, shared_score=config.shared_score
        )
    return AttentiveAggregation(
        attention, aggregate=config.aggregate, own=config.own, dropout=config.dropout
    )
