"""SimBA (Guo et al. 2019, *Simple Black-box Adversarial Attacks*): a random direction, or its
opposite, is kept where the label becomes less probable.

Each direction of an orthonormal basis is tried once, in an order of each image's own: first
backwards, and forwards only if that did not help (Algorithm 1 of the paper, whose own code for
batches asks both and takes the better).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.train.attacks.queries import Found, Model, answers, look
from quire.train.attacks.targets import is_right, log_odds


@dataclass(frozen=True, kw_only=True)
class SimBA:
    """How images are attacked; the defaults are the authors' for CIFAR."""

    basis: Literal["dct", "pixel"] = "dct"
    """Cosines over the whole image, or single numbers of pixels."""
    step: float = 0.2
    """Length of a step, in l2."""
    frequencies: int = 32
    """Of cosines: so many of the lowest in each direction, or as many as there are."""
    bound: float = 0.0
    """Of cosines: no number changes by more; 0 is no bound."""
    directions: int | None = None
    """So many are tried at most; default: all of the basis."""
    score: Literal["probability", "log_odds"] = "probability"
    """What has to fall: the label's probability, as the authors have it, which for a model that is
    sure of an image is 1 and stays 1; or its log-odds, which have all their digits."""
    seed: int = 0
    """Of the order of directions."""

    def __post_init__(self) -> None:
        """Refuse what is no attack.

        Raises:
            RunError: a field is out of range.
        """
        if not 0 < self.step < math.inf:
            raise RunError(f"step is {self.step}; it must be above 0")
        if self.frequencies < 1:
            raise RunError(f"frequencies is {self.frequencies}; it must be at least 1")
        if self.directions is not None and self.directions < 1:
            raise RunError(f"directions is {self.directions}; it must be at least 1")
        if not 0 <= self.bound < math.inf:
            raise RunError(f"bound is {self.bound}; it must be 0 or more")
        if self.bound and self.basis == "pixel":
            raise RunError("bound is of cosines; a pixel moves by one step anyway")


def simba(
    model: Model,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    how: SimBA | None = None,
    at_once: int = 256,
) -> Found:
    """Attack every image that the model has right, by queries alone.

    (N, channels, H, W) in [0, 1], (N,) int64, (N,) int64. The order of an image's directions
    depends on its row alone. A query is one look at one image; the first look, and whether an image
    is fooled, are answered by looks that were counted, or not counted by the authors either. What
    is asked is clamped to [0, 1], the change that adds up is not.

    Raises:
        RunError: the model answers with NaN.
    """
    how = how or SimBA()
    ask = partial(answers, model, at_once=at_once)
    logits, correct = look(model, images, labels, at_once=at_once)
    basis, count = _basis(how, images)
    order = Draws(how.seed, 0, rows.cpu()).uniforms("simba", count).argsort(dim=1, stable=True)
    order = order.to(images.device)
    score = _score(how, logits, labels)
    change, moved = torch.zeros_like(images), images.clone()
    queries, fooled = torch.zeros_like(labels), torch.zeros_like(correct)
    left = correct.nonzero().squeeze(1)
    for number in range(min(count, how.directions or count)):
        if not len(left):
            break
        trying = left
        for sign in (-1, 1):
            if not len(trying):
                break
            direction = basis(order[trying, number])
            changed = change[trying] + sign * how.step * direction
            wanted = changed.clamp(-how.bound, how.bound) if how.bound else changed
            asked = (images[trying] + wanted).clamp(0, 1)
            said = ask(asked)
            queries[trying] += 1
            found = _score(how, said, labels[trying])
            better = found < score[trying]
            taken = trying[better]
            change[taken], moved[taken], score[taken] = (
                changed[better],
                asked[better],
                found[better],
            )
            fooled[taken] = ~is_right(said[better], labels[taken])
            trying = trying[~better]
        left = left[~fooled[left]]
    return Found.of(correct, fooled, queries, moved, images)


def _score(how: SimBA, logits: Tensor, labels: Tensor) -> Tensor:
    """What has to become smaller. (N, C), (N,) -> (N,)."""
    if how.score == "log_odds":
        return -log_odds(logits, labels)
    return logits.softmax(1).gather(1, labels[:, None]).squeeze(1)


def _basis(how: SimBA, images: Tensor) -> tuple[Callable[[Tensor], Tensor], int]:
    """What makes the numbered directions, (L,) int64 -> (L, channels, H, W), and how many."""
    channels, height, width = images.shape[1:]
    if how.basis == "pixel":
        count = channels * height * width

        def pixels(numbers: Tensor) -> Tensor:
            flat = images.new_zeros(len(numbers), count)
            return flat.scatter(1, numbers[:, None], 1).view(-1, channels, height, width)

        return pixels, count
    down, across = cosines(height).to(images), cosines(width).to(images)
    rows, columns = min(how.frequencies, height), min(how.frequencies, width)

    def waves(numbers: Tensor) -> Tensor:
        channel, row, column = (
            numbers // (rows * columns),
            numbers // columns % rows,
            numbers % columns,
        )
        wave = down[row][:, :, None] * across[column][:, None, :]
        own = torch.arange(channels, device=numbers.device) == channel[:, None]
        return wave[:, None] * own[:, :, None, None]

    return waves, channels * rows * columns


def cosines(size: int) -> Tensor:
    """The orthonormal basis of the DCT-II, a frequency a row. -> (size, size) float64.

    >>> basis = cosines(5)
    >>> torch.allclose(basis @ basis.T, torch.eye(5, dtype=torch.float64))
    True
    """
    position = torch.arange(size, dtype=torch.float64) + 0.5
    frequency = torch.arange(size, dtype=torch.float64)[:, None]
    basis = (math.pi / size * frequency * position).cos() * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis
