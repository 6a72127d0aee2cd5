"""A universal perturbation against a classifier, put together by DeepFool, as a bundle.

Images and perturbation are in grey levels. While it is put together what leaves black and white is
not cut off, as in the authors' code; how many images it fools is counted on images as they can be.
A classifier whose images see each other has no boundary of one image, and is refused.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.digest import sha256
from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.artifacts.manifest import Manifest
from quire.builders.engine.run import build
from quire.builders.sources.source import Nothing
from quire.loaders.augment import to_float
from quire.loaders.stream import Stream, stream
from quire.models.classifier import Classifier
from quire.train.attacks.perturbation_recipe import WEIGHTS, Crafted, CraftedPerturbation
from quire.train.attacks.uap import Gathering, Universal
from quire.train.attacks.universal import perturbed
from quire.train.classify.run import trained
from quire.train.engine import checkpoint
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.metrics import Clock
from quire.train.engine.options import Report, best_device, full_float32, key
from quire.train.engine.runs import MODEL, digest
from quire.train.report.corruption_cells import CLEAN, cells_of

METHOD = "uap"  # what the perturbation is called
_FOLDER = "crafting"  # of a run: what is on its way
_AT_ONCE = 64  # images that are looked at in one pass


@dataclass(frozen=True, kw_only=True)
class CraftUniversal:
    """Put a universal perturbation together by DeepFool; the defaults are the authors'.

    Moosavi-Dezfooli et al. 2017 (Universal adversarial perturbations).
    """

    how: Universal = field(default_factory=Universal)
    images: int = 10_000
    """Images, at most, that it is to fool, chosen at random once and for all."""
    seed: int = 0
    """Seed of which images, and of their order in each pass."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "images", error=RunError)


def craft_universal(
    run: Path,
    out: str | Path,
    *,
    data: str,
    config: CraftUniversal | None = None,
    device: str | None = None,
    checkpoint_seconds: float = 60.0,
    report: Report | None = None,
) -> Manifest:
    """Craft a perturbation against a finished classifier and write it, or go on with it.

    Args:
        run: the folder of a finished run of a classifier with a linear head.
        out: where the bundle goes: a folder, or an address.
        data: images that it is to fool, of corrupted ones the clean; a folder, or an address.
        config: how.
        device: a GPU where there is one, unless it is named.
        checkpoint_seconds: time between two checkpoints, which lie in the run's folder.
        report: called with the images that were looked at, and their number at most.

    Raises:
        RunError: the run is not finished, its images see each other, or are not in colour; or the
            bundle has other classes or images.
        BundleError: a bundle is damaged.
        BuildError: the place belongs to another build.
    """
    config, data = config or CraftUniversal(), Location(data)
    record, trained_as, model = trained(run)
    if trained_as.head != "linear" or not isinstance(model, Classifier):
        raise RunError(
            f"{run} looks at other images beside each, by its head {trained_as.head}; a universal"
            " perturbation is put together of single images, against a linear head"
        )
    whole = stream(data)
    channels, height, width = check_same_kind(record, whole, data)
    if channels != 3:
        raise RunError(f"{data} has images of {channels} channels; perturbations are in colour")
    inputs = {WEIGHTS: sha256(run / MODEL), "data": whole.manifest.sha256}
    place = run / _FOLDER / digest({"how": asdict(config), "inputs": inputs})
    where = best_device(device)
    making = _Making(
        model=model.to(where).requires_grad_(False),
        shape=(channels, height, width),
        data=data,
        rows=_rows(whole, config),
        config=config,
        place=place,
        seconds=checkpoint_seconds,
        report=report,
    )
    recipe = CraftedPerturbation(
        method=METHOD,
        how=asdict(config),
        xi=config.how.xi,
        inputs=inputs,
        crafted=making.crafted,
    )
    manifest = build(recipe, Nothing(), out)
    shutil.rmtree(place, ignore_errors=True)
    return manifest


@dataclass(frozen=True, kw_only=True, eq=False)
class _Making:
    """All that a perturbation is crafted from."""

    model: Classifier
    shape: tuple[int, int, int]  # of an image
    data: Location
    rows: NDArray[np.int64]  # of the images
    config: CraftUniversal
    place: Path  # of checkpoints
    seconds: float  # between two of them
    report: Report | None

    def crafted(self) -> Crafted:
        """Go on until it is over."""
        device = self.model.mean.device
        gathering = Gathering(self.shape, self.config.how).to(device)
        batches = stream(
            self.data,
            rows=self.rows.tolist(),
            batch_size=1,
            columns=(),
            shuffle=True,
            seed=key(self.config.seed, "order"),
        )
        if (found := checkpoint.restore(self.place, gathering)) is not None:
            rest = found[1]
            batches.load_state_dict(rest.pop("stream"))
            gathering.load_rest(rest)
        with full_float32():
            rate, clock = self._rate(), Clock(self.seconds)
            while not gathering.is_over:
                for batch in batches:
                    gathering.update(self._logits, batch["image"][0].to(device).float())
                    self._tell(gathering, batches, clock)
                gathering.pass_ends(rate)
        return Crafted(delta=gathering.delta.cpu(), flipped=gathering.rate)

    def _logits(self, levels: Tensor) -> Tensor:
        """(B, 3, H, W) float, in grey levels -> (B, K)."""
        logits: Tensor = self.model((levels / 255).contiguous(memory_format=torch.channels_last))
        return logits

    def _tell(self, gathering: Gathering, batches: Stream, clock: Clock) -> None:
        """Report an image, and write a checkpoint where it is time."""
        state = batches.state_dict()
        total = len(self.rows)
        left = sum(stop - start for start, stop in state["remaining"])
        ended = state["epoch"] > gathering.passes  # the pass is over, and its rate not yet known
        done = (gathering.passes + 1) * total - (0 if ended else left)
        if self.report:
            self.report(done, self.config.how.passes * total)
        if clock.due() and not ended:
            self.place.mkdir(parents=True, exist_ok=True)
            rest: dict[str, Any] = {**gathering.rest(), "stream": state}
            checkpoint.save(self.place, done, gathering, rest)

    def _rate(self) -> Callable[[Tensor], float]:
        """What says of a perturbation how many images it fools."""
        batches = stream(self.data, rows=self.rows.tolist(), batch_size=_AT_ONCE, columns=())

        @torch.inference_mode()
        def rate(delta: Tensor) -> float:
            fooled = 0
            for batch in batches:
                images = batch["image"].to(delta.device)
                clean, other = to_float(images), perturbed(images, delta)
                fooled += int((self.model(clean).argmax(1) != self.model(other).argmax(1)).sum())
            return fooled / len(self.rows)

        return rate


def _rows(whole: Stream, config: CraftUniversal) -> NDArray[np.int64]:
    """The rows of the images, rising: so many of the clean ones, or all."""
    cells = cells_of(whole.index).items()
    rows = next((rows for (name, _), rows in cells if name == CLEAN), whole.rows)
    rng = np.random.default_rng(key(config.seed, "images"))
    return np.sort(rng.permutation(rows)[: config.images]).astype(np.int64)
