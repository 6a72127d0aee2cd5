"""CNN2Graph's losses, held against loops over all triplets and pairs."""

import itertools
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quire.models.cnn2graph import CNN2GraphConfig, CNN2GraphHead, Joint, Nodes
from quire.models.cnn2graph_losses import (
    LossConfig,
    LossWeights,
    Term,
    contrastive_loss,
    losses,
    total,
    triplet_loss,
)

NAMES = ["at", "pt", "ap", "p", "ce_images", "ce_anchors", "ce_proxies"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def a_joint(
    images: int, anchors: int, proxies: int, *, classes: int = 3, features: int = 4, seed: int = 0
) -> Joint:
    """Nodes of all sorts whose embeddings and logits ask for gradients."""
    sizes = (images, anchors, proxies)
    return Joint(
        *(
            Nodes(
                (3 * normal(size, features, seed=7 * seed + i)).requires_grad_(),
                normal(size, classes, seed=7 * seed + i + 3).requires_grad_(),
            )
            for i, size in enumerate(sizes)
        )
    )


def tensors(x: list[int], a: list[int], p: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor(x), torch.tensor(a), torch.tensor(p)


def embeddings(joint: Joint) -> list[Tensor]:
    return [joint.images.embeddings, joint.anchors.embeddings, joint.proxies.embeddings]


# The obvious slow way


def slow_distance(a: Tensor, b: Tensor) -> float:
    """Of the directions of two vectors, number by number."""
    first, second = a.tolist(), b.tolist()
    length_a, length_b = (math.sqrt(sum(x * x for x in v)) for v in (first, second))
    return math.dist([x / length_a for x in first], [x / length_b for x in second])


def slow_triplets(
    sources: Tensor, others: Tensor, classes: list[int], of_others: list[int], margin: float
) -> list[float]:
    found = []
    for s, g, n in itertools.product(range(len(sources)), range(len(others)), range(len(others))):
        if classes[s] == of_others[g] and classes[s] != of_others[n]:
            near = slow_distance(sources[s], others[g]) ** 2
            far = slow_distance(sources[s], others[n]) ** 2
            found.append(max(near - far + margin, 0))
    return found


def slow_pairs(nodes: Tensor, classes: list[int], margin: float) -> list[float]:
    found = []
    for i, j in itertools.combinations(range(len(nodes)), 2):
        distance = slow_distance(nodes[i], nodes[j])
        alike = classes[i] == classes[j]
        found.append(distance**2 / 2 if alike else max(0, margin - distance) ** 2 / 2)
    return found


def slow_cross_entropy(logits: Tensor, classes: list[int]) -> list[float]:
    found = []
    for row, label in zip(logits.tolist(), classes, strict=True):
        found.append(math.log(sum(math.exp(logit) for logit in row)) - row[label])
    return found


def slow_losses(
    joint: Joint, x: list[int], a: list[int], p: list[int], config: LossConfig
) -> dict[str, list[float]]:
    images, anchors, proxies = embeddings(joint)
    margin = config.triplet_margin
    return {
        "at": slow_triplets(anchors, images, a, x, margin),
        "pt": slow_triplets(proxies, images, p, x, margin),
        "ap": slow_triplets(anchors, proxies, a, p, margin),
        "p": slow_pairs(proxies, p, config.contrastive_margin),
        "ce_images": slow_cross_entropy(joint.images.logits, x),
        "ce_anchors": slow_cross_entropy(joint.anchors.logits, a),
        "ce_proxies": slow_cross_entropy(joint.proxies.logits, p),
    }


LABELS = [  # of images, anchors, proxies; three classes
    ([0, 1, 2, 0, 1], [0, 1, 2], [0, 1, 2]),
    ([0, 2, 2, 0], [0, 1, 2], [0, 1, 2]),  # class 1 is absent
    ([2], [0, 1, 2], [0, 1, 2]),  # a lone image has no negative
    ([1, 1, 1], [0, 1, 2], [0, 1, 2]),  # nor have images of one class
    ([0, 1, 2, 0], [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 1, 1, 2, 2]),
    ([0, 1, 1], [2, 0, 1, 0], [1, 0]),  # in any order, unequally many, a class without proxies
    ([0, 0], [0], [0]),  # a single class
]


@pytest.mark.parametrize("over", ["valid", "active"])
@pytest.mark.parametrize(("x", "a", "p"), LABELS)
def test_every_term_equals_loops(x: list[int], a: list[int], p: list[int], over: Any) -> None:
    config = LossConfig(triplet_margin=0.3, contrastive_margin=1.2, over=over)
    joint = a_joint(len(x), len(a), len(p))
    found = losses(joint, *tensors(x, a, p), config)
    assert list(found) == NAMES
    for name, slow in slow_losses(joint, x, a, p, config).items():
        active = sum(value > 0 for value in slow)
        counted = active if over == "active" and name in ("at", "pt", "ap") else len(slow)
        term = found[name]
        assert (term.valid.item(), term.active.item()) == (len(slow), active), name
        assert term.value.item() == pytest.approx(sum(slow) / max(1, counted), abs=1e-9), name


@settings(max_examples=30)
@given(st.data(), st.integers(0, 99))
def test_every_term_equals_loops_whatever_the_labels(data: st.DataObject, seed: int) -> None:
    x, a, p = (
        data.draw(st.lists(st.integers(0, 2), min_size=least, max_size=5)) for least in (0, 0, 1)
    )
    joint = a_joint(len(x), len(a), len(p), seed=seed)
    labels = [torch.tensor(some, dtype=torch.int64) for some in (x, a, p)]
    found = losses(joint, labels[0], labels[1], labels[2])
    for name, slow in slow_losses(joint, x, a, p, LossConfig()).items():
        assert found[name].value.item() == pytest.approx(sum(slow) / max(1, len(slow)), abs=1e-9)
        assert found[name].valid.item() == len(slow)


def test_the_tests_see_hinges_that_are_open_and_hinges_that_are_shut() -> None:
    """Or those above would prove little."""
    x, a, p = LABELS[4]
    slow = slow_losses(a_joint(len(x), len(a), len(p)), x, a, p, LossConfig())
    for name in ("at", "pt", "ap", "p"):
        shares = sum(value > 0 for value in slow[name]) / len(slow[name])
        assert 0.1 < shares < 0.95, name


# What the paper says


def test_the_defaults_are_the_published_margins_of_the_losses_that_were_adapted() -> None:
    assert LossConfig() == LossConfig(triplet_margin=0.2, contrastive_margin=1.0, over="valid")


def test_triplets_compare_squared_distances() -> None:
    """Distances of 1.2 and 0.4: 1.44 - 0.16 + 0.2, where plain ones would give 1.0."""
    cosines = torch.tensor([[1 - 1.2**2 / 2, 1 - 0.4**2 / 2]])
    term = triplet_loss(cosines, torch.tensor([0]), torch.tensor([0, 1]), margin=0.2)
    assert term.value.item() == pytest.approx(1.48)


def test_pairs_compare_plain_distances_within_a_squared_hinge() -> None:
    cosines = torch.tensor([[1, 1 - 0.4**2 / 2], [1 - 0.4**2 / 2, 1]])
    apart = contrastive_loss(cosines, torch.tensor([0, 1]), margin=1.0)
    alike = contrastive_loss(cosines, torch.tensor([1, 1]), margin=1.0)
    assert apart.value.item() == pytest.approx(0.6**2 / 2)
    assert alike.value.item() == pytest.approx(0.4**2 / 2)


def test_proxies_of_a_class_are_drawn_together_and_others_pushed_apart() -> None:
    proxies = normal(4, 8).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1])

    def spread() -> tuple[float, float]:
        within = [slow_distance(proxies[i], proxies[i + 1]) for i in (0, 2)]
        between = [slow_distance(proxies[i], proxies[j]) for i in (0, 1) for j in (2, 3)]
        return max(within), min(between)

    optimizer = torch.optim.SGD([proxies], lr=2.0)
    for _ in range(200):
        unit = proxies / proxies.norm(dim=1, keepdim=True)
        optimizer.zero_grad()
        contrastive_loss(unit @ unit.T, labels, margin=1.0).value.backward()
        optimizer.step()
    within, between = spread()
    assert within < 0.05 and between > 0.95


