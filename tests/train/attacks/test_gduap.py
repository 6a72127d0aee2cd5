"""GD-UAP: its objective against autograd by hand, its schedule step by step, its bound."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quire.artifacts.errors import RunError
from quire.models.deeplab import TRUNKS
from quire.train.attacks.gduap import Activity, Crafting, Schedule


class Twice(nn.Module):
    """A layer whose ReLU is called twice."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(4, 6, generator=rng, dtype=torch.float64))
        self.second = nn.Parameter(torch.randn(3, 4, generator=rng, dtype=torch.float64))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu(self.relu(x @ self.first.T) @ self.second.T)
        return out


def test_the_objective_counts_every_call_and_has_the_gradient_of_the_formula() -> None:
    net, activity = Twice().requires_grad_(False), Activity()
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(2, 6).requires_grad_()
    with activity.of([net.relu]):
        net(x)
        with torch.no_grad():
            net(x)  # of no interest
    assert len(activity) == 2
    found = activity.total()
    (gradient,) = torch.autograd.grad(found, x)
    y = x.detach().clone().requires_grad_()
    one = (y @ net.first.T).clamp(min=0)
    two = (one @ net.second.T).clamp(min=0)
    expected = -(one**2).sum().sqrt().log() - (two**2).sum().sqrt().log()
    (slow,) = torch.autograd.grad(expected, y)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, slow, rtol=0, atol=1e-12)
    net(x)
    assert len(activity) == 0  # outside the block nothing is noted


@pytest.mark.parametrize(("trunk", "terms"), [("resnet50", 49), ("resnet101", 100), ("small", 4)])
def test_trunks_have_as_many_terms_as_calls_of_relus(trunk: str, terms: int) -> None:
    net, activity = TRUNKS[trunk]().eval(), Activity()
    with activity.of(module for module in net.modules() if isinstance(module, nn.ReLU)):
        net(torch.rand(1, 3, 33, 33))
    assert len(activity) == terms


def crafted(schedule: Schedule, rates: list[float], **state: Any) -> tuple[Crafting, list[int]]:
    """Run a schedule on a layer that pushes every value outwards; the steps of its validations."""
    crafting, activity = Crafting((3, 2, 2), schedule, 0), Activity()
    relu, seen = nn.ReLU(), list[int]()

    def forward(delta: Tensor, step: int) -> None:
        relu(delta.abs())

    def rate(delta: Tensor) -> float:
        seen.append(crafting.step - 1)
        assert delta.abs().max() <= schedule.xi
        return rates[min(len(seen), len(rates)) - 1]

    with activity.of([relu]):
        while not crafting.is_over:
            crafting.update(forward, activity, rate)
    crafting.finish(rate)
    return crafting, seen


def test_it_is_validated_when_it_is_due_or_saturated_and_halved_then() -> None:
    schedule = Schedule(lr=1.0, iterations=40, validate_every=15, validate_saturated=5)
    crafting, seen = crafted(schedule, [0.5])
    # outwards by 1 a step from within 10: all at the bound, and still, by step 11 at the latest
    assert 5 < seen[0] <= 12 and len(seen) >= 2
    assert crafting.best.abs().max() == 10 and crafting.rate == 0.5
    assert crafting.delta.abs().max() <= 10


def test_it_ends_after_so_many_validations_without_a_gain() -> None:
    schedule = Schedule(lr=0.001, iterations=1_000, validate_every=3, patience=4)
    crafting, seen = crafted(schedule, [0.2, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1, 0.9])
    assert len(seen) == 7 and seen == [3, 6, 9, 12, 15, 18, 21]  # as often as the reference looks
    assert crafting.rate == 0.6 and crafting.is_over


def test_one_that_was_never_validated_is_at_the_end() -> None:
    crafting, seen = crafted(Schedule(iterations=2), [0.25])
    assert len(seen) == 1 and crafting.rate == 0.25
    torch.testing.assert_close(crafting.best, crafting.delta.detach())


def test_it_goes_on_to_the_same_bits() -> None:
    schedule = Schedule(lr=0.5, iterations=30, validate_every=7, validate_saturated=3)
    relu = nn.ReLU()

    def forward(delta: Tensor, step: int) -> None:
        relu((delta * (1 + step % 3)).abs())

    def rate(delta: Tensor) -> float:
        return float(delta.abs().mean()) / 10

    def until(crafting: Crafting, step: int) -> Crafting:
        activity = Activity()
        with activity.of([relu]):
            while crafting.step < step and not crafting.is_over:
                crafting.update(forward, activity, rate)
        return crafting

    whole = until(Crafting((3, 4, 4), schedule, 1), 30)
    part = until(Crafting((3, 4, 4), schedule, 1), 13)
    other = Crafting((3, 4, 4), schedule, 2)
    other.load_state_dict(part.state_dict())
    other.load_rest(part.rest())
    until(other, 30)
    assert torch.equal(whole.delta, other.delta) and torch.equal(whole.best, other.best)
    assert whole.rest()["rate"] == other.rest()["rate"]


def test_layers_that_say_nothing_are_told() -> None:
    crafting, activity, relu = Crafting((3, 2, 2), Schedule(), 0), Activity(), nn.ReLU()

    def silent(delta: Tensor, step: int) -> None:
        relu(-delta.abs())

    with activity.of([relu]), pytest.raises(RunError, match="the objective is inf in step 0"):
        crafting.update(silent, activity, lambda delta: 0.0)


@pytest.mark.parametrize(
    "fields", [{"xi": 0}, {"xi": 256}, {"lr": 0}, {"iterations": 0}, {"patience": 0}]
)
def test_a_schedule_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    make: Callable[..., Schedule] = Schedule
    with pytest.raises(RunError):
        make(**fields)
