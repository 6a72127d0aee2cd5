"""Bandits-TD (Ilyas, Engstrom & Madry 2019, *Prior Convictions*): steps along a gradient that is
guessed from two queries, and remembered.

The guess (the *prior*) lives on from step to step (T), and is a coarse grid that is enlarged to the
image's size (D). Each step asks the model on both sides of it, moves it by what the difference says
of a random direction, and moves the image by the sign, or the direction, of what it is then.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.train.attacks.queries import Found, Model, answers, look
from quire.train.attacks.targets import is_right

_SATURATED = 8.3  # its tanh is 1 - 1.2e-7, the largest float32 below 1 but one


@dataclass(frozen=True, kw_only=True)
class Bandits:
    """How images are attacked; the defaults are the authors' for the norm (linf.json, l2.json)."""

    norm: Literal["linf", "l2"] = "linf"
    """In which images stay near."""
    epsilon: float | None = None
    """How near, of [0, 1] pixels; default .05 in linf, 5 in l2."""
    image_lr: float | None = None
    """Length of a step of the image; default .01 in linf, .5 in l2."""
    online_lr: float | None = None
    """Learning rate of the prior; default 100 in linf, .1 in l2."""
    exploration: float | None = None
    """How far the random direction reaches; default 1 in linf, .01 in l2."""
    fd_eta: float | None = None
    """How far from the image the model is asked, in l2; default .1 in linf, .01 in l2."""
    tile: int | None = None
    """Side of the prior's grid; default: half the image's."""
    queries: int = 10_000
    """An image is given up before it would take so many."""
    seed: int = 0
    """Of the random directions."""

    def __post_init__(self) -> None:
        """Refuse what is no attack.

        Raises:
            RunError: a field is out of range.
        """
        for name in ("epsilon", "image_lr", "online_lr", "exploration", "fd_eta"):
            if not 0 < self.value(name) < math.inf:
                raise RunError(f"{name} is {self.value(name)}; it must be above 0")
        if self.tile is not None and self.tile < 1:
            raise RunError(f"tile is {self.tile}; it must be at least 1")
        if self.queries < 3:
            raise RunError(f"queries is {self.queries}; a step takes two, and one must be left")

    def value(self, name: str) -> float:
        """A field, or what it is by default in this norm."""
        given: float | None = getattr(self, name)
        return _DEFAULTS[self.norm][name] if given is None else given


_DEFAULTS = {
    "linf": {"epsilon": 0.05, "image_lr": 0.01, "online_lr": 100, "exploration": 1, "fd_eta": 0.1},
    "l2": {"epsilon": 5, "image_lr": 0.5, "online_lr": 0.1, "exploration": 0.01, "fd_eta": 0.01},
}


def bandits(
    model: Model,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    how: Bandits | None = None,
    at_once: int = 256,
) -> Found:
    """Attack every image that the model has right, by queries alone.

    (N, channels, H, W) in [0, 1], (N,) int64, (N,) int64. What is drawn for an image depends on its
    row alone. A step takes two queries; the first look, and whether an image is fooled after a
    step, are not counted, as the authors do not. Images stay in the ball around where they were and
    in [0, 1]; the points that are asked need not. An image that is fooled moves no more.

    Raises:
        RunError: the model answers with NaN.
    """
    how = how or Bandits()
    ask = partial(answers, model, at_once=at_once)
    _, correct = look(model, images, labels, at_once=at_once)
    channels, height, width = images.shape[1:]
    grid = (how.tile or max(1, height // 2), how.tile or max(1, width // 2))
    moved = images.clone()
    prior = images.new_zeros(len(images), channels, *grid)  # in linf: its artanh
    queries, fooled = torch.zeros_like(labels), torch.zeros_like(correct)
    left = correct.nonzero().squeeze(1)
    for step in range((how.queries - 1) // 2):
        if not len(left):
            break
        noise = _noise(how, step, rows[left], prior[left])
        own = _step(how, ask, images[left], moved[left], labels[left], prior[left], noise)
        moved[left], prior[left] = own
        queries[left] += 2
        fooled[left] = ~is_right(ask(moved[left]), labels[left])
        left = left[~fooled[left]]
    return Found.of(correct, fooled, queries, moved, images)


def _step(
    how: Bandits,
    ask: Callable[[Tensor], Tensor],
    images: Tensor,
    moved: Tensor,
    labels: Tensor,
    prior: Tensor,
    noise: Tensor,
) -> tuple[Tensor, Tensor]:
    """Images and priors after one step. Images (L, channels, H, W), the others (L, channels, t, t).

    In linf the prior is an exponentiated gradient on [-1, 1] (Section 3.2 of the paper), whose
    e^(100 g) has no place in a float: of its artanh it is a sum.
    """
    size = images.shape[2:]
    linf = how.norm == "linf"
    guess = prior.tanh() if linf else prior
    eta, exploration = how.value("fd_eta"), how.value("exploration")
    ahead, behind = (
        _cross_entropy(ask(moved + eta * _unit(_enlarged(guess + side, size))), labels)
        for side in (noise, -noise)
    )
    slope = ((ahead - behind) / (eta * exploration)).to(images.dtype)
    prior = prior + how.value("online_lr") * slope[:, None, None, None] * noise
    epsilon, rate = how.value("epsilon"), how.value("image_lr")
    if linf:
        prior = prior.clamp(-_SATURATED, _SATURATED)
        change = moved + rate * _enlarged(prior.tanh(), size).sign() - images
        change = change.clamp(-epsilon, epsilon)
    else:
        change = moved + rate * _unit(_enlarged(prior, size)) - images
        change = change * (epsilon / _length(change)).clamp(max=1)
    return (images + change).clamp(0, 1), prior


def _noise(how: Bandits, step: int, rows: Tensor, prior: Tensor) -> Tensor:
    """The random directions of a step, of the shape of the priors.

    They are computed on the CPU in float64, as other devices know other last digits of the normal
    distribution.
    """
    numbers = prior[0].numel()
    uniforms = Draws(how.seed, step, rows.cpu()).uniforms("bandits", numbers).double()
    normal = torch.special.ndtri(uniforms + 2**-25)  # in the middle of a draw's bin
    scale = how.value("exploration") / math.sqrt(numbers)
    noise: Tensor = (scale * normal).view_as(prior).to(prior)
    return noise


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.double(), labels, reduction="none")


def _enlarged(prior: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(prior, size=tuple(size), mode="nearest")


def _unit(images: Tensor) -> Tensor:
    return images / _length(images)


def _length(images: Tensor) -> Tensor:
    """In l2, above 0. (L, channels, H, W) -> (L, 1, 1, 1)."""
    length: Tensor = images.flatten(1).norm(dim=1)
    return length.clamp(min=1e-12)[:, None, None, None]
