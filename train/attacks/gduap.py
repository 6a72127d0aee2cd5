r"""GD-UAP: a universal perturbation that saturates what a network's layers say.

Mopuri, Ganeshan & Babu 2018 (Generalizable Data-free Objective for Crafting Universal Adversarial
Perturbations): minimises $-\sum_i \log \|l_i(v)\|_2$ over the outputs $l_i$ of the ReLUs, with
$\|v\|_\infty \le \xi$, by Adam. The schedule is that of its reference for segmentation: where the
perturbation has become saturated it is halved, and from time to time it is held against what it is
for; the best is kept.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.train.engine.options import key

Forward: TypeAlias = Callable[[Tensor, int], None]  # a perturbation at a step, through the network
Rate: TypeAlias = Callable[[Tensor], float]  # how well a perturbation does, 0 to 1

_SATURATED, _STILL = 0.5, 1e-5  # share of values at the bound, and its change in a step


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a perturbation is crafted; the defaults are the reference's."""

    xi: float = 10.0
    """Bound of every value, in grey levels."""
    lr: float = 0.1
    """Adam's learning rate, in grey levels."""
    iterations: int = 40_000
    """Steps, at most."""
    validate_every: int = 400
    """Steps after which the perturbation is held against the scenes."""
    validate_saturated: int = 200
    """Steps after which it is, too, where it has become saturated: before it is halved."""
    patience: int = 10
    """Validations without a gain, after which it ends."""

    def __post_init__(self) -> None:
        """Refuse what is wrong.

        Raises:
            RunError: a field is out of range.
        """
        counts = "iterations", "validate_every", "validate_saturated", "patience"
        check_at_least(1, self, *counts, error=RunError)
        if not (0 < self.xi <= 255 and self.lr > 0):
            raise RunError(f"xi is {self.xi}, lr is {self.lr}: both must be above 0, xi up to 255")


class Activity:
    r"""$-\sum \log \|output\|_2$ over every call of some modules since it was asked for last.

    The norm is of a whole batch. A module that is called three times counts three times. Nothing is
    noted where no gradient is wanted.
    """

    def __init__(self) -> None:
        self._terms: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._terms)

    @contextmanager
    def of(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """Note what these modules say, within the block."""
        handles = [module.register_forward_hook(self._note) for module in modules]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def total(self) -> Tensor:
        """The sum; the next one begins."""
        summed = torch.stack(self._terms).sum()
        self._terms.clear()
        return summed

    def _note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        if torch.is_grad_enabled():
            self._terms.append(-output.norm().log())


class Crafting(nn.Module):
    """A perturbation on its way: the current one, the best, and where the schedule is.

    Its `state_dict` and `rest` are all of it, so it goes on from them to the same bits.
    """

    delta: Tensor
    best: Tensor

    def __init__(self, shape: tuple[int, ...], schedule: Schedule, seed: int) -> None:
        """The first perturbation is drawn evenly from [-xi, xi]."""
        super().__init__()
        rng = torch.Generator().manual_seed(key(seed, "perturbation"))
        drawn = schedule.xi * (2 * torch.rand(shape, generator=rng) - 1)
        self.schedule = schedule
        self.delta = nn.Parameter(drawn)
        self.register_buffer("best", drawn.clone())
        self.adam = torch.optim.Adam([self.delta], lr=schedule.lr)
        self.step, self.checked, self.failures = 0, 0, 0
        self.saturation, self.rate = 0.0, -1.0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to be done."""
        over = self.failures >= self.schedule.patience
        return over or self.step >= self.schedule.iterations

    def update(self, forward: Forward, activity: Activity, rate: Rate) -> None:
        """A step; `activity` notes what layers say when `forward` is called.

        Raises:
            RunError: the objective is not finite.
        """
        self.adam.zero_grad(set_to_none=True)
        forward(self.delta, self.step)
        loss = activity.total()
        if not bool(loss.isfinite()):
            raise RunError(f"the objective is {loss.item()} in step {self.step:,}")
        loss.backward()
        self.adam.step()
        bound = self.schedule.xi
        with torch.no_grad():
            self.delta.clamp_(-bound, bound)
            before = self.saturation
            self.saturation = (self.delta.abs() == bound).double().mean().item()
        still = abs(self.saturation - before) < _STILL and self.saturation > _SATURATED
        since, self.step = self.step - self.checked, self.step + 1
        due = since == self.schedule.validate_every
        if due or (still and since > self.schedule.validate_saturated):
            self._validate(rate)
            self.checked = self.step - 1
        if still:
            with torch.no_grad():
                self.delta.div_(2)
            self.checked = self.step - 1

    def finish(self, rate: Rate) -> None:
        """Hold the last perturbation against the scenes, where none was."""
        if self.rate < 0:
            self._validate(rate)

    def _validate(self, rate: Rate) -> None:
        with torch.no_grad():
            found = rate(self.delta.detach())
        if found >= self.rate:
            self.failures = 0 if found > self.rate else self.failures
            self.rate = found
            self.best.copy_(self.delta.detach())
        else:
            self.failures += 1

    def rest(self) -> dict[str, Any]:
        """What a checkpoint needs besides `state_dict`."""
        numbers = ("step", "checked", "failures", "saturation", "rate")
        return {
            "adam": self.adam.state_dict(),
            **{name: getattr(self, name) for name in numbers},
        }

    def load_rest(self, rest: dict[str, Any]) -> None:
        """Go on there."""
        self.adam.load_state_dict(rest.pop("adam"))
        for name, value in rest.items():
            setattr(self, name, value)
