import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.train.attacks.epsilon import EpsilonSearch, smallest_epsilons
from quire.train.attacks.targets import Alone
from tests.train.attacks.small import Linear, Whole, linear, often, pictures, sparse

GRID = [0.001 + 0.01 * index for index in range(100)]


def test_the_paper_s_epsilons() -> None:
    assert EpsilonSearch().epsilons() == pytest.approx(GRID)
    assert EpsilonSearch(first=0, step=0.1, cap=1).epsilons()[-1] == 1
    assert EpsilonSearch(first=0.5, step=1, cap=0.5).epsilons() == [0.5]
    for wrong in ({"step": 0}, {"first": 2}, {"cap": math.inf}, {"step": math.nan}):
        with pytest.raises(ValueError, match="must go up"):
            EpsilonSearch(**wrong)


def test_a_linear_model_by_hand() -> None:
    # A step of epsilon takes |w| = 4 epsilon from the margin: the margin is gone at the first
    # epsilon above a quarter of it; where it is negative, the image was wrong from the start.
    w = torch.tensor([1, -2, 0.5, 0.5], dtype=torch.float64)
    margins = torch.tensor([0.5, 1.8, -0.3, 0.05], dtype=torch.float64)
    images = margins[:, None] * w / (w @ w)
    model = Linear(torch.stack([w, 0 * w], dim=1)[None], torch.zeros(1, 2))
    found = smallest_epsilons(model, images, torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(
        found.epsilon, torch.tensor([[0.131, 0.451, math.nan, 0.021]]).double(), equal_nan=True
    )
    assert found.correct.tolist() == found.fooled.tolist() == [[True, True, False, True]]
    assert found.outcome().mean.item() == pytest.approx(0.201)


def slow(network: nn.Module, image: Tensor, label: Tensor) -> float | None:
    """Epsilon after epsilon, of one image; NaN if none fools, None if it was wrong at first."""
    own = image.clone().requires_grad_()
    logits = network(own.unsqueeze(0))
    if logits.argmax() != label:
        return None
    sign = torch.autograd.grad(F.cross_entropy(logits, label[None]), own)[0].sign()
    for epsilon in GRID:
        if network((image + epsilon * sign).unsqueeze(0)).argmax() != label:
            return epsilon
    return math.nan


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_many_models_are_searched_as_each_of_them_alone(chunk: int) -> None:
    models, images = sparse(), pictures(15, 12)
    labels = often(models, images)
    found = smallest_epsilons(models, images, labels, chunk=chunk)
    expected = [
        [slow(models.member(index), *pair) for pair in zip(images, labels, strict=True)]
        for index in range(3)
    ]
    wanted = [value for row in expected for value in row]
    assert found.correct.flatten().tolist() == [value is not None for value in wanted]
    numbers = torch.tensor([math.nan if value is None else value for value in wanted])
    torch.testing.assert_close(found.epsilon.flatten(), numbers.double(), equal_nan=True)
    assert len({value for value in wanted if value is not None}) > 5


class Wave(nn.Module):
    """A margin of .5 - t - .3 sin(10 pi t) at t in the image: it falls, rises, and falls again."""

    def forward(self, images: Tensor) -> Tensor:
        t = images.flatten(1)[:, 0]
        margin = 0.5 - t - 0.3 * torch.sin(10 * math.pi * t)
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)


class Turn(nn.Module):
    """A margin of .5 - x + 4 y (x - .1): which way y should go turns at x = .1."""

    def forward(self, images: Tensor) -> Tensor:
        x, y = images.flatten(1).unbind(1)
        margin = 0.5 - x + 4 * y * (x - 0.1)
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)


def test_steps_are_not_added_up() -> None:
    # Down the first slope there is a valley without a way out: small steps, each along a gradient
    # of its own, turn round in it at a margin of .16, for ever.
    image = torch.zeros(1, 1, dtype=torch.float64)
    margins = [0.5 - t - 0.3 * math.sin(10 * math.pi * t) for t in GRID]
    first = next(index for index, margin in enumerate(margins) if margin < 0)
    assert margins[:first] != sorted(margins[:first], reverse=True)
    found = smallest_epsilons(Alone(Wave()), image, torch.tensor([0]))
    assert found.epsilon.item() == pytest.approx(GRID[first])


def test_the_gradient_is_not_computed_again_on_the_way() -> None:
    # Along the first gradient the margin is .5 - 1.4 e + 4 e^2 and never gone; whoever turned at
    # x = .1 would be through at .3.
    image = torch.zeros(1, 2, dtype=torch.float64)
    assert not smallest_epsilons(Alone(Turn()), image, torch.tensor([0])).fooled.any()


def test_an_image_that_withstands_is_counted_and_not_in_the_mean() -> None:
    models = linear(1, 4, 2, seed=0, scale=0.0)
    label = int(models.bias.argmax())
    found = smallest_epsilons(models, pictures(5, 4), torch.full((5,), label))
    outcome = found.outcome()
    assert found.epsilon.isnan().all() and not found.fooled.any()
    assert (outcome.correct.item(), outcome.withstood.item()) == (5, 5)
    assert outcome.error_rate.item() == 0 and outcome.mean.isnan().all()
    assert models.seen == 5 + 100 * 5


def test_what_is_done_costs_nothing_more() -> None:
    models = linear(1, 12, 3, seed=1)
    images, labels = pictures(40, 12), torch.arange(40) % 3
    found = smallest_epsilons(models, images, labels)
    steps = found.epsilon[found.fooled].sub(0.001).div(0.01).round() + 1
    spared = int(found.outcome().withstood)
    assert models.seen == 40 + int(steps.sum()) + 100 * spared
    assert int(steps.max()) > 5


@pytest.mark.parametrize("images", [0, 3])
def test_where_all_is_wrong_there_is_nothing_to_search(images: int) -> None:
    models = Linear(torch.zeros(2, 12, 2), torch.tensor([[1.0, 0], [1.0, 0]]))
    labels = torch.ones(images, dtype=torch.int64)
    found = smallest_epsilons(models, pictures(images, 12), labels)
    assert found.epsilon.shape == (2, images) and not found.correct.any()
    assert models.seen == 2 * images
    assert found.outcome().mean.isnan().all()


def test_clipping_can_spare_an_image() -> None:
    # The one pixel that matters is black already: it can only leave the range.
    model = Linear(torch.tensor([[[1.0, 0]]]), torch.tensor([[0.25, 0]]))
    image, label = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])
    assert smallest_epsilons(model, image, label).epsilon.item() == pytest.approx(0.251)
    clipped = smallest_epsilons(model, image, label, search=EpsilonSearch(clip=True))
    assert not clipped.fooled.any()


def test_what_moves_linearly_gives_the_epsilons_of_whole_images() -> None:
    """Networks that add up two drives, and the same ones shown whole images, in float64."""
    networks, images = sparse(), pictures(30, 12)
    labels = often(networks, images)

    for unit in (1.0, 0.3):
        one = smallest_epsilons(networks, images, labels, unit=unit)
        other = smallest_epsilons(Whole(networks), images, labels, unit=unit, chunk=50)
        assert torch.equal(one.correct, other.correct) and one.fooled.sum() > 10
        torch.testing.assert_close(one.epsilon, other.epsilon, rtol=0, atol=0, equal_nan=True)
