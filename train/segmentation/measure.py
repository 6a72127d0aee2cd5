"""How well a run segments: counts of pixels for every scene, and from them any part of the data.

The middle of each scene is looked at, a square of the size of the crops, or all of a scene whose
longer side is brought to a size; what is beside a smaller one is the fill colour, and counts for
nothing. Scores are brought to that size, bilinear, and the
highest one is the prediction. Counts are kept beside the run, one matrix a scene, so another subset
takes no new pass over the data.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.bundle import open_bundle
from quire.artifacts.crop import whole_crop
from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.artifacts.perturbation_table import named, read_perturbations
from quire.loaders.augment import to_float
from quire.loaders.crops import centre_crops, crop_images, crop_masks
from quire.loaders.stream import Stream
from quire.models.deeplab import DeepLab, upsampled
from quire.models.feature_binding import FeatureBinding
from quire.train.attacks.universal import at_size, perturbed
from quire.train.engine.dataset_checks import check_classes
from quire.train.engine.options import Report, best_device, full_float32
from quire.train.engine.runs import (
    EVALUATIONS,
    Run,
    digest,
    to_record,
    write_record,
)
from quire.train.engine.subset import stream_of
from quire.train.segmentation.iou import confusion, iou, mean_iou
from quire.train.segmentation.run import Model, Segment, trained
from quire.train.segmentation.scenes import check_ids, check_members

ANSWERS = ("target", "bound", "phantom")  # in the order in which they are told
_ROWS, _FLIPPED = "rows", "flipped "  # names of tensors in a file of counts, besides ANSWERS
_REDUCED = 16  # times that the trunk reduces an image


@dataclass(frozen=True, kw_only=True)
class Measure:
    """Measure a trained network of segmentation on scenes."""

    crop: int | None = None
    """Pixels of the square in the middle of a scene; default: as in training, and no less than the
    longer side that scenes are brought to."""
    longest: int | None = None
    """Bring a scene's longer side to so many pixels first; default: as in training."""
    images: int | None = None
    """Measure on so many scenes, chosen at random once and for all; default: all."""
    batch_size: int = 16
    """Scenes at a time, which does not change what is predicted but for rounding."""
    separation: bool = False
    """Measure the network as it was before denoising."""
    perturbation: tuple[str, str] | None = None
    """A bundle of universal perturbations, and the name of the one that is added to all scenes."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "crop", "longest", "images", "batch_size", error=RunError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How well some scenes were segmented, by one of a network's answers."""

    answer: str
    """target: DeepLab's scores, or S_t of feature binding; bound: its S_fb; phantom: its S_p."""
    scenes: int
    mean_iou: float
    """Over classes that occur or were predicted, in [0, 1]; NaN without a pixel."""
    occurring_iou: float
    """Over classes that occur."""
    classes: tuple[float, ...]
    """Each class's; NaN for one that neither occurs nor was predicted."""
    flipped: float | None = None
    """Share of pixels, the fill around a scene among them, whose class is another one by a
    perturbation; None without one."""


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """Pixels of each scene by true and by predicted class, for every answer of a network."""

    rows: Tensor  # (N,) int64, in the bundle, rising
    answers: Mapping[str, Tensor]  # (N, C, C) int32, [scene, true, predicted]
    flipped: Mapping[str, Tensor]  # (N,) float64: see `Measured`; empty without a perturbation

    def over(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> list[Measured]:
        """What is measured of the scenes in these rows of the bundle, or of all.

        Raises:
            RunError: a row was not counted.
        """
        chosen = self.rows if rows is None else torch.as_tensor(np.asarray(rows, np.int64))
        places = torch.searchsorted(self.rows, chosen).clamp(max=len(self.rows) - 1)
        if not torch.equal(self.rows[places], chosen):
            raise RunError("scenes are asked for that were not measured")
        found = []
        for name, counts in self.answers.items():
            flipped = self.flipped[name][places].mean().item() if self.flipped else None
            found.append(_measured(name, len(chosen), counts[places].sum(dim=0), flipped))
        return found


def _measured(answer: str, scenes: int, counts: Tensor, flipped: float | None) -> Measured:
    each = iou(counts)
    return Measured(
        answer=answer,
        scenes=scenes,
        mean_iou=mean_iou(counts),
        occurring_iou=each[counts.sum(dim=1) > 0].mean().item(),
        classes=tuple(each.tolist()),
        flipped=flipped,
    )


def count(
    folder: Path,
    data: str,
    *,
    how: Measure | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> Counted:
    """Count a finished run's pixels on a bundle of scenes; what was counted before is read.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address.
        how: which part of it, and of the scenes.
        device: a GPU where there is one, unless it is named.
        report: called with the scenes that are done, and their number.

    Raises:
        RunError: the run is not finished, or the bundle has no masks, or other classes than the
            run, or ids beyond them.
        BundleError: a bundle is damaged, or has no such perturbation.
    """
    data = Location(data)
    how = how or Measure()
    run, config, model = trained(folder, separation=how.separation)
    scenes = _scenes(run, data, how)
    config = replace(config, longest=how.longest or config.longest)
    size = how.crop or config.test_crop
    asked = {**to_record(how), "crop": size}
    del (
        asked["batch_size"],
        asked["perturbation"],
        asked["longest"],
    )  # asked only where there is one
    if config.longest is not None:
        asked["longest"] = config.longest
    delta = None
    if how.perturbation is not None:
        bundle, name = open_bundle(Location(how.perturbation[0])), how.perturbation[1]
        delta = at_size(named(read_perturbations(bundle), name), size, size)
        asked["perturbation"] = {"bundle": bundle.manifest.sha256, "name": name}
    question = {"method": run.method, **asked, "bundle": scenes.state_dict()["bundle"]}
    path = folder / EVALUATIONS / f"{digest(question)}.safetensors"
    if not path.exists():
        where = best_device(device)
        predictor = Predictor(model.to(where), config, where)
        counted = _counted(predictor, scenes, data, size, len(run.classes), delta, report)
        overall = {one.answer: one.mean_iou for one in counted.over()}
        write_record(path.with_suffix(".json"), {"question": question, "mean_iou": overall})
        with whole_file(path) as file:
            flipped = {f"{_FLIPPED}{name}": own for name, own in counted.flipped.items()}
            file.write(serialized({_ROWS: counted.rows, **counted.answers, **flipped}))
    return _read(path)


class Predictor:
    """A network that says which class every pixel of an image is."""

    def __init__(self, model: Model, config: Segment, device: torch.device) -> None:
        """`model` is on the device."""
        self.model = model.eval().to(memory_format=torch.channels_last)
        self.config = config
        self.device = device

    def answers(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) uint8 -> (B, H, W) int64 class ids, for each answer there is."""
        return self.answers_to(to_float(images.to(self.device)))

    def answers_to(self, images: Tensor) -> dict[str, Tensor]:
        """The same of images that are fractions: (B, 3, H, W) float32 in [0, 1], on the device."""
        return {name: own.argmax(dim=1) for name, own in self.scores(images).items()}

    def scores(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float32 in [0, 1] -> (B, C, H, W) float32, for each answer there is.

        All is computed in float32, also where the network was trained with less.
        """
        size = images.shape[2], images.shape[3]
        floats = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), full_float32():
            return {name: upsampled(own, size) for name, own in self._scores(floats).items()}

    def of_whole(self, image: Tensor, answer: str) -> Tensor:
        """The scores of an image of any size. (3, H, W) uint8 -> (C, H, W) float32.

        It is brought to the size of training, where that has one, and padded with the fill colour
        of training to sides that are as the crops' but for multiples of what the trunk reduces by:
        so scores lie on pixels as they do there. (A map of 33 for 513 pixels has its cells every
        15.5 pixels, half a cell in; one of 32 for 512 had all of them half a cell too far.)
        """
        whole = whole_crop(image.shape[1], image.shape[2], longest=self.config.longest)
        height, width = whole.height, whole.width
        padded = torch.tensor(self.config.fill, dtype=torch.uint8)[:, None, None].repeat(
            1, self._padded(height), self._padded(width)
        )
        scaled = crop_images([image], [whole], fill=self.config.fill)[0]
        padded[:, :height, :width] = scaled[:, :height, :width]
        scores = self.scores(to_float(padded[None].to(self.device)))[answer][..., :height, :width]
        if (height, width) == tuple(image.shape[1:]):
            return scores[0]
        return upsampled(scores, (image.shape[1], image.shape[2]))[0]

    def _padded(self, side: int) -> int:
        return side + (self.config.crop - side) % _REDUCED

    def _scores(self, images: Tensor) -> dict[str, Tensor]:
        if isinstance(self.model, DeepLab):
            return {"target": self.model(images)}
        assert isinstance(self.model, FeatureBinding)
        found = self.model(images)
        scores = {"target": found.target, "bound": found.bound, "phantom": found.phantom}
        return {name: one for name, one in scores.items() if one is not None}


def centred(batch: Mapping[str, object], size: int, config: Segment) -> tuple[Tensor, Tensor]:
    """The middle of a batch's scenes. -> (B, 3, size, size) uint8, (B, size, size) uint8."""
    images, masks = batch["image"], batch["mask"]
    assert isinstance(images, Tensor | list) and isinstance(masks, Tensor | list)
    crops = centre_crops(images, size=size, longest=config.longest)
    return crop_images(images, crops, fill=config.fill), crop_masks(masks, crops)


def _counted(
    predictor: Predictor,
    scenes: Stream,
    data: str,
    size: int,
    classes: int,
    delta: Tensor | None,
    report: Report | None,
) -> Counted:
    """One pass over the scenes; with a perturbation, each is looked at without it too."""
    rows: list[Tensor] = []
    found: dict[str, list[Tensor]] = {}
    flipped: dict[str, list[Tensor]] = {}
    for batch in in_colour(scenes, data):
        images, masks = centred(batch, size, predictor.config)
        check_ids(masks, classes, scenes, batch["row"])
        rows.append(batch["row"])
        there = masks.to(predictor.device)
        answers = predictor.answers(images)
        if delta is not None:
            clean = answers
            answers = predictor.answers_to(perturbed(images.to(predictor.device), delta))
            for name, predicted in answers.items():
                changed = (predicted != clean[name]).double().mean(dim=(1, 2))
                flipped.setdefault(name, []).append(changed.cpu())
        for name, predicted in answers.items():
            counts = confusion(predicted, there, classes=classes)
            found.setdefault(name, []).append(counts.int().cpu())  # fewer than 2^31 pixels
        if report:
            report(sum(map(len, rows)), len(scenes.rows))
    joined, changes = (
        {name: torch.cat(parts) for name, parts in own.items()} for own in (found, flipped)
    )
    return Counted(torch.cat(rows), joined, changes)


def in_colour(scenes: Stream, data: str) -> Iterator[dict[str, Tensor]]:
    """The batches of scenes, none of whose images is gray.

    Raises:
        RunError: one is, when its turn comes.
    """
    for batch in scenes:
        if any(len(image) != 3 for image in batch["image"]):
            raise RunError(f"{data} has an image that is not in colour")
        yield batch


def _scenes(run: Run, data: str, how: Measure) -> Stream:
    """The scenes to look at, in the order of their rows."""
    scenes = stream_of(data, how.images, batch_size=how.batch_size, columns=())
    check_members(scenes, data, ("mask.png",), ())
    check_classes(run.classes, scenes, data)
    return scenes


def _read(path: Path) -> Counted:
    try:
        found = load_file(path)
        answers, flipped = (
            {name: found[prefix + name] for name in ANSWERS if prefix + name in found}
            for prefix in ("", _FLIPPED)
        )
        return Counted(found[_ROWS], answers, flipped)
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(f"{path} does not hold what was counted ({error})") from error
