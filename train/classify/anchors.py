"""Anchors: images of known classes that a run compares all others with (CNN2Graph).

They are a bundle of their own, and all of it is used, in its order, from the first step to the
last evaluation. Only how they are augmented changes: once for every epoch.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.errors import BundleError, RunError
from quire.loaders.draws import Draws
from quire.loaders.stream import stream
from quire.train.classify.augmentation import augmented
from quire.train.classify.run import Classify
from quire.train.engine.dataset_checks import check_same_kind, shape_of
from quire.train.engine.options import key
from quire.train.engine.runs import Run, absolute

ANCHORS = "anchors"  # what a run's record calls the bundle


@dataclass(frozen=True, eq=False, kw_only=True)
class Anchors:
    """The anchors as they are, and which they are."""

    images: Tensor  # (A, channels, H, W) uint8
    labels: Tensor  # (A,) int64
    rows: Tensor  # (A,) int64, in the bundle
    bundle: str  # the sha256 of its manifest
    place: str  # its folder or address


def read_anchors(run: Run, place: str, device: torch.device) -> Anchors:
    """Every image of a bundle, as anchors for a run.

    Raises:
        RunError: the bundle has other classes or channels than the run, images of different sizes,
            or none of some class.
        BundleError: it is damaged.
    """
    place = Location(place)
    everything = stream(place, device=device)
    check_same_kind(run, everything, place)
    batches = list(everything)
    images, labels, rows = (
        torch.cat([batch[name] for batch in batches]) for name in ("image", "label", "row")
    )
    lacking = (torch.bincount(labels, minlength=len(run.classes)) == 0).nonzero()
    if len(lacking):
        raise RunError(f"{place} has no anchor of class {run.classes[int(lacking[0])]!r}")
    bundle = everything.state_dict()["bundle"]
    return Anchors(images=images, labels=labels, rows=rows, bundle=bundle, place=absolute(place))


def with_anchors(
    config: Classify, run: Run, data: str, place: str | None, device: torch.device
) -> tuple[Run, Anchors | None]:
    """What a run on some data compares images with, if its head does; and the run, which names it.

    Raises:
        RunError: anchors are wanted and not named, or not wanted, or do not fit the run's data.
        BundleError: their bundle is damaged.
    """
    if config.head != "cnn2graph":
        if place is not None:
            raise RunError(f"anchors are named, but a {config.head} head has no use for them")
        return run, None
    if place is None:
        raise RunError("a cnn2graph head compares images with anchors: name their bundle")
    anchors = read_anchors(run, place, device)
    _, *wanted = shape_of(stream(data), data)
    if (found := list(anchors.images.shape[2:])) != wanted:
        raise RunError(f"the anchors in {place} have {found} pixels, the images {wanted}")
    inputs = {**run.inputs, ANCHORS: anchors.bundle}
    return replace(run, inputs=inputs, places={**run.places, ANCHORS: anchors.place}), anchors


def anchors_of(run: Run, place: str | None, device: torch.device) -> Anchors:
    """The anchors of a run, from where it had them or from another place.

    Raises:
        RunError: they are not there, or are not those of the run.
    """
    place = place or run.places[ANCHORS]
    try:
        found = read_anchors(run, place, device)
    except (BundleError, OSError) as error:
        raise RunError(f"the anchors are wanted ({error}): name their bundle") from error
    if found.bundle != run.inputs[ANCHORS]:
        raise RunError(f"{place} is not the bundle of anchors that the run was trained with")
    return found


class AnchorViews:
    """The anchors as a run sees them: augmented once an epoch, and the same in all its steps."""

    def __init__(self, anchors: Anchors, config: Classify) -> None:
        self._anchors = anchors
        self._config = config
        self._seed = key(config.seed, ANCHORS)  # not the draws of the images with these rows
        self._epoch, self._views = -1, anchors.images

    def of(self, epoch: int) -> Tensor:
        """(A, channels, H, W) float32 in [0, 1]: the same tensor, as long as the epoch is."""
        if epoch != self._epoch:
            draws = Draws(self._seed, epoch, self._anchors.rows)
            self._views = augmented(self._config, self._anchors.images, draws)
            self._epoch = epoch
        return self._views
