"""The one-pixel attack of Su, Vargas & Sakurai (2019): a pixel is replaced, found by evolution.

A candidate is a place and a value for each channel. Differential evolution makes the probability
of the label as small as it can (Eq. 3 of Ben Amor, Stier & Granitzer), and stops at the first
generation in which a candidate is misclassified. All candidates of all images and models go
through a generation together, yet none of them has an influence on another's draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from quire.train.attacks.evolution import Evolution, places
from quire.train.attacks.results import Outcome
from quire.train.attacks.targets import (
    Models,
    Replaceable,
    Replaced,
    answered,
    confidence,
    evaluating,
    is_right,
    log_odds,
    logits_of,
)

Shape: TypeAlias = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, eq=False)
class Pixels:
    """What became of every image of a batch, for each of M models."""

    correct: Tensor
    """Classified correctly at first: the others are not attacked. (M, B) bool."""
    fooled: Tensor
    """And not with the pixel that was found. (M, B) bool."""
    confidence: Tensor
    """The probability of the class that is found with it; NaN if not fooled. (M, B)."""
    place: Tensor
    """Its column and row; -1 if not fooled. (M, B, 2) int64."""
    value: Tensor
    """Its channels, in [0, 1]; NaN if not fooled. (M, B, channels)."""
    generation: Tensor
    """In which it was found, 0 for the first; -1 if not fooled. (M, B) int64."""

    def outcome(self) -> Outcome:
        """Its `error_rate` is Eq. 4, its `mean` the confidence of Eq. 5."""
        return Outcome.of(self.correct, self.fooled, self.confidence)


def one_pixel(
    models: Models,
    images: Tensor,
    labels: Tensor,
    rows: Tensor,
    *,
    numbers: Tensor | None = None,
    shape: Shape | None = None,
    evolution: Evolution | None = None,
    chunk: int | None = None,
    tell: Callable[[float], None] | None = None,
) -> Pixels:
    """Look for a pixel of each image with which each model that had it right has it wrong.

    (B, ...) in [0, 1], (B,) int64, (B,) int64. `shape` is that of an image, by default what
    follows B: flat ones need it. What is drawn for an image depends on its row in its bundle and
    on the number of the model alone, whatever is attacked beside them: `rows`, and `numbers` (M,)
    int64, by default 0 to M - 1, all in [0, 2^31). A pair that is done costs nothing more.

    At most `chunk` images are seen at once, after the first M B; by default 8,192, or 524,288 on a
    GPU. Candidates are kept for all pairs: attack fewer images or models at a time where memory is
    short, and find the same. After each generation `tell` is called with the share of them that is
    done.

    With more than two classes an image can be missed: where the label is least probable, it may
    still be more probable than any other class.
    """
    channels, height, width = shape or images.shape[1:]
    if chunk is None:
        chunk = 2**19 if images.device.type == "cuda" else 2**13
    numbers = torch.arange(len(models)) if numbers is None else numbers
    keys = (numbers.to(rows)[:, None] << 32) + rows  # (M, B), no two of them equal
    keys = keys.to(images.device)
    with evaluating(models), torch.no_grad():
        replaced = models.replacing(images.flatten(1)) if isinstance(models, Replaceable) else None
        target = _Target(models, images, labels, (channels, height, width), chunk, replaced)
        correct = is_right(models(images.expand(len(models), *images.shape)), labels)
        found = _nothing(correct, images, channels)
        _search(target, keys, evolution or Evolution(), found, tell)
    return found


def with_pixel(images: Tensor, place: Tensor, value: Tensor, *, shape: Shape) -> Tensor:
    """Copies whose pixel is replaced. (N, ...), (N, 2), (N, channels) -> (N, ...).

    A place is a column and a row; both start at 0.

    >>> with_pixel(torch.zeros(1, 6), torch.tensor([[2, 1]]), torch.ones(1, 1), shape=(1, 2, 3))
    tensor([[0., 0., 0., 0., 0., 1.]])
    """
    index = _index(place, shape)
    return images.flatten(1).scatter(1, index, value.to(images.dtype)).view_as(images)


def _index(place: Tensor, shape: Shape) -> Tensor:
    """Where the channels of a pixel are in a flat image. (N, 2) -> (N, channels) int64."""
    channels, height, width = shape
    column, row = place.unbind(1)
    plane = height * width * torch.arange(channels, device=place.device)
    return plane + (row * width + column)[:, None]


@dataclass(frozen=True, eq=False)
class _Target:
    """What is attacked."""

    models: Models
    images: Tensor
    labels: Tensor
    shape: Shape
    chunk: int
    replaced: Replaced | None  # what need not see whole images, where the models have it

    def logits(self, pairs: Tensor, genes: Tensor) -> Tensor:
        """Of K candidates. (K, 2) of model and image, (K, G) -> (K, C)."""
        place, value = places(genes, self.shape), genes[:, 2:]
        if self.replaced is not None:
            replaced, image, index = self.replaced, pairs[:, 1], _index(place, self.shape)
            return answered(
                len(self.models),
                pairs[:, 0],
                lambda which: replaced(image[which], index[which], value[which]),
                chunk=self.chunk,
            )
        inputs = partial(self._inputs, pairs[:, 1], place, value)
        return logits_of(self.models, pairs[:, 0], inputs, chunk=self.chunk)

    def _inputs(self, image: Tensor, place: Tensor, value: Tensor, which: Tensor) -> Tensor:
        """Some of the candidates' images. (M, n) -> (M, n, ...)."""
        flat = which.flatten()
        inputs = with_pixel(self.images[image[flat]], place[flat], value[flat], shape=self.shape)
        return inputs.view(*which.shape, *inputs.shape[1:])


