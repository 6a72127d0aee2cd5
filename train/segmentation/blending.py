"""Batches whose images are blends of two: by co-occurrence (SegMix), at random, or by boxes.

Images are (B, 3, H, W), uint8 or float, and masks (B, H, W) uint8 of ids, 255 where a pixel has no
class; ids are never blended. Partners come from the batch: from that of one process, where several
share an epoch. How two images are weighed is drawn from `Draws`, by the first one's sample, and is
a whole number of `PARTS`; so a blend of bytes is exact, see `quire.artifacts.blend`. Everything
happens on the device of the images, and nothing waits for it. A batch has a sample at least.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import betainc
from torch import Tensor

from quire.artifacts.blend import BITS, PARTS
from quire.loaders.draws import Draws


@dataclass(frozen=True, slots=True, eq=False)
class Blended:
    """A batch of blends, and what each was made of.

    An image that found no partner is its own: blended with itself it is what it was, and as its
    delta is 1, its phantom's mask has no weight.
    """

    images: Tensor  # (B, 3, H, W): delta of the sample's own image, the rest of its partner's
    masks: Tensor  # (B, H, W): of the sample's own
    phantom_masks: Tensor  # (B, H, W): of its partner
    parts: Tensor  # (B,) int64: delta, in parts of PARTS
    partner: Tensor  # (B,) int64: its place in the batch

    @property
    def delta(self) -> Tensor:
        """How much of a blend is the sample's own image. (B,) float32 in [0, 1]."""
        return self.parts.to(torch.float32) / PARTS


def blend_by_cooccurrence(
    images: Tensor,
    masks: Tensor,
    cooccurrence: Tensor,
    *,
    draws: Draws,
    alpha: float = 1.0,
    gamma: int | None = 3,
    max_total: int | None = None,
    present: Tensor | None = None,
) -> Blended:
    """Blend each image with the one whose classes occur most often together with its own.

    Algorithm 1 of SegMix, with a delta for each sample: Beta(alpha, alpha), or 1 minus that where
    it is less than half. The printed one is drawn once for the batch, and once it is set to 0.9
    stays so for all samples that follow. Of equal scores the first in the batch wins; an image
    whose classes occur together with none of the batch is left as it is.

    Args:
        images: (B, 3, H, W).
        masks: (B, H, W) uint8.
        cooccurrence: (C, C) counts by class id, background's row and column unused; what the
            diagonal has is what sharing a class is worth, usually 0.
        draws: of the batch's samples.
        alpha: of the Beta distribution.
        gamma: delta is 0.9 where both images' classes, each counted by itself, are more than
            this; None: nowhere.
        max_total: never blend images that have more classes than this, counted likewise.
        present: (B, C) bool, which classes each image has; default: those of its mask.

    Raises:
        ValueError: alpha is not positive.
    """
    if present is None:
        present = classes_present(masks, len(cooccurrence))
    partner, total = partners(present, cooccurrence, max_total=max_total)
    drawn = dominant_parts(draws, alpha=alpha)
    if gamma is not None:
        drawn = torch.where(total > gamma, round(0.9 * PARTS), drawn)
    own = torch.arange(len(images), device=images.device)
    return _blended(images, masks, torch.where(partner == own, PARTS, drawn), partner)


def classes_present(masks: Tensor, classes: int, *, least: float = 0.0) -> Tensor:
    """Which classes each mask has; background and void are none.

    (B, H, W) ids -> (B, C) bool, the first column false. A class of less than the share `least` of
    a mask's pixels does not count: a network sees traces of some class in every image.
    """
    ids = masks.flatten(1).long()
    pixels = torch.zeros(len(masks), 256, dtype=torch.int32, device=masks.device)
    pixels.scatter_add_(1, ids, pixels.new_ones(1).expand(ids.shape))
    present = pixels[:, :classes] >= max(1.0, least * ids.shape[1])
    present[:, 0] = False
    return present


def partners(
    present: Tensor, cooccurrence: Tensor, *, max_total: int | None = None
) -> tuple[Tensor, Tensor]:
    """The sample that each scores highest with, and how many classes the two have.

    (B, C) bool, (C, C) -> (B,) int64, (B,) int64. A score is the sum of the counts of all pairs of
    a class of one and a class of the other. Who scores with nobody is its own partner.
    """
    # exact in float64: counts are far below 2^53
    classes = present.double()
    scores = (classes @ cooccurrence.double() @ classes.T).T  # [k, m]: sum of C[m's][k's]
    counts = present.sum(1)
    totals = counts[:, None] + counts
    own = torch.eye(len(present), dtype=torch.bool, device=present.device)
    scores = scores.masked_fill(own, 0)
    if max_total is not None:
        scores = scores.masked_fill(totals > max_total, 0)
    best, partner = scores.max(dim=1).values, scores.argmax(dim=1)
    partner = torch.where(best > 0, partner, torch.arange(len(present), device=present.device))
    return partner, totals.gather(1, partner[:, None])[:, 0]


