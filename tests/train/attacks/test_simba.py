"""SimBA: a naive replay of each image alone, the example by hand, and what may not decide."""

import math
from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.train.attacks.queries import Found
from quire.train.attacks.simba import SimBA, cosines, simba

SHAPE = (2, 6, 5)


def model_of(
    shape: tuple[int, int, int], classes: int = 3, scale: float = 1.0, seed: int = 0
) -> Any:
    """A model that is not monotone along any direction, in float64."""
    generator = torch.Generator().manual_seed(0)
    size = math.prod(shape)
    first = scale * torch.randn(16, size, generator=generator, dtype=torch.float64)
    second = torch.randn(classes, 16, generator=generator, dtype=torch.float64)

    def model(images: Tensor) -> Tensor:
        return (images.flatten(1).to(first) @ first.T).sin() @ second.T

    return model


def task(
    count: int = 12, shape: tuple[int, int, int] = SHAPE
) -> tuple[Any, Tensor, Tensor, Tensor]:
    """A model, images of which it has most right, and their rows."""
    model = model_of(shape)
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1)).double()
    labels = model(images).argmax(1)
    labels[3] = (labels[3] + 1) % 3  # one that it has wrong
    return model, images, labels, 100 + 7 * torch.arange(count)


def naive(
    model: Any, image: NDArray[np.float64], label: int, order: list[int], how: SimBA
) -> tuple[bool, int, NDArray[np.float64]]:
    """Of one image: whether it is fooled, after how many queries, and where it is then."""
    channels, height, width = image.shape
    size = min(how.frequencies, height), min(how.frequencies, width)

    def ask(x: NDArray[np.float64]) -> tuple[float, bool]:
        logits = model(torch.from_numpy(x)[None])[0].numpy()
        odds = np.exp(logits - logits.max())
        return odds[label] / odds.sum(), int(logits.argmax()) == label

    def changed(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        change = coefficients
        if how.basis == "dct":
            change = fft.idctn(coefficients, axes=(1, 2), norm="ortho")
            if how.bound:
                change = change.clip(-how.bound, how.bound)
        return (image + change).clip(0, 1)

    delta, queries = np.zeros_like(image), 0
    probability, right = ask(image)
    for number in order[: how.directions]:
        if not right:
            break
        shape = image.shape if how.basis == "pixel" else (channels, *size)
        place = np.unravel_index(number, shape)
        for sign in (-1, 1):
            tried = delta.copy()
            tried[place] += sign * how.step
            queries += 1
            lower, still = ask(changed(tried))
            if lower < probability:
                delta, probability, right = tried, lower, still
                break
    return not right, queries, changed(delta)


HOWS = [
    SimBA(),
    SimBA(basis="pixel"),
    SimBA(frequencies=3, step=0.3),
    SimBA(bound=0.05, seed=3),
    SimBA(directions=7),
]


@pytest.mark.parametrize("how", HOWS)
def test_a_batch_is_a_naive_replay_of_each_image(how: SimBA) -> None:
    model, images, labels, rows = task()
    found = simba(model, images, labels, rows, how=how, at_once=8)
    count = math.prod(SHAPE)
    if how.basis == "dct":
        count = SHAPE[0] * min(how.frequencies, SHAPE[1]) * min(how.frequencies, SHAPE[2])
    orders = Draws(how.seed, 0, rows).uniforms("simba", count).argsort(dim=1)
    right = model(images).argmax(1) == labels
    assert torch.equal(found.correct, right) and not right.all()
    assert not found.fooled[~right].any() and not found.queries[~right].any()
    for i in right.nonzero().flatten().tolist():
        fooled, queries, image = naive(
            model, images[i].numpy(), int(labels[i]), orders[i].tolist(), how
        )
        assert (bool(found.fooled[i]), int(found.queries[i])) == (fooled, queries)
        np.testing.assert_allclose(found.images[i].numpy(), image, atol=1e-12)
    assert 0 < found.fooled.sum() if how.directions is None else found.fooled.sum() < right.sum()
    assert found.images.min() >= 0 and found.images.max() <= 1
    if how.bound:
        assert found.linf.max() <= how.bound + 1e-12


def test_the_example_by_hand() -> None:
    """p = 1 / (1 + exp(-(2 x0 - 2 x1))), of (.9, .4, .5): five queries in three of the orders."""

    def model(images: Tensor) -> Tensor:
        x = images.flatten(1)
        return torch.stack([2 * x[:, 0] - 2 * x[:, 1], torch.zeros(len(x))], dim=1)

    image = torch.tensor([0.9, 0.4, 0.5]).view(1, 1, 1, 3)
    found = {}
    for row in range(200):
        order = Draws(0, 0, torch.tensor([row])).uniforms("simba", 3).argsort(dim=1)[0]
        how = SimBA(basis="pixel", step=0.2)
        one = simba(model, image, torch.tensor([0]), torch.tensor([row]), how=how, at_once=1)
        found[tuple(order.tolist())] = one
    for chosen in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        one = found[chosen]
        assert one.queries.item() == 5 and not one.fooled.item()
        torch.testing.assert_close(one.images.flatten(), torch.tensor([0.7, 0.6, 0.5]))


def same(one: Found, other: Found, chosen: Tensor) -> bool:
    pairs = zip(astuple(one), astuple(other), strict=True)
    return all(
        torch.equal(mine if chosen is None else mine[chosen], yours) for mine, yours in pairs
    )


@pytest.mark.parametrize("how", HOWS[:2])
def test_what_is_attacked_beside_an_image_has_no_part_in_it(how: SimBA) -> None:
    model, images, labels, rows = task(50)
    whole = simba(model, images, labels, rows, how=how, at_once=16)
    for chosen in (torch.tensor([7]), torch.tensor([44, 3, 21]), torch.arange(50).flip(0)):
        part = simba(model, images[chosen], labels[chosen], rows[chosen], how=how, at_once=16)
        assert same(whole, part, chosen)
    for at_once in (1, 5, 64):  # float64: margins are far above roundings
        other = simba(model, images, labels, rows, how=how, at_once=at_once)
        assert torch.equal(whole.queries, other.queries)
        assert torch.equal(whole.fooled, other.fooled)


def test_a_sure_model_is_attacked_by_its_odds() -> None:
    """Its float32 probability is 1 and stays 1: every direction would cost two queries in vain."""
    images = torch.full((1, 1, 4, 4), 0.5)
    weight = torch.linspace(-1, 1, 16)

    def model(images: Tensor) -> Tensor:
        margin = 30 + 9 * (images.flatten(1) - 0.5) @ weight
        return torch.stack([margin, torch.zeros(len(margin))], dim=1)

    how = SimBA(basis="pixel", step=0.5)
    rows = labels = torch.tensor([0])
    blind = simba(model, images, labels, rows, how=how, at_once=1)
    assert blind.queries.item() == 32 and blind.l2.item() == 0
    seeing = simba(model, images, labels, rows, how=replace(how, score="log_odds"), at_once=1)
    assert seeing.queries.item() < 32 and seeing.l2.item() > 1


def test_directions_are_orthonormal_and_those_of_scipy() -> None:
    for size in (1, 4, 7, 32):
        basis = cosines(size)
        torch.testing.assert_close(basis @ basis.T, torch.eye(size, dtype=torch.float64))
        np.testing.assert_allclose(basis.numpy(), fft.idct(np.eye(size), norm="ortho"), atol=1e-12)


def test_nothing_is_drawn_for_a_model_that_is_never_right() -> None:
    model, images, _, rows = task()
    wrong = (model(images).argmax(1) + 1) % 3
    found = simba(model, images, wrong, rows, at_once=4)
    assert not found.correct.any() and not found.queries.any()
    assert torch.equal(found.images, images)


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": 0.0},
        {"step": math.nan},
        {"frequencies": 0},
        {"directions": 0},
        {"bound": -1.0},
        {"bound": 0.1, "basis": "pixel"},
    ],
)
def test_what_is_no_attack_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=next(iter(wrong))):
        SimBA(**wrong)
