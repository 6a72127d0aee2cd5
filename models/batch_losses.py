r"""Losses of the rivals of similarity graphs: contrast, affinity and self-distillation of a batch.

They are pure functions of embeddings, features and logits; nothing in them is learned.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def supervised_contrastive(
    embeddings: Tensor, labels: Tensor, *, temperature: float = 0.07, base: float = 0.07
) -> Tensor:
    r"""Supervised contrastive learning (Khosla et al. 2020, Eq. 2), all views as anchors. -> ().

    (V, B, D) vectors of length 1, (B,) int64. Of the N = VB vectors,

    $$\frac{\tau}{\tau_0} \frac{1}{N} \sum_i \frac{-1}{|P(i)|} \sum_{p \in P(i)}
    \log \frac{e^{z_i \cdot z_p / \tau}}{\sum_{a \ne i} e^{z_i \cdot z_a / \tau}}$$

    where $P(i)$ are the others of the label of i, its own other views among them. One without such
    counts 0. All is in float32 at least.
    """
    z = embeddings.flatten(0, 1)
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    same = labels.repeat(len(embeddings))
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (same[:, None] == same) & ~itself
    logits = (_products(z) / temperature).masked_fill(itself, -torch.inf)
    shares = logits - logits.logsumexp(dim=1, keepdim=True)
    total = shares.masked_fill(~positive, 0).sum(dim=1)
    each = -total / positive.sum(dim=1).clamp(min=1)
    return temperature / base * each.mean()


def log_affinity_mass(features: Tensor, labels: Tensor) -> Tensor:
    r"""The log of how much affinity is within classes (Wang et al. 2020, affinity mass). -> ().

    (B, F), (B,) int64. $M = \sum_{i \ne j,\, y_i = y_j} \mathrm{softmax}(\omega)_{ij}$ over all
    pairs $i \ne j$, $\omega_{ij} = -\|f_i - f_j\|^2 / 2$. With the diagonal, whose affinity is the
    largest there can be, M could not come near 1. $-\infty$ where no pair is of one class.
    """
    f = features.to(torch.promote_types(features.dtype, torch.float32))
    squares = f.square().sum(dim=1)
    affinity = _products(f) - (squares[:, None] + squares) / 2
    itself = torch.eye(len(f), dtype=torch.bool, device=f.device)
    pairs = affinity.masked_fill(itself, -torch.inf)
    others = labels[:, None] != labels
    return pairs.masked_fill(others, -torch.inf).flatten().logsumexp(0) - pairs.flatten().logsumexp(
        0
    )


def affinity_loss(features: Tensor, labels: Tensor, *, gamma: float = 2.0) -> Tensor:
    r"""$-(1 - M)^\gamma \log M$ of the affinity mass M; 0 where no pair is of one class. -> ()."""
    same = labels[:, None] == labels
    if int(same.sum()) == len(labels):
        return features.sum() * 0
    log_mass = log_affinity_mass(features, labels)
    rest = (-torch.expm1(log_mass)).clamp(min=0)
    return -(rest**gamma) * log_mass


def mutual_distillation(one: Tensor, other: Tensor, *, temperature: float = 3.0) -> Tensor:
    r"""How far two views of a batch differ in what they say. (B, C), (B, C) logits -> ().

    $T^2 \frac12 (\mathrm{KL}(q \| p) + \mathrm{KL}(p \| q))$ of the softmax at temperature T, each
    with the first distribution as a target without gradient, in the mean over the batch.
    """
    p, q = (F.log_softmax(logits.float() / temperature, dim=1) for logits in (one, other))
    ways = F.kl_div(p, q.detach(), reduction="batchmean", log_target=True) + F.kl_div(
        q, p.detach(), reduction="batchmean", log_target=True
    )
    return temperature**2 * ways / 2


def mean_discrepancy(one: Tensor, other: Tensor) -> Tensor:
    """The squared distance of the mean features of two views of a batch. (B, F), (B, F) -> ()."""
    return (one.float().mean(dim=0) - other.float().mean(dim=0)).square().sum()


def _products(rows: Tensor) -> Tensor:
    """Of all pairs of rows, in their own precision whatever the autocast. (N, D) -> (N, N)."""
    with torch.autocast(rows.device.type, enabled=False):
        return rows @ rows.T
