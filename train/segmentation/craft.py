"""Universal perturbations against a network of segmentation, crafted by GD-UAP, as a bundle.

The network normalises its input itself, so a perturbation is in grey levels of RGB; of the
reference, whose input is BGR less a mean, that is a relabelling. Alone (`prior` none) a
perturbation is looked at around the mean that the network takes away, as there.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from quire.artifacts.address import Location
from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.artifacts.manifest import Manifest
from quire.builders.engine.run import build
from quire.builders.sources.source import Nothing
from quire.loaders.augment import to_float
from quire.loaders.stream import stream
from quire.train.attacks.gduap import Activity, Crafting, Schedule
from quire.train.attacks.perturbation_recipe import WEIGHTS, Crafted, CraftedPerturbation
from quire.train.attacks.universal import perturbed
from quire.train.engine import checkpoint
from quire.train.engine.metrics import Clock
from quire.train.engine.options import Report, best_device, key
from quire.train.engine.runs import MODEL, digest
from quire.train.engine.subset import stream_of
from quire.train.report.printable import printable
from quire.train.segmentation.measure import Predictor, centred, in_colour
from quire.train.segmentation.run import Model, Segment, trained
from quire.train.segmentation.scenes import check_members
from quire.train.segmentation.unlabelled import lines_of

Prior: TypeAlias = Literal["none", "all", "part"]
Layers: TypeAlias = Literal["trunk", "all"]

METHOD = "gd-uap"  # what the names of perturbations begin with
_FOLDER = "crafting"  # of a run: what is on its way
_REFERENCE = 999  # scenes that the reference draws from, however many are listed
_AT_ONCE = 10  # scenes that are validated in one pass


@dataclass(frozen=True, kw_only=True)
class Craft:
    """Craft a universal perturbation by GD-UAP; the defaults are the reference's.

    Mopuri, Ganeshan & Babu 2018 (Generalizable Data-free Objective for Crafting Universal
    Adversarial Perturbations).
    """

    prior: Prior = "none"
    """What is known of the data: none of it; all scenes, one a step; or part of them: those that a
    list names, or else those with less background than the median scene."""
    layers: Layers = "trunk"
    """ReLUs whose outputs are to be large: the trunk's (49 in ResNet-50, 100 in ResNet-101), or
    those of the whole network."""
    schedule: Schedule = field(default_factory=Schedule)
    scenes: int = 1_000
    """Scenes, at most, on which the perturbation is validated."""
    reference_quirk: bool = False
    """Draw from the first 999 scenes alone, as the reference does by an index that is that of
    another list."""
    seed: int = 0
    """Seed of the first perturbation and of the order of scenes."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "scenes", error=RunError)
        if self.reference_quirk and self.prior == "none":
            raise RunError("reference_quirk is of scenes, and without a prior none is looked at")


def craft(
    run: Path,
    out: str | Path,
    *,
    data: str,
    validation: str | None = None,
    listed: Path | None = None,
    config: Craft | None = None,
    device: str | None = None,
    checkpoint_seconds: float = 60.0,
    report: Report | None = None,
) -> Manifest:
    """Craft a perturbation against a finished run and write it as a bundle, or go on with it.

    Args:
        run: the folder of a finished run of segmentation.
        out: where the bundle goes: a folder, or an address.
        data: scenes, of which the prior knows; a folder, or an address.
        validation: scenes on which the perturbation is validated; default: those of `data`.
        listed: a text file that names the scenes of the prior `part`, one a line: the key of a
            scene, or the name of its file, whatever its folder and its ending, and whatever
            follows. GD-UAP's list is such a one.
        config: how.
        device: a GPU where there is one, unless it is named.
        checkpoint_seconds: time between two checkpoints, which lie in the run's folder.
        report: called with the steps done, and their number at most.

    Raises:
        RunError: the run is not finished; its trunk has no ReLUs; a bundle has no scenes in colour,
            or none for the prior, or not one that is listed; or the objective is not finite.
        SourceError: the list cannot be read.
        BundleError: a bundle is damaged.
        BuildError: the place belongs to another build.
    """
    config = config or Craft()
    _, trained_as, model = trained(run)  # what cannot be read is told before a place is taken
    scenes = {"data": Location(data), "validation": Location(validation or data)}
    inputs = {
        WEIGHTS: sha256(run / MODEL),
        **{name: open_bundle(place).manifest.sha256 for name, place in scenes.items()},
    }
    names = None
    if listed is not None:
        if config.prior != "part":
            raise RunError(f"a list names the scenes of the prior part, not of {config.prior}")
        names = [Path(line.split()[0]).stem for line in lines_of(listed)]
        inputs["listed"] = sha256(listed)
    place = run / _FOLDER / digest({"how": asdict(config), "inputs": inputs})
    making = _Making(
        *(model, trained_as, scenes, names, config, device, place, checkpoint_seconds, report)
    )
    recipe = CraftedPerturbation(
        method=METHOD,
        how=asdict(config),
        xi=config.schedule.xi,
        prior=config.prior,
        inputs=inputs,
        crafted=making.crafted,
    )
    manifest = build(recipe, Nothing(), out)
    shutil.rmtree(place, ignore_errors=True)
    return manifest


