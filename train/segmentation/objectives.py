"""What a step of segmentation minimises: a loss of a batch, by variant and stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from torch import Tensor

from quire.models.binding_losses import (
    DenoisingLoss,
    SeparationLoss,
    denoising_loss,
    mixed_loss,
    segmentation_loss,
    separation_loss,
)
from quire.train.segmentation.blending import Blended
from quire.train.segmentation.run import Variant


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch."""

    loss: Tensor  # (), to be minimised
    terms: Mapping[str, Tensor] = field(default_factory=dict)  # (), what the loss is made of


Scored: TypeAlias = Callable[[Tensor], Any]  # (B, 3, H, W) uint8 -> what a model says of them
Objective: TypeAlias = Callable[[Scored, Blended], Outcome]


def plain(scored: Scored, batch: Blended) -> Outcome:
    """The cross-entropy of every pixel: of the baseline, and of CutMix, whose masks are pasted."""
    return Outcome(segmentation_loss(scored(batch.images), batch.masks))


def mixed(scored: Scored, batch: Blended) -> Outcome:
    """Mixup's: one answer, held against both scenes."""
    scores = scored(batch.images)
    return Outcome(mixed_loss(scores, batch.masks, batch.phantom_masks, batch.delta))


def separated(scored: Scored, batch: Blended) -> Outcome:
    """The first stage of feature binding (SegMix, Eq. 5)."""
    scores = scored(batch.images)
    return _told(separation_loss(scores, batch.masks, batch.phantom_masks, batch.delta))


def denoised(scored: Scored, batch: Blended) -> Outcome:
    """The second stage (SegMix, Eq. 6), of scenes that are not blended."""
    return _told(denoising_loss(scored(batch.images), batch.masks))


OBJECTIVES: Mapping[Variant, Objective] = {
    "baseline": plain,
    "mixup": mixed,
    "mixup-cm": mixed,
    "cutmix": plain,
    "binding-cc": separated,
    "binding-cm": separated,
}


def _told(loss: SeparationLoss | DenoisingLoss) -> Outcome:
    terms = {f"loss_{one.name}": getattr(loss, one.name) for one in fields(loss)}
    there = {name: term.detach() for name, term in terms.items() if term is not None}
    return Outcome(loss.total, there)
