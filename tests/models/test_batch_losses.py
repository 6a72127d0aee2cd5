"""Losses of a batch, each against naive loops in float64."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quire.models.batch_losses import (
    affinity_loss,
    log_affinity_mass,
    mean_discrepancy,
    mutual_distillation,
    supervised_contrastive,
)

LABELS = torch.tensor([0, 1, 0, 2, 1, 0])  # one class is alone


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def unit(*shape: int) -> Tensor:
    return F.normalize(normal(*shape), dim=-1)


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrast_is_a_naive_sum(views: int, temperature: float) -> None:
    z = unit(views, 6, 4)
    vectors = [(z[v, i].tolist(), int(LABELS[i])) for v, i in product(range(views), range(6))]
    total = 0.0
    for i, (own, label) in enumerate(vectors):
        others = [(other, y) for j, (other, y) in enumerate(vectors) if j != i]
        dots = [sum(a * b for a, b in zip(own, other, strict=True)) for other, _ in others]
        whole = sum(math.exp(dot / temperature) for dot in dots)
        positives = [dot for dot, (_, y) in zip(dots, others, strict=True) if y == label]
        if positives:
            logs = [math.log(math.exp(dot / temperature) / whole) for dot in positives]
            total -= sum(logs) / len(logs)
    expected = temperature / 0.07 * total / len(vectors)
    found = supervised_contrastive(z, LABELS, temperature=temperature)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_contrast_of_labels_that_all_differ_is_nt_xent() -> None:
    """Of SimCLR (Chen et al. 2020): the only positive is the other view."""
    z = unit(2, 6, 4)
    flat = z.flatten(0, 1)
    logits = (flat @ flat.T / 0.07).fill_diagonal_(-math.inf)
    expected = F.cross_entropy(logits, torch.cat([torch.arange(6, 12), torch.arange(6)]))
    found = supervised_contrastive(z, torch.arange(6))
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_contrast_of_one_view_without_positives_is_nothing() -> None:
    z = unit(1, 6, 4).requires_grad_()
    loss = supervised_contrastive(z, torch.arange(6))
    loss.backward()
    assert loss.item() == 0 and not z.grad.any()  # type: ignore[union-attr]


def test_contrast_has_a_gradient_where_vectors_are_equal() -> None:
    z = unit(1, 1, 4).expand(2, 6, 4).clone().requires_grad_()
    supervised_contrastive(z, LABELS).backward()
    assert z.grad is not None and z.grad.isfinite().all()
    assert torch.autograd.gradcheck(
        lambda x: supervised_contrastive(x, LABELS), unit(2, 6, 4).requires_grad_()
    )


def mass(features: Tensor, labels: Tensor) -> float:
    """Naive."""
    rows = features.tolist()
    pairs = {
        (i, j): math.exp(-sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True)) / 2)
        for i, j in product(range(len(rows)), repeat=2)
        if i != j
    }
    within = sum(weight for (i, j), weight in pairs.items() if labels[i] == labels[j])
    return within / sum(pairs.values())


def test_affinity_is_a_naive_sum() -> None:
    features = normal(6, 3)
    found = mass(features, LABELS)
    assert log_affinity_mass(features, LABELS).exp().item() == pytest.approx(found, rel=1e-12)
    for gamma in (0.0, 2.0):
        expected = -((1 - found) ** gamma) * math.log(found)
        loss = affinity_loss(features, LABELS, gamma=gamma)
        assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: affinity_loss(x, LABELS), features.requires_grad_())


def test_affinity_of_one_class_is_whole() -> None:
    """There is no diagonal, so nothing is left over."""
    features = normal(6, 3)
    assert log_affinity_mass(features, LABELS * 0).item() == pytest.approx(0, abs=1e-12)
    assert affinity_loss(features, LABELS * 0).item() == pytest.approx(0, abs=1e-12)


def test_affinity_without_pairs_is_nothing() -> None:
    features = normal(6, 3).requires_grad_()
    loss = affinity_loss(features, torch.arange(6))
    loss.backward()
    assert loss.item() == 0 and not features.grad.any()  # type: ignore[union-attr]


def test_affinity_of_features_that_lie_far_apart_is_finite() -> None:
    """Its exponentials are 0 in float32; their logarithms are not."""
    features = (1000 * normal(6, 3)).float().requires_grad_()
    loss = affinity_loss(features, LABELS)
    loss.backward()
    assert loss.isfinite() and features.grad is not None and features.grad.isfinite().all()


def test_distillation_is_a_naive_sum() -> None:
    one, other = normal(6, 3), normal(6, 3, seed=1)
    total = 0.0
    for a, b in zip(one, other, strict=True):
        p, q = ((logits / 3).softmax(0).tolist() for logits in (a, b))
        for first, second in ((p, q), (q, p)):
            total += sum(x * math.log(x / y) for x, y in zip(first, second, strict=True))
    found = mutual_distillation(one, other)
    assert found.item() == pytest.approx(9 * total / 2 / 6, rel=1e-5)


def test_a_target_has_no_gradient() -> None:
    one, other = normal(6, 3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()
    mutual_distillation(one, other).backward()
    alone = one.detach().clone().requires_grad_()
    target = (other.detach() / 3).softmax(1)
    loss = 9 / 2 / 6 * (target * (target.log() - torch.log_softmax(alone / 3, 1))).sum()
    loss.backward()
    torch.testing.assert_close(one.grad, alone.grad, rtol=1e-5, atol=1e-7)


def test_equal_views_have_nothing_between_them() -> None:
    one = normal(6, 3)
    assert mutual_distillation(one, one).item() == pytest.approx(0, abs=1e-7)
    assert mean_discrepancy(one, one).item() == 0


def test_discrepancy_is_of_means() -> None:
    one, other = normal(6, 3), normal(6, 3, seed=1)
    expected = sum(
        (float(a.mean()) - float(b.mean())) ** 2 for a, b in zip(one.T, other.T, strict=True)
    )
    assert mean_discrepancy(one, other).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: supervised_contrastive(F.normalize(x, dim=1).expand(2, 6, 3), LABELS),
        lambda x: affinity_loss(x, LABELS),
        lambda x: mutual_distillation(x, x.flip(0)),
        lambda x: mean_discrepancy(x, x.flip(0)[:4]),
    ],
)
def test_a_loss_is_in_float32_in_an_autocast_too(loss: Callable[[Tensor], Tensor]) -> None:
    features = 3 * normal(6, 3).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(features)
    assert found.dtype == torch.float32 and torch.equal(found, loss(features))