@dataclass(frozen=True)
class _Making:
    """All that a perturbation is crafted from."""

    model: Model
    trained_as: Segment
    scenes: Mapping[str, Location]
    names: Sequence[str] | None  # of the scenes of the prior `part`
    config: Craft
    device: str | None
    place: Path  # of checkpoints
    seconds: float  # between two of them
    report: Report | None

    def crafted(self) -> Crafted:
        """Go on until it is over."""
        config, trained_as = self.config, self.trained_as
        size, device = trained_as.test_crop, best_device(self.device)
        model = self.model.to(device).requires_grad_(False)
        predictor = Predictor(model, trained_as, device)
        rate = _flip_rate(predictor, self.scenes["validation"], config.scenes)
        crafting = Crafting((3, size, size), config.schedule, config.seed).to(device)
        batches = None if config.prior == "none" else self._endless()
        if (found := checkpoint.restore(self.place, crafting)) is not None:
            rest = found[1]
            if batches is not None:
                batches.load_state_dict(rest.pop("stream"))
            crafting.load_rest(rest)
        activity, clock = Activity(), Clock(self.seconds)
        forward = partial(_forward, model, trained_as, batches)
        with activity.of(relus(model, config.layers)):
            while not crafting.is_over:
                crafting.update(forward, activity, rate)
                if self.report:
                    self.report(crafting.step, config.schedule.iterations)
                if clock.due():
                    stream_state = {} if batches is None else {"stream": batches.state_dict()}
                    rest = crafting.rest() | stream_state
                    self.place.mkdir(parents=True, exist_ok=True)
                    checkpoint.save(self.place, crafting.step, crafting, rest)
        crafting.finish(rate)
        return Crafted(delta=crafting.best.cpu(), flipped=crafting.rate)

    def _endless(self) -> "_Endless":
        """The scenes of the prior."""
        data = self.scenes["data"]
        rows = _rows_of_prior(self.config, data, self.names)
        return _Endless(data, rows, key(self.config.seed, "scenes"))


def relus(model: Model, layers: Layers) -> Sequence[nn.Module]:
    """The ReLUs whose outputs are to be large.

    Raises:
        RunError: there are none.
    """
    within = model.encoder if layers == "trunk" else model
    found = [module for module in within.modules() if isinstance(module, nn.ReLU | nn.ReLU6)]
    if not found:
        raise RunError(f"the network has no ReLUs in its {layers}, and GD-UAP looks at these")
    return found


def _forward(
    model: Model, trained_as: Segment, batches: "_Endless | None", delta: Tensor, step: int
) -> None:
    """Let a perturbation pass through a network: alone, or on the next scene."""
    if batches is None:
        images = model.mean[None].expand(1, *delta.shape)
    else:
        scene, _ = centred(batches.next(), delta.shape[1], trained_as)
        images = to_float(scene.to(delta.device))
    model((images + delta / 255).contiguous(memory_format=torch.channels_last))


class _Endless:
    """The scenes that a prior knows, one by one, epoch after epoch in another order."""

    def __init__(self, data: Location, rows: Sequence[int], seed: int) -> None:
        self._stream = stream(data, rows=rows, batch_size=1, columns=(), shuffle=True, seed=seed)
        self._data = data
        self._left: Iterator[dict[str, Tensor]] = iter(())

    def next(self) -> dict[str, Tensor]:
        """The next scene, a batch of one."""
        while (batch := next(self._left, None)) is None:  # the end of an epoch
            self._left = in_colour(self._stream, self._data)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return self._stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self._stream.load_state_dict(state)
        self._left = iter(())


def _rows_of_prior(config: Craft, data: Location, names: Sequence[str] | None) -> list[int]:
    """The rows of the scenes that a prior knows.

    Raises:
        RunError: they are no scenes, none is left, or one that is named is not there.
    """
    whole = stream(data, batch_size=1, columns=())
    check_members(whole, data, ("mask.png",), ())
    rows = np.arange(len(whole.rows))
    if names is not None:
        numbers = {key.decode(): row for row, key in enumerate(whole.index.rows.keys.tolist())}
        if lacking := next((name for name in names if name not in numbers), None):
            raise RunError(f"{data} has no scene {printable(lacking)}, which is listed")
        rows = np.array([numbers[name] for name in names])
    if config.reference_quirk:
        rows = rows[:_REFERENCE]
    if config.prior == "part" and names is None:
        shares = np.array([(batch["mask"][0] == 0).double().mean() for batch in whole])[rows]
        rows = rows[shares < np.median(shares)]
    if not len(rows):
        raise RunError(f"{data} has no scenes with less background than others")
    return rows.tolist()


def _flip_rate(predictor: Predictor, data: Location, most: int) -> Callable[[Tensor], float]:
    """What says of a perturbation how many pixels get another class by it, on some scenes."""
    scenes = stream_of(data, most, batch_size=_AT_ONCE, columns=())
    check_members(scenes, data, ("mask.png",), ())

    def rate(delta: Tensor) -> float:
        flipped, pixels = 0, 0
        for batch in in_colour(scenes, data):
            images, _ = centred(batch, delta.shape[1], predictor.config)
            clean = predictor.answers(images)["target"]
            other = predictor.answers_to(perturbed(images.to(delta.device), delta))["target"]
            flipped += int((clean != other).sum())
            pixels += clean.numel()
        return flipped / pixels

    return rate
