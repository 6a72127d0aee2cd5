"""Bandits-TD: a naive replay of each image alone, the ball, and numbers that stay numbers."""

import math
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.train.attacks.bandits import Bandits, bandits
from tests.train.attacks.test_simba import model_of

SHAPE = (3, 8, 6)
HOWS = [
    Bandits(epsilon=0.1, queries=20),
    Bandits(epsilon=0.2, queries=15, tile=3, online_lr=2, exploration=0.3, seed=4),
    Bandits(norm="l2", epsilon=0.8, image_lr=0.1, queries=12),
]


def task(count: int = 12) -> tuple[Any, Tensor, Tensor, Tensor]:
    model = model_of(SHAPE, scale=0.3)
    images = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    labels = model(images).argmax(1)
    labels[2] = (labels[2] + 1) % 3
    return model, images, labels, 50 + 3 * torch.arange(count)


def naive(
    model: Any, image: NDArray[np.float64], label: int, row: int, how: Bandits
) -> tuple[bool, int, NDArray[np.float64]]:
    """The printed form of the attack on one image, with its exponentiated gradient."""
    channels, height, width = image.shape
    sides = (how.tile, how.tile) if how.tile else (height // 2, width // 2)
    numbers = channels * sides[0] * sides[1]
    epsilon, image_lr, online_lr, exploration, fd_eta = (
        how.value(name) for name in ("epsilon", "image_lr", "online_lr", "exploration", "fd_eta")
    )

    def logits(x: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = model(torch.from_numpy(x)[None])[0].numpy()
        return found

    def loss(x: NDArray[np.float64]) -> float:
        own = logits(x)
        return float(np.log(np.exp(own - own.max()).sum()) + own.max() - own[label])

    def enlarged(grid: NDArray[np.float64]) -> NDArray[np.float64]:
        down = np.arange(height) * sides[0] // height
        across = np.arange(width) * sides[1] // width
        return grid[:, down][:, :, across]

    x, prior, queries = image.copy(), np.zeros((channels, *sides)), 0
    while queries + 2 < how.queries:
        uniforms = Draws(how.seed, queries // 2, torch.tensor([row])).uniforms("bandits", numbers)
        normal = torch.special.ndtri(uniforms.double() + 2**-25).numpy().reshape(prior.shape)
        noise = exploration / math.sqrt(numbers) * normal
        ends = []
        for side in (prior + noise, prior - noise):
            direction = enlarged(side)
            ends.append(loss(x + fd_eta * direction / np.linalg.norm(direction)))
        queries += 2
        gradient = (ends[0] - ends[1]) / (fd_eta * exploration) * noise
        if how.norm == "linf":
            real = (prior + 1) / 2
            up = real * np.exp(online_lr * gradient)
            down = (1 - real) * np.exp(-online_lr * gradient)
            prior = (2 * up / (up + down) - 1).clip(-math.tanh(8.3), math.tanh(8.3))
            x = image + (x + image_lr * np.sign(enlarged(prior)) - image).clip(-epsilon, epsilon)
        else:
            prior = prior + online_lr * gradient
            direction = enlarged(prior)
            change = x + image_lr * direction / np.linalg.norm(direction) - image
            x = image + change * min(1.0, epsilon / float(np.linalg.norm(change)))
        x = x.clip(0, 1)
        if logits(x).argmax() != label:
            return True, queries, x
    return False, queries, x


@pytest.mark.parametrize("how", HOWS)
def test_a_batch_is_a_naive_replay_of_each_image(how: Bandits) -> None:
    model, images, labels, rows = task()
    found = bandits(model, images, labels, rows, how=how, at_once=8)
    right = model(images).argmax(1) == labels
    assert torch.equal(found.correct, right) and not right.all()
    for i in right.nonzero().flatten().tolist():
        fooled, queries, image = naive(model, images[i].numpy(), int(labels[i]), int(rows[i]), how)
        assert (bool(found.fooled[i]), int(found.queries[i])) == (fooled, queries)
        np.testing.assert_allclose(found.images[i].numpy(), image, atol=1e-6)
    assert found.fooled.any() and not found.fooled[right].all()
    assert (found.queries[found.correct & ~found.fooled] == 2 * ((how.queries - 1) // 2)).all()


@pytest.mark.parametrize("how", HOWS)
def test_images_stay_in_the_ball_and_points_that_are_asked_need_not(how: Bandits) -> None:
    model, images, labels, rows = task()
    asked = []

    def looking(images: Tensor) -> Tensor:
        asked.append(images)
        logits: Tensor = model(images)
        return logits

    found = bandits(looking, images, labels, rows, how=how, at_once=12)
    assert found.images.min() >= 0 and found.images.max() <= 1
    far = found.linf if how.norm == "linf" else found.l2
    assert far.max() <= how.value("epsilon") + 1e-9
    points = torch.cat(asked)
    assert points.min() < 0 or points.max() > 1


def test_what_is_attacked_beside_an_image_has_no_part_in_it() -> None:
    model, images, labels, rows = task(30)
    whole = bandits(model, images, labels, rows, how=HOWS[0], at_once=16)
    for chosen in (torch.tensor([7]), torch.tensor([21, 3]), torch.arange(30).flip(0)):
        part = bandits(model, images[chosen], labels[chosen], rows[chosen], how=HOWS[0], at_once=16)
        pairs = zip(astuple(whole), astuple(part), strict=True)
        assert all(torch.equal(mine[chosen], yours) for mine, yours in pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_steep_model_leaves_the_prior_finite(dtype: torch.dtype) -> None:
    """The printed form has e^(100 g): infinite, and NaN, from g = .89 on in float32."""
    images = torch.full((2, 1, 4, 4), 0.5, dtype=dtype)
    weight = torch.linspace(-1, 1, 16, dtype=dtype)
    asked = []

    def model(images: Tensor) -> Tensor:
        asked.append(images)
        margin = 3000 * (images.flatten(1) - 0.5) @ weight + 1e4
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)

    rows, labels = torch.arange(2), torch.zeros(2, dtype=torch.int64)
    found = bandits(model, images, labels, rows, how=Bandits(queries=99), at_once=2)
    assert torch.cat(asked).isfinite().all() and found.images.isfinite().all()
    assert found.correct.all() and not found.fooled.any()


def test_nan_is_no_success() -> None:
    images, labels = torch.full((1, 1, 4, 4), 0.5), torch.tensor([0])

    def model(images: Tensor) -> Tensor:
        logits = torch.stack([images.sum((1, 2, 3)), torch.zeros(len(images))], dim=1)
        return logits if images.eq(0.5).all() else logits * torch.nan

    with pytest.raises(RunError, match="NaN"):
        bandits(model, images, labels, torch.tensor([0]), at_once=1)


@pytest.mark.parametrize(
    "wrong",
    [{"queries": 2}, {"epsilon": 0.0}, {"image_lr": -1.0}, {"fd_eta": math.inf}, {"tile": 0}],
)
def test_what_is_no_attack_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=next(iter(wrong))):
        Bandits(**wrong)
