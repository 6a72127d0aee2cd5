"""DeepFool and what is put together of it: closed forms, a slow reference, a bound."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.train.attacks.deepfool import DeepFool, deepfool
from quire.train.attacks.uap import Gathering, Universal

SHAPE = (3, 4, 5)
SIZE = 60
CLASSES = 12


def linear(seed: int = 0, classes: int = CLASSES) -> tuple[Any, Tensor]:
    """A linear classifier of images in grey levels, and its weights (K, 60), in float64."""
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(classes, SIZE, generator=rng, dtype=torch.float64)
    return lambda images: images.flatten(1) @ weights.T, weights


def curved(seed: int = 0) -> Any:
    """A classifier with bent boundaries, in float64."""
    rng = torch.Generator().manual_seed(seed)
    first = torch.randn(20, SIZE, generator=rng, dtype=torch.float64) / 8
    second = torch.randn(CLASSES, 20, generator=rng, dtype=torch.float64)
    return lambda images: (images.flatten(1) @ first.T).tanh() @ second.T


def image(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
def test_a_linear_classifier_is_left_by_the_shortest_way(seed: int) -> None:
    model, weights = linear(seed)
    x = image(seed)
    logits = model(x[None])[0]
    own = int(logits.argmax())
    ways = {
        other: float((logits[own] - logits[other]) / (weights[own] - weights[other]).norm())
        for other in range(CLASSES)
        if other != own
    }
    nearest = min(ways, key=lambda other: ways[other])
    step = deepfool(model, x, DeepFool(classes=CLASSES, overshoot=0.02))
    assert step is not None and float(step.norm()) == pytest.approx(1.02 * ways[nearest])
    assert int(model((x + step)[None])[0].argmax()) == nearest


def slow(model: Any, x: Tensor, how: DeepFool) -> NDArray[np.float64] | None:
    """The authors' loops, a class and a gradient at a time."""
    order = model(x[None])[0].argsort(descending=True).tolist()[: how.classes]
    total = np.zeros(SHAPE)
    for _ in range(how.steps):
        at = (x + (1 + how.overshoot) * torch.from_numpy(total)).requires_grad_()
        logits = model(at[None])[0]
        slopes = [torch.autograd.grad(logits[k], at, retain_graph=True)[0].numpy() for k in order]
        values = logits.detach().numpy()
        best, way = np.inf, np.zeros(SHAPE)
        for k, slope in zip(order[1:], slopes[1:], strict=True):
            w = slope - slopes[0]
            distance = abs(values[k] - values[order[0]]) / np.linalg.norm(w)
            if distance < best:
                best, way = distance, distance * w / np.linalg.norm(w)
        total += way
        moved = x + (1 + how.overshoot) * torch.from_numpy(total)
        if int(model(moved[None])[0].argmax()) != order[0]:
            return (1 + how.overshoot) * total
    return None


@pytest.mark.parametrize("classes", [2, 5, 40])
def test_it_goes_as_the_authors_loops_do(classes: int) -> None:
    model = curved()
    how = DeepFool(classes=classes)
    for seed in range(12):
        wanted, found = slow(model, image(seed), how), deepfool(model, image(seed), how)
        assert (wanted is None) == (found is None)
        if wanted is not None and found is not None:
            np.testing.assert_allclose(found.numpy(), wanted, atol=1e-9)


def test_where_no_boundary_leads_anywhere_nothing_is_found() -> None:
    constant = torch.arange(4.0).double()
    assert (
        deepfool(lambda x: constant + 0 * x.sum((1, 2, 3))[:, None], image(0), DeepFool()) is None
    )


@pytest.mark.parametrize("seed", range(3))
def test_one_perturbation_fools_most_images_within_its_bound(seed: int) -> None:
    model, weights = linear(seed, classes=4)
    rng = torch.Generator().manual_seed(7)
    towards = 3 * (weights[0] - weights[1:].mean(dim=0)).sign().view(SHAPE)
    images = towards + 10 * torch.randn(200, *SHAPE, generator=rng, dtype=torch.float64)
    clean = model(images).argmax(1)  # most are of class 0

    def rate(delta: Tensor) -> float:
        return float((model(images + delta).argmax(1) != clean).double().mean())

    gathering = Gathering(SHAPE, Universal(xi=10.0, delta=0.2)).double()
    while not gathering.is_over:
        for one in images:
            gathering.update(model, one)
        gathering.pass_ends(rate)
    assert 0 < float(gathering.delta.abs().max()) <= 10
    assert gathering.rate == rate(gathering.delta) >= 0.8
    noise = [rate(10 * torch.randn(SHAPE, generator=rng).sign().double()) for _ in range(10)]
    assert sum(noise) / 10 < 0.5  # seen: .18 to .25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DeepFool(classes=1), "classes is 1"),
        (lambda: DeepFool(steps=0), "steps is 0"),
        (lambda: DeepFool(overshoot=-0.1), "overshoot is -0.1"),
        (lambda: Universal(xi=0), "xi is 0"),
        (lambda: Universal(delta=1.0), "delta is 1.0"),
        (lambda: replace(Universal(), passes=0), "passes is 0"),
    ],
)
def test_what_is_out_of_range_is_refused(make: Any, message: str) -> None:
    with pytest.raises(RunError, match=message):
        make()
