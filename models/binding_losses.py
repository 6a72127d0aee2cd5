r"""The losses of SegMix (Eq. 5 and 6), and those of its baselines.

Scores are (B, C, h, w) at a network's resolution, and are compared at that of the masks, which
have (B, H, W) ids below C, or 255 where a pixel belongs to no class and none is asked for. A
cross-entropy is a mean over all pixels of the batch that belong to a class, as it is without
blending; where samples have weights of their own, a pixel is multiplied by its sample's and the
divisor stays, so equal weights are a factor. No such pixel at all gives 0. Everything is computed
in float32 at least.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.models.deeplab import upsampled
from quire.models.feature_binding import Scores

VOID = 255


@dataclass(frozen=True, slots=True)
class SeparationLoss:
    r"""Stage 1: $\ell_{fb} + \delta \ell_t + (1 - \delta) \ell_p$ (Eq. 5), the weights within."""

    bound: Tensor | None  # (); None without a head that binds
    target: Tensor  # ()
    phantom: Tensor  # ()

    @property
    def total(self) -> Tensor:
        """What is minimised. ()."""
        apart = self.target + self.phantom
        return apart if self.bound is None else self.bound + apart


@dataclass(frozen=True, slots=True)
class DenoisingLoss:
    r"""Stage 2: $\ell_t + \ell_{PPA}$ (Eq. 6)."""

    target: Tensor  # ()
    penalty: Tensor  # ()

    @property
    def total(self) -> Tensor:
        """What is minimised. ()."""
        return self.target + self.penalty


def separation_loss(
    scores: Scores, masks: Tensor, phantom_masks: Tensor, delta: Tensor
) -> SeparationLoss:
    """Stage 1, on blends: both sources are told apart, and bound again.

    An image that was not blended has delta 1: its phantom mask, whatever it is, adds nothing to
    the loss of the phantom's scores.

    Args:
        scores: of B blends.
        masks: (B, H, W) ids of the dominant images.
        phantom_masks: (B, H, W) ids of the others.
        delta: (B,) float in [0, 1], how much of a blend is its dominant image.
    """
    return SeparationLoss(
        bound=None if scores.bound is None else segmentation_loss(scores.bound, masks),
        target=segmentation_loss(scores.target, masks, delta),
        phantom=segmentation_loss(scores.phantom, phantom_masks, 1 - delta),
    )


def denoising_loss(scores: Scores, masks: Tensor) -> DenoisingLoss:
    """Stage 2, on images as they are: the phantom falls silent. See `phantom_activation`."""
    target = segmentation_loss(scores.target, masks)
    return DenoisingLoss(target, phantom_activation(scores.phantom))


def phantom_activation(scores: Tensor) -> Tensor:
    r"""$\log(1 + \sum \mathrm{ReLU}(S_p))$ of each image, the mean over the batch. (B, …) -> ().

    The paper's logarithm has no 1: it and its slope are infinite once nothing is active, which is
    the aim. Here both are 0 then.
    """
    active = scores.to(torch.promote_types(scores.dtype, torch.float32)).relu()
    return active.flatten(1).sum(dim=1).log1p().mean()


def segmentation_loss(scores: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of every pixel. (B, C, h, w), (B, H, W), (B,) float -> ()."""
    return _cross_entropy(_log_probabilities(scores, masks), masks, weights)


def mixed_loss(scores: Tensor, masks: Tensor, other_masks: Tensor, delta: Tensor) -> Tensor:
    """Mixup's loss: one answer, held against both sources of a blend.

    (B, C, h, w), (B, H, W) twice, (B,) float -> ().
    """
    logs = _log_probabilities(scores, masks)
    return _cross_entropy(logs, masks, delta) + _cross_entropy(logs, other_masks, 1 - delta)


def _log_probabilities(scores: Tensor, masks: Tensor) -> Tensor:
    """Of each class, at the resolution of the masks. -> (B, C, H, W)."""
    return F.log_softmax(upsampled(scores, (masks.shape[1], masks.shape[2])), dim=1)


def _cross_entropy(logs: Tensor, masks: Tensor, weights: Tensor | None) -> Tensor:
    """The mean over pixels that belong to a class. -> ()."""
    targets = masks.long()
    losses = F.nll_loss(logs, targets, ignore_index=VOID, reduction="none")  # 0 where void
    totals = losses.flatten(1).sum(dim=1)
    if weights is not None:
        totals = totals * weights
    return totals.sum() / (targets != VOID).sum().clamp(min=1)
