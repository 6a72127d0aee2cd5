"""DeepFool: the smallest step across the nearest boundary between two classes.

Moosavi-Dezfooli, Fawzi & Frossard 2016 (DeepFool: a simple and accurate method to fool deep neural
networks), algorithm 2, as the authors' code for universal perturbations has it: of the most
probable classes alone, with a step that goes a little too far.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least

Logits: TypeAlias = Callable[[Tensor], Tensor]  # (B, C, H, W) -> (B, K); no image sees another


@dataclass(frozen=True, kw_only=True)
class DeepFool:
    """How a boundary is looked for; the defaults are those of universal perturbations."""

    classes: int = 10
    """The most probable classes, whose boundaries are looked at; or all, if there are fewer."""
    overshoot: float = 0.02
    """Go so much further than the boundary, as a part of the way."""
    steps: int = 10
    """Steps, at most."""

    def __post_init__(self) -> None:
        """Refuse what is wrong.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(2, self, "classes", error=RunError)
        check_at_least(1, self, "steps", error=RunError)
        if not self.overshoot >= 0:
            raise RunError(f"overshoot is {self.overshoot}; it must be at least 0")


def deepfool(logits_of: Logits, image: Tensor, how: DeepFool) -> Tensor | None:
    """What changes the class of an image, and little more.

    Args:
        logits_of: a classifier, of images in any unit.
        image: (C, H, W) float; it is not cut off at black and white.
        how: see `DeepFool`.

    Returns:
        (C, H, W), what is to be added; None, where `how.steps` steps did not change the class, or
        no boundary leads anywhere.
    """
    with torch.no_grad():
        classes = logits_of(image[None])[0].argsort(descending=True)[: how.classes]
    total = torch.zeros_like(image)
    for _ in range(how.steps):
        logits, gradients = _linear(logits_of, image + (1 + how.overshoot) * total, classes)
        heights = (logits[1:] - logits[0]).abs()  # above the class that the image had at first
        slopes = (gradients[1:] - gradients[0]).flatten(1)
        lengths = slopes.norm(dim=1)
        distances = torch.where(lengths > 0, heights / lengths, torch.inf)
        nearest = int(distances.argmin())
        if not bool(distances[nearest].isfinite()):
            return None
        step = distances[nearest] * slopes[nearest] / lengths[nearest]
        total += step.view_as(total)
        with torch.no_grad():
            now = logits_of((image + (1 + how.overshoot) * total)[None])[0].argmax()
        if now != classes[0]:
            return (1 + how.overshoot) * total
    return None


def _linear(logits_of: Logits, image: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of some classes, and their gradients, by as many copies of one image.

    (C, H, W), (n,) -> (n,), (n, C, H, W).
    """
    copies = image.expand(len(classes), *image.shape).clone().requires_grad_()
    with torch.enable_grad():
        own = logits_of(copies).gather(1, classes[:, None])[:, 0]
        (gradients,) = torch.autograd.grad(own.sum(), copies)
    return own.detach(), gradients