def test_lengths_do_not_count() -> None:
    x, a, p = tensors(*LABELS[0])
    joint = a_joint(5, 3, 3)
    longer = Joint(
        *(Nodes(nodes.embeddings * 10**i, nodes.logits) for i, nodes in enumerate(nodes_of(joint)))
    )
    for name, term in losses(longer, x, a, p).items():
        torch.testing.assert_close(term.value, losses(joint, x, a, p)[name].value)


def nodes_of(joint: Joint) -> list[Nodes]:
    return [joint.images, joint.anchors, joint.proxies]


# Gradients


def reached(term: Term, *leaves: Tensor) -> list[bool]:
    """Which leaves a term moves."""
    slopes = torch.autograd.grad(term.value, leaves, retain_graph=True, allow_unused=True)
    return [slope is not None and bool(slope.abs().sum() > 1e-9) for slope in slopes]


def test_each_term_moves_the_embeddings_that_it_names() -> None:
    joint = a_joint(5, 3, 3)
    found = losses(joint, *tensors(*LABELS[0]))
    assert {name: reached(found[name], *embeddings(joint)) for name in NAMES} == {
        "at": [True, True, False],
        "pt": [True, False, True],
        "ap": [False, True, True],
        "p": [False, False, True],
        "ce_images": [False, False, False],  # the logits here are leaves of their own
        "ce_anchors": [False, False, False],
        "ce_proxies": [False, False, False],
    }


