"""What attacks without gradients ask, and what they find.

They know of a model its answers alone: logits of images. Images that are attacked together advance
together, yet none has a part in what becomes of another: a model that is asked here answers every
image by itself, draws belong to an image, and every call has the same number of rows, since a
device may round a matrix of another shape in another way, and one rounding decides whether a step
is taken. So counts are those of an image alone, on one device and for one `at_once`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeAlias

import torch
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.train.attacks.targets import is_right

Model: TypeAlias = Callable[[Tensor], Tensor]
"""Images (N, channels, H, W) in [0, 1] -> logits (N, C), each image by itself."""


@dataclass(frozen=True, eq=False)
class Found:
    """What became of N images."""

    correct: Tensor
    """Classified correctly at first: the others are not attacked. (N,) bool."""
    fooled: Tensor
    """And not any more in the end. (N,) bool."""
    queries: Tensor
    """What was asked, without the first look and without whether it is fooled. (N,) int64."""
    images: Tensor
    """As they are in the end. (N, channels, H, W) in [0, 1]."""
    l2: Tensor
    """How far they went from where they were, in l2. (N,)."""
    linf: Tensor
    """And the largest change of a number. (N,)."""

    @classmethod
    def of(
        cls, correct: Tensor, fooled: Tensor, queries: Tensor, images: Tensor, before: Tensor
    ) -> Self:
        """The same with how far images went from where they were before."""
        change = (images - before).flatten(1)
        l2, linf = change.norm(dim=1), change.abs().amax(1)
        return cls(correct, fooled, queries, images, l2, linf)


def answers(model: Model, images: Tensor, *, at_once: int) -> Tensor:
    """Logits of K images, asked in calls of `at_once` rows each. -> (K, C).

    The last call is filled up with its first image, whose further answers are thrown away.

    Raises:
        RunError: one of them is NaN, which is neither right nor wrong.
    """
    found = []
    for part in images.split(at_once):
        filled = torch.cat([part, part[:1].expand(at_once - len(part), *part.shape[1:])])
        found.append(model(filled)[: len(part)])
    logits = torch.cat(found)
    if logits.isnan().any():
        raise RunError("the model answers an image with NaN")
    return logits


def look(model: Model, images: Tensor, labels: Tensor, *, at_once: int) -> tuple[Tensor, Tensor]:
    """The first look, which no attack counts: logits (N, C), and which are right (N,) bool."""
    logits = answers(model, images, at_once=at_once)
    return logits, is_right(logits, labels)


def check_independent(model: Model, images: Tensor, *, at_once: int) -> None:
    """Refuse a model that looks at the whole batch: an attack would be helped by what is beside it.

    Raises:
        RunError: an answer is another one when all other images of its batch are.
    """
    first = images[:1]
    beside = 1 - images[1:at_once]  # whatever they are, they are others now
    one, other = (
        answers(model, torch.cat([first, rest]), at_once=at_once)[0]
        for rest in (images[1:at_once], beside)
    )
    change, scale = (one - other).abs().max(), one.abs().max().clamp(min=1)
    if change > 1e-4 * scale:
        raise RunError(
            "the model's answer to an image depends on the images beside it"
            f" (by {change:.2g} of {scale:.2g}): it cannot be attacked by queries"
        )
