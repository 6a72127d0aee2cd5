r"""The seven losses of CNN2Graph (Trivedy & Latecki 2023, section 3.4).

Four compare directions: every embedding is brought to length 1 first. $L_{at}$ and $L_{pt}$ are
triplet losses whose sources are the anchors and the proxies and whose positives and negatives are
the images of the batch; in $L_{ap}$ the sources are anchors, and the others proxies; $L_p$ is a
contrastive loss among the proxies. Three are cross-entropies: of images, anchors and proxies.

Every valid triplet and pair is taken, so nothing is drawn. Distances are computed in float32 at
least, under autocast too.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.models.cnn2graph import Joint, Nodes

Over: TypeAlias = Literal["valid", "active"]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the paper leaves open: the margins, and what a triplet loss is a mean over.

    Raises:
        ValueError: a margin is negative, or a word is none of those to choose from.
    """

    triplet_margin: float = 0.2  # Schroff et al. 2015
    contrastive_margin: float = 1.0  # Hadsell et al. 2006
    over: Over = "valid"  # all triplets, or those whose hinge is open

    def __post_init__(self) -> None:
        for name in ("triplet_margin", "contrastive_margin"):
            if not (value := getattr(self, name)) >= 0:
                raise ValueError(f"{name} is {value}; it must be at least 0")
        if self.over not in get_args(Over):
            raise ValueError(f"over is {self.over!r}; it must be one of {get_args(Over)}")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What each of the seven losses is multiplied by; in the paper, nothing.

    Raises:
        ValueError: a weight is negative, infinite or not a number.
    """

    at: float = 1.0  # triplets: anchors, and images
    pt: float = 1.0  # triplets: proxies, and images
    ap: float = 1.0  # triplets: anchors, and proxies
    p: float = 1.0  # pairs of proxies
    ce_images: float = 1.0  # cross-entropy of images
    ce_anchors: float = 1.0  # cross-entropy of anchors
    ce_proxies: float = 1.0  # cross-entropy of proxies

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value < math.inf:
                raise ValueError(f"the weight of {name} is {value}; it must be at least 0")


@dataclass(frozen=True, slots=True)
class Term:
    """A loss, and what it is a mean of. The mean over the active is value * valid / active."""

    value: Tensor  # ()
    valid: Tensor  # () int64: triplets, pairs, or nodes
    active: Tensor  # () int64: those of them that add more than 0


def losses(
    joint: Joint,
    labels: Tensor,
    anchor_labels: Tensor,
    proxy_labels: Tensor,
    config: LossConfig | None = None,
) -> dict[str, Term]:
    """All terms by name: at, pt, ap and p (Eqs. 11 to 14), ce_images, ce_anchors, ce_proxies.

    A class that the batch lacks takes no part in at and pt; without a single triplet or pair a
    term is 0, and so is its gradient.

    Args:
        joint: the nodes of a step.
        labels: (B,) int64, of the images.
        anchor_labels: (A,) int64; a class may have any number of anchors.
        proxy_labels: (P,) int64; a class may have any number of proxies.
        config: margins, and the mean.
    """
    config = config or LossConfig()
    margin, over = config.triplet_margin, config.over
    images, anchors, proxies = (
        _directions(nodes.embeddings) for nodes in (joint.images, joint.anchors, joint.proxies)
    )
    with torch.autocast(images.device.type, enabled=False):
        return {
            "at": triplet_loss(anchors @ images.T, anchor_labels, labels, margin=margin, over=over),
            "pt": triplet_loss(proxies @ images.T, proxy_labels, labels, margin=margin, over=over),
            "ap": triplet_loss(
                anchors @ proxies.T, anchor_labels, proxy_labels, margin=margin, over=over
            ),
            "p": contrastive_loss(
                proxies @ proxies.T, proxy_labels, margin=config.contrastive_margin
            ),
            "ce_images": _cross_entropy(joint.images, labels),
            "ce_anchors": _cross_entropy(joint.anchors, anchor_labels),
            "ce_proxies": _cross_entropy(joint.proxies, proxy_labels),
        }


def total(terms: Mapping[str, Term], weights: LossWeights | None = None) -> Tensor:
    """The sum of all seven terms (Eq. 17), each times its weight. -> ()."""
    factors = asdict(weights or LossWeights())
    return torch.stack([factors[name] * term.value for name, term in terms.items()]).sum()


def triplet_loss(
    cosines: Tensor, sources: Tensor, others: Tensor, *, margin: float, over: Over = "valid"
) -> Term:
    r"""Mean of $\max(|s - g|^2 - |s - n|^2 + \alpha, 0)$ over triplets of unit vectors (Eq. 8).

    A source s, a positive g of the class of s and a negative n of another are a valid triplet.

    Args:
        cosines: (S, N) of each source with each of those that are positives and negatives.
        sources: (S,) int64, the class of each source.
        others: (N,) int64, the class of each of the others.
        margin: alpha.
        over: what the mean is over; "active" are the triplets that add more than 0.

    >>> cosines = torch.tensor([[1.0, 0.0, 0.95]])
    >>> triplet_loss(cosines, torch.tensor([7]), torch.tensor([7, 8, 8]), margin=0.2).value
    tensor(0.0500)
    """
    alike = sources.unsqueeze(1) == others  # (S, N)
    source, positive = alike.nonzero(as_tuple=True)  # few: only they meet all N
    # squared distances of unit vectors are 2 - 2 cos
    hinges = 2 * (cosines[source] - cosines[source, positive].unsqueeze(1)) + margin
    hinges = hinges.relu().masked_fill(alike[source], 0)
    valid, active = (~alike[source]).sum(), (hinges > 0).sum()
    counted = valid if over == "valid" else active
    return Term(hinges.sum() / counted.clamp(min=1), valid, active)


def contrastive_loss(cosines: Tensor, labels: Tensor, *, margin: float) -> Term:
    r"""Mean over pairs of $D^2 / 2$, or $\max(0, \alpha - D)^2 / 2$ if the classes differ (Eq. 10).

    D is the distance of two unit vectors. As Hadsell et al. have it, vectors of one class are drawn
    together and those of different classes pushed apart (the paper's sentence on Y would have it
    the other way round). Two that are the same vector are not pushed: there is no direction.

    Args:
        cosines: (N, N) of the vectors with each other.
        labels: (N,) int64.
        margin: alpha.
    """
    first, second = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    squared = 2 - 2 * cosines[first, second]  # each pair once
    apart = squared > 0
    distance = squared.where(apart, 1).sqrt().where(apart, 0)  # the root has no slope at 0
    pushed = (margin - distance).relu().square()
    values = torch.where(labels[first] == labels[second], squared, pushed) / 2
    valid = torch.full_like(first.sum(), len(first))
    return Term(values.sum() / valid.clamp(min=1), valid, (values > 0).sum())


def _cross_entropy(nodes: Nodes, labels: Tensor) -> Term:
    """The mean over nodes; 0 for none."""
    logits = nodes.logits.to(torch.promote_types(nodes.logits.dtype, torch.float32))
    values = F.cross_entropy(logits, labels, reduction="none")
    return Term(
        values.sum() / max(1, len(values)),
        torch.full_like(labels.sum(), len(values)),
        (values > 0).sum(),
    )


def _directions(x: Tensor) -> Tensor:
    """Rows of length 1, zero rows as they are. (N, F) -> (N, F), float32 at least."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    lengths = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    divisors: Tensor = lengths.where(lengths > 0, 1)  # not a tiny number: gradients would be huge
    return x / divisors