@pytest.mark.parametrize("kind", ["gnn", "transformer", "mean"])
def test_proxies_learn_from_every_term_but_at_and_anchors_from_every_term_but_pt_and_p(
    kind: Any,
) -> None:
    torch.manual_seed(0)
    head = CNN2GraphHead(8, 3, CNN2GraphConfig(kind=kind, heads=2)).double()
    images, anchors = normal(5, 8).requires_grad_(), normal(3, 8, seed=1).requires_grad_()
    labels = torch.tensor([0, 1, 2, 0, 1])
    found = losses(head.joint(images, anchors), labels, torch.arange(3), head.proxy_labels)
    moved = {name: reached(found[name], images, anchors, head.proxies) for name in NAMES}
    assert {name for name in NAMES if moved[name][2]} == set(NAMES) - {"at"}
    assert {name for name in NAMES if moved[name][1]} == set(NAMES) - {"pt", "p"}
    assert {name for name in NAMES if moved[name][0]} == {"at", "pt", "ce_images"}


@pytest.mark.parametrize(
    ("x", "a", "p"),
    [
        *LABELS[1:3],
        *(pytest.param(*one, marks=pytest.mark.slow) for one in LABELS[3:] + LABELS[:1]),
    ],
)
def test_gradients_are_right(x: list[int], a: list[int], p: list[int]) -> None:
    joint = a_joint(len(x), len(a), len(p))
    logits = [nodes.logits for nodes in nodes_of(joint)]

    def loss(*given: Tensor) -> Tensor:
        sorts = zip(given[:3], given[3:], strict=True)
        return total(losses(Joint(*(Nodes(*both) for both in sorts)), *tensors(x, a, p)))

    assert torch.autograd.gradcheck(loss, (*embeddings(joint), *logits))