def mixup(images: Tensor, masks: Tensor, *, draws: Draws, alpha: float = 1.0) -> Blended:
    """Blend each image with another one of the batch, chosen at random (Zhang et al. 2018).

    (B, 3, H, W), (B, H, W) -> B blends. Delta is Beta(alpha, alpha), for each sample its own; every
    sample is somebody's partner. One alone stays as it is.

    Raises:
        ValueError: alpha is not positive.
    """
    parts = beta_parts(draws, "mixup", alpha=alpha)
    if len(images) < 2:
        parts = torch.full_like(parts, PARTS)
    return _blended(images, masks, parts, ring(draws))


def cutmix(images: Tensor, masks: Tensor, *, draws: Draws, alpha: float = 1.0) -> Blended:
    """Paste a box of another image of the batch, chosen at random, over each (Yun et al. 2019).

    (B, 3, H, W), (B, H, W) -> B images that are not blended. The box is pasted into the mask too,
    so every pixel keeps its own class and delta is 1. A box has the image's shape, its centre is
    anywhere, and what of it lies outside is lost; its share of the area is 1 minus a
    Beta(alpha, alpha).

    Raises:
        ValueError: alpha is not positive.
    """
    partner = ring(draws)
    side = (1 - beta_parts(draws, "cutmix", alpha=alpha).double() / PARTS).sqrt()
    centres = draws.uniforms("cutmix_centre", 2).double()
    rows = _within(images.shape[2], side, centres[:, 0])
    columns = _within(images.shape[3], side, centres[:, 1])
    box = rows[:, :, None] & columns[:, None]
    pasted = torch.where(box, masks[partner], masks)
    return Blended(
        images=torch.where(box[:, None], images[partner], images),
        masks=pasted,
        phantom_masks=pasted,
        parts=torch.full_like(partner, PARTS),
        partner=partner,
    )


def blended(images: Tensor, others: Tensor, parts: Tensor) -> Tensor:
    """Some parts of each image and the rest of another. (B, ...) twice, (B,) int64 -> (B, ...).

    Bytes become what `quire.artifacts.blend.blended` makes of them.
    """
    parts = parts.view(-1, *[1] * (images.ndim - 1))
    if images.is_floating_point():
        return (parts * images + (PARTS - parts) * others) / PARTS
    total = images.to(torch.int32).sub_(others).mul_(parts.to(torch.int32)).add_(PARTS // 2)
    return total.bitwise_right_shift_(BITS).add_(others).to(images.dtype)


def beta_parts(draws: Draws, purpose: str, *, alpha: float) -> Tensor:
    """A Beta(alpha, alpha) number for each sample, to the nearest part. -> (B,) int64, 0..PARTS.

    The distribution is exact: a uniform number is looked up among the probabilities of the parts.

    Raises:
        ValueError: alpha is not positive.
    """
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; it must be positive")
    halves = (np.arange(PARTS) + 0.5) / PARTS  # from here on a number is nearer to the next part
    chances = torch.from_numpy(betainc(alpha, alpha, halves)).to(draws.rows.device)
    return torch.bucketize(draws.uniforms(purpose, 1)[:, 0].double(), chances, right=True)


def dominant_parts(draws: Draws, *, alpha: float) -> Tensor:
    """Beta(alpha, alpha) or 1 minus that, whichever is more. -> (B,) int64, PARTS / 2..PARTS.

    Raises:
        ValueError: alpha is not positive.
    """
    parts = beta_parts(draws, "blend", alpha=alpha)
    return torch.maximum(parts, PARTS - parts)


def ring(draws: Draws) -> Tensor:
    """For each sample another, so that all form one ring; each ring is as likely. -> (B,) int64."""
    order = draws.uniforms("ring", 1)[:, 0].argsort(stable=True)
    return torch.empty_like(order).scatter_(0, order, order.roll(-1))


def _blended(images: Tensor, masks: Tensor, parts: Tensor, partner: Tensor) -> Blended:
    return Blended(
        images=blended(images, images[partner], parts),
        masks=masks,
        phantom_masks=masks[partner],
        parts=parts,
        partner=partner,
    )


def _within(size: int, side: Tensor, centre: Tensor) -> Tensor:
    """The rows or columns of each sample that its box covers. (B,), (B,) -> (B, size) bool."""
    place = torch.arange(size, device=side.device)
    half = (size * side).floor().long() // 2
    middle = (size * centre).floor().long()
    return ((middle - half)[:, None] <= place) & (place < (middle + half)[:, None])
