r"""The fast gradient sign method of Goodfellow, Shlens & Szegedy (2015).

An image becomes $x + \epsilon \, \mathrm{sign}(\nabla_x C(\theta, x, y))$, Eq. 2 of Ben Amor, Stier
& Granitzer, where $C$ is the cross-entropy with the label.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from quire.train.attacks.results import Outcome
from quire.train.attacks.targets import Models, confidence, evaluating, is_right, log_odds


@dataclass(frozen=True, eq=False)
class Perturbed:
    """What became of every image of a batch, for each of M models."""

    correct: Tensor
    """Classified correctly before. (M, B) bool."""
    fooled: Tensor
    """And not after. (M, B) bool."""
    confidence: Tensor
    """The probability of the class that was found after. (M, B)."""
    images: Tensor
    """The images after. (M, B, ...)."""

    def outcome(self) -> Outcome:
        """Its `error_rate` is Eq. 4, its `mean` the confidence of Eq. 5."""
        return Outcome.of(self.correct, self.fooled, self.confidence)


def fgsm(
    models: Models, images: Tensor, labels: Tensor, *, epsilon: float = 0.1, clip: bool = False
) -> Perturbed:
    """Add epsilon times the sign of each model's own gradient to every image.

    (B, ...) in [0, 1], (B,) int64. The paper does not `clip` the result to [0, 1].
    """
    sign, correct = gradient_sign(models, images, labels)
    after = perturbed(images, sign, epsilon, clip=clip)
    with evaluating(models), torch.no_grad():
        logits = models(after)
    fooled = correct & ~is_right(logits, labels)
    return Perturbed(correct, fooled, confidence(logits), after)


def gradient_sign(models: Models, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The sign of the gradient, and which images are classified correctly.

    (B, ...), (B,) int64 -> (M, B, ...) of -1, 0 and 1, (M, B) bool. Gradients of the models'
    parameters are neither computed nor changed.
    """
    own = images.detach().expand(len(models), *images.shape).requires_grad_()
    with evaluating(models), torch.enable_grad():
        logits = models(own)
        # the sign is that of the cross-entropy's gradient, also where that would be all rounding
        (gradient,) = torch.autograd.grad(log_odds(logits, labels).sum(), own)
    return gradient.sign(), is_right(logits.detach(), labels)


def perturbed(images: Tensor, sign: Tensor, epsilon: float, *, clip: bool) -> Tensor:
    """Eq. 2: x + epsilon sign, brought back to [0, 1] if `clip`. Shapes are broadcast."""
    after = images + epsilon * sign
    return after.clamp(0, 1) if clip else after