@pytest.mark.parametrize(("x", "a", "p"), LABELS[1:4])
def test_a_term_without_triplets_is_zero_and_so_is_its_gradient(
    x: list[int], a: list[int], p: list[int]
) -> None:
    joint = a_joint(len(x), len(a), len(p))
    found = losses(joint, *tensors(x, a, p))
    total(found).backward()
    for leaf in embeddings(joint):
        assert leaf.grad is not None and leaf.grad.isfinite().all()
    for name, leaf in itertools.product(("at", "pt"), embeddings(joint)):
        if found[name].valid == 0:
            (slope,) = torch.autograd.grad(
                losses(joint, *tensors(x, a, p))[name].value, leaf, allow_unused=True
            )
            assert slope is None or not slope.any()
            assert found[name].value == 0 and found[name].value.requires_grad


def test_sources_of_a_class_that_the_batch_lacks_are_left_alone() -> None:
    x, a, p = tensors(*LABELS[1])
    joint = a_joint(4, 3, 3)
    losses(joint, x, a, p)["at"].value.backward()
    slope = joint.anchors.embeddings.grad
    assert slope is not None
    assert (slope.abs().sum(dim=1) > 0).tolist() == [True, False, True]


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_embeddings_that_are_zero_or_all_alike_have_finite_gradients(value: float) -> None:
    for spoiled in itertools.product([False, True], repeat=3):
        joint = Joint(
            *(
                replace(n, embeddings=torch.full_like(n.embeddings, value).requires_grad_())
                if bad
                else n
                for n, bad in zip(nodes_of(a_joint(5, 3, 3)), spoiled, strict=True)
            )
        )
        loss = total(losses(joint, *tensors(*LABELS[0])))
        loss.backward()
        assert loss.isfinite()
        for leaf in embeddings(joint):
            assert leaf.grad is not None and leaf.grad.abs().max() < 10


# The sum


def test_the_sum_is_unweighted_unless_weights_are_given() -> None:
    found = losses(a_joint(5, 3, 3), *tensors(*LABELS[0]))
    values = {name: term.value.item() for name, term in found.items()}
    assert total(found).item() == pytest.approx(sum(values.values()))
    assert asdict(LossWeights()) == dict.fromkeys(values, 1.0)  # in the order of the terms, too
    assert list(asdict(LossWeights())) == list(values)
    for name, value in values.items():
        weighted = total(found, replace(LossWeights(), **{name: 2.5})).item()
        assert weighted == pytest.approx(sum(values.values()) + 1.5 * value)


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"the weight of ap is {weight}; it must be at least 0"):
        LossWeights(ap=weight)


# Precision, values out of range


def test_bfloat16_embeddings_are_compared_in_float32_under_autocast_too() -> None:
    joint = a_joint(5, 3, 3)
    labels = tensors(*LABELS[0])
    half = Joint(*(Nodes(n.embeddings.bfloat16(), n.logits.bfloat16()) for n in nodes_of(joint)))
    exact = Joint(*(Nodes(n.embeddings.double(), n.logits.double()) for n in nodes_of(half)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = losses(half, *labels)
    for name, term in losses(exact, *labels).items():
        assert found[name].value.dtype == torch.float32
        torch.testing.assert_close(found[name].value.double(), term.value, atol=1e-6, rtol=1e-5)


def test_many_classes_fit_into_memory() -> None:
    """A thousand proxies against a thousand anchors are 1e9 triplets of which 1e6 are valid."""
    classes = torch.arange(1000)
    term = triplet_loss(normal(1000, 1000).float(), classes, classes, margin=0.2)
    assert term.valid == 999_000


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"triplet_margin": -0.1}, "triplet_margin is -0.1; it must be at least 0"),
        ({"contrastive_margin": math.nan}, "contrastive_margin is nan; it must be at least 0"),
        ({"over": "all"}, "over is 'all'; it must be one of \\('valid', 'active'\\)"),
    ],
)
def test_a_value_out_of_range_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LossConfig(**fields)
