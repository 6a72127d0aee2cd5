"""How far an image must be moved along the sign of its gradient until a model is fooled.

The point-wise robustness of Ben Amor, Stier & Granitzer, whose mean is their Eq. 6. The sign is
that of the gradient at the image itself, as in the method of Goodfellow et al. (2015): computing it
anew on the way is another attack, the iterative one of Kurakin et al.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from quire.train.attacks.fgsm import gradient_sign, perturbed
from quire.train.attacks.results import Outcome
from quire.train.attacks.targets import (
    Models,
    Movable,
    Moved,
    answered,
    evaluating,
    is_right,
    logits_of,
)


@dataclass(frozen=True, kw_only=True)
class EpsilonSearch:
    """Which epsilons are tried, in this order; the defaults are the paper's, but for the cap."""

    first: float = 0.001
    step: float = 0.01
    cap: float = 1.0
    """None above it is tried; what no epsilon fools has none, and does not count in the mean."""
    clip: bool = False
    """Bring the perturbed images back to [0, 1]."""

    def __post_init__(self) -> None:
        """Raises ValueError where the search would not end, or not begin."""
        if not (0 < self.step < math.inf and 0 <= self.first <= self.cap < math.inf):
            raise ValueError(
                f"epsilons go from {self.first} by {self.step} to {self.cap}; they must go up"
            )

    def epsilons(self) -> list[float]:
        """All of them.

        >>> EpsilonSearch(cap=0.031).epsilons()
        [0.001, 0.011, 0.021, 0.031]
        """
        # products, as sums of steps drift; a cap that is one of the epsilons is tried, whatever
        # its last digit
        steps = math.floor((self.cap - self.first) / self.step + 1e-9)
        return [round(self.first + self.step * index, 12) for index in range(steps + 1)]


@dataclass(frozen=True, eq=False)
class Epsilons:
    """What was found for every image of a batch, for each of M models."""

    correct: Tensor
    """Classified correctly at first: the others are not attacked. (M, B) bool."""
    fooled: Tensor
    """And not at some epsilon. (M, B) bool."""
    epsilon: Tensor
    """The first that fools; NaN where none does. (M, B) float64."""

    def outcome(self) -> Outcome:
        """Its `mean` is the average epsilon of Eq. 6, `withstood` says how many are not in it."""
        return Outcome.of(self.correct, self.fooled, self.epsilon)


def smallest_epsilons(
    models: Models,
    images: Tensor,
    labels: Tensor,
    *,
    search: EpsilonSearch | None = None,
    unit: float = 1.0,
    chunk: int = 2**13,
) -> Epsilons:
    """The first epsilon at which each model misclassifies each image that it had right.

    (B, ...) in [0, 1], (B,) int64. An epsilon moves pixels by as many times `unit`. A pair of model
    and image that is done costs nothing more. The gradients are those of all M B images at once;
    after them the models see at most `chunk`.
    """
    search = search or EpsilonSearch()
    signs, correct = gradient_sign(models, images, labels)
    found = torch.full(correct.shape, math.nan, dtype=torch.float64, device=images.device)
    pairs = correct.nonzero()  # (N, 2): model and image, of those that are left
    linear = None
    if isinstance(models, Movable) and not search.clip:
        with evaluating(models), torch.no_grad():
            linear = models.moving(images, signs)
    for epsilon in search.epsilons():
        if not len(pairs):
            break
        with evaluating(models), torch.no_grad():
            if linear is None:
                moved = partial(_moved, images, signs, pairs, epsilon * unit, search.clip)
                logits = logits_of(models, pairs[:, 0], moved, chunk=chunk)
            else:
                along = partial(_along, linear, pairs[:, 1], epsilon * unit)
                logits = answered(len(models), pairs[:, 0], along, chunk=chunk)
        right = is_right(logits, labels[pairs[:, 1]])
        found[pairs[~right].unbind(1)] = epsilon
        pairs = pairs[right]
    return Epsilons(correct, ~found.isnan(), found)


def _along(linear: Moved, image: Tensor, by: float, which: Tensor) -> Tensor:
    """Logits of some pairs, at this distance. (M, n) -> (M, n, C)."""
    return linear(image[which], by)


def _moved(
    images: Tensor, signs: Tensor, pairs: Tensor, epsilon: float, clip: bool, which: Tensor
) -> Tensor:
    """The images of some pairs, at this epsilon. (M, n) -> (M, n, ...)."""
    member, image = pairs[which].unbind(-1)
    return perturbed(images[image], signs[member, image], epsilon, clip=clip)