def _nothing(correct: Tensor, images: Tensor, channels: int) -> Pixels:
    """Nothing is found yet."""
    none = torch.full_like(correct, -1, dtype=torch.int64)
    return Pixels(
        correct=correct,
        fooled=torch.zeros_like(correct),
        confidence=images.new_full(correct.shape, torch.nan),
        place=none.unsqueeze(2).repeat(1, 1, 2),
        value=images.new_full((*correct.shape, channels), torch.nan),
        generation=none,
    )


def _search(
    target: _Target,
    keys: Tensor,
    evolution: Evolution,
    found: Pixels,
    tell: Callable[[float], None] | None,
) -> None:
    """Attack what is correct, and write down what is found."""
    pairs = found.correct.nonzero()  # (N, 2) of model and image, of those that are left
    keys = keys[found.correct]
    genes = trial = evolution.first(keys, target.shape)
    fitness = torch.full_like(genes[..., 0], -torch.inf, dtype=torch.float64)
    for generation in range(evolution.generations + 1):
        if not len(pairs):
            break
        if generation:
            trial = evolution.mutants(genes, fitness, keys, generation, target.shape)
        judged = _judged(target, pairs, trial)
        left = ~judged.wrong.any(1)
        _write(found, generation, pairs[~left], trial[~left], judged.of(~left), target.shape)
        better = judged.odds >= fitness
        fitness = torch.where(better, judged.odds, fitness)[left]
        genes = torch.where(better.unsqueeze(2), trial, genes)[left]
        pairs, keys = pairs[left], keys[left]
        if tell:
            tell((generation + 1) / (evolution.generations + 1))


@dataclass(frozen=True, eq=False)
class _Judged:
    """What the models say of the candidates of N pairs. (N, P) each."""

    odds: Tensor  # the fitness: those against the label
    wrong: Tensor
    confidence: Tensor

    def of(self, pairs: Tensor) -> "_Judged":
        return _Judged(self.odds[pairs], self.wrong[pairs], self.confidence[pairs])


def _judged(target: _Target, pairs: Tensor, trial: Tensor) -> _Judged:
    """Ask the models of all candidates. (N, 2), (N, P, G)."""
    size = trial.shape[1]
    labels = target.labels[pairs[:, 1]].repeat_interleave(size)
    logits = target.logits(pairs.repeat_interleave(size, dim=0), trial.flatten(0, 1))
    odds = log_odds(logits, labels).double()
    wrong = ~is_right(logits, labels)
    return _Judged(*(part.view(-1, size) for part in (odds, wrong, confidence(logits))))


def _write(
    found: Pixels, generation: int, pairs: Tensor, trial: Tensor, judged: _Judged, shape: Shape
) -> None:
    """Of the candidates that are misclassified, the one with the best odds is the attack."""
    choice = judged.odds.masked_fill(~judged.wrong, -torch.inf).argmax(1, keepdim=True)
    genes = trial.take_along_dim(choice.unsqueeze(2), 1).squeeze(1)
    at = pairs.unbind(1)
    found.fooled[at] = True
    confidences = judged.confidence.take_along_dim(choice, 1).squeeze(1)
    found.confidence[at] = confidences.to(found.confidence.dtype)
    found.place[at] = places(genes, shape)
    found.value[at] = genes[:, 2:].to(found.value.dtype)
    found.generation[at] = generation
