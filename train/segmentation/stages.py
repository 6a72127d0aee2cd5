"""The stages of a run of segmentation: what each is trained on, what it minimises, and how fast."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.blend import PARTS
from quire.artifacts.bundle import open_bundle
from quire.artifacts.cooccurrence_table import read_cooccurrence
from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.train.engine.dataset_checks import class_names
from quire.train.engine.mixture import Data, located, with_others
from quire.train.engine.options import Running, key
from quire.train.engine.ranks import Ranks
from quire.train.engine.runs import MODEL, Run, absolute
from quire.train.segmentation.blending import (
    Blended,
    blend_by_cooccurrence,
    classes_present,
    cutmix,
    mixup,
)
from quire.train.segmentation.objectives import OBJECTIVES, Objective, denoised
from quire.train.segmentation.pseudo import PseudoLabels
from quire.train.segmentation.run import (
    CLEAN,
    COOCCURRENCE,
    PSEUDO,
    SEPARATION,
    Segment,
    described,
)
from quire.train.segmentation.scenes import Batch, SceneBatches, blends_of, scenes_of

Blend: TypeAlias = Callable[[Batch, Draws], Blended]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """A part of a run."""

    name: str  # of the folder of its checkpoints
    weights: str  # the file that is written at its end
    number: int  # from 1
    batches: SceneBatches
    blend: Blend
    objective: Objective
    epochs: int
    lr: float  # at the beginning
    seed: int  # of its order, crops and blends
    before: int = 0  # steps of the stages before

    @property
    def steps(self) -> int:
        """Steps of this stage."""
        return self.epochs * len(self.batches)


@dataclass(frozen=True, kw_only=True)
class Bundles:
    """What a run is trained on: folders or addresses."""

    data: str
    cooccurrence: str | None = None  # of binding-cm and mixup-cm alone
    clean: str | None = None  # scenes to denoise on: of binding-cc alone
    pseudo: str | None = None  # masks by which partners are chosen: of binding-cm and mixup-cm
    mixed: Data | None = None  # `data` and others, by shares; not of the stage of denoising

    def __post_init__(self) -> None:
        """Show their secrets to nobody."""
        for name in ("data", COOCCURRENCE, CLEAN, PSEUDO):
            if (place := getattr(self, name)) is not None:
                object.__setattr__(self, name, Location(place))
        if self.mixed is not None:
            object.__setattr__(self, "mixed", located(self.mixed))


def prepared(
    config: Segment, bundles: Bundles, ranks: Ranks, running: Running
) -> tuple[Run, list[Stage]]:
    """The record of a run and its stages, of which there are one or two.

    Raises:
        RunError: a bundle that is wanted is not named, or is named and not wanted; bundles are of
            other classes; or one cannot be trained on.
        BundleError: a bundle is damaged.
    """
    _check_named(config, bundles)
    data = bundles.mixed or bundles.data
    pseudo = None if bundles.pseudo is None else PseudoLabels(bundles.pseudo)
    if config.variant == "binding-cc":
        batches = blends_of(config, data, config.seed, ranks, running)
    else:
        batches = scenes_of(config, data, config.seed, ranks, running, pseudo)
    run = with_others(described(config, bundles.data, batches.stream), data)
    if pseudo is not None:
        run = _with_input(run, PSEUDO, pseudo.digest, pseudo.data)
    run, blend = _blend(config, run, bundles.cooccurrence, pseudo, ranks.device)
    first = Stage(
        name="separation" if config.binds else "training",
        weights=SEPARATION if config.two_stages else MODEL,
        number=1,
        batches=batches,
        blend=blend,
        objective=OBJECTIVES[config.variant],
        epochs=config.epochs,
        lr=config.lr,
        seed=config.seed,
    )
    if not config.two_stages:
        return run, [first]
    run, clean = _clean(config, run, bundles, ranks, running)
    return run, [first, _second(config, clean, before=first.steps)]


def _second(config: Segment, clean: SceneBatches, *, before: int) -> Stage:
    """Denoising of feature binding, or its control: clean scenes, as the baseline learns them."""
    return Stage(
        name="denoising" if config.binds else "clean",
        weights=MODEL,
        number=2,
        batches=clean,
        blend=as_it_is,
        objective=denoised if config.binds else OBJECTIVES["baseline"],
        epochs=config.second_epochs,
        lr=config.denoising_lr,
        seed=_denoising_seed(config),
        before=before,
    )


def as_it_is(batch: Batch, draws: Draws) -> Blended:
    """Scenes that are not blended: each is its own partner, and delta is 1."""
    images, masks = batch["image"], batch["mask"]
    own = torch.arange(len(images), device=images.device)
    return Blended(images, masks, masks, torch.full_like(own, PARTS), own)


def as_stored(batch: Batch, draws: Draws) -> Blended:
    """Blends that lie in a bundle; their partners do not."""
    own = torch.arange(len(batch["image"]), device=batch["image"].device)
    return Blended(batch["image"], batch["mask"], batch["phantom"], batch["parts"], own)


def _check_named(config: Segment, bundles: Bundles) -> None:
    wanted = {
        COOCCURRENCE: config.pairs_by_cooccurrence,
        CLEAN: config.variant == "binding-cc" and config.two_stages,
    }
    for name, is_wanted in wanted.items():
        if is_wanted and getattr(bundles, name) is None:
            raise RunError(f"{config.variant} wants a bundle by the name of {name}: name it")
    used = {**wanted, PSEUDO: config.pairs_by_cooccurrence}
    for name, is_used in used.items():
        if getattr(bundles, name) is not None and not is_used:
            raise RunError(f"{name} is named, but {config.variant} has no use for it here")
    if bundles.pseudo is not None and not isinstance(bundles.mixed or bundles.data, str):
        raise RunError("pseudo labels are of one bundle, and several are mixed")


def _blend(
    config: Segment,
    run: Run,
    cooccurrence: str | None,
    pseudo: PseudoLabels | None,
    device: torch.device,
) -> tuple[Run, Blend]:
    """How scenes are blended, and the run, which names what it hangs on."""
    if cooccurrence is not None:
        classes = run.classes if pseudo is None else pseudo.class_names
        run, counts = _counts(run, cooccurrence, classes)
        blended = partial(
            blend_by_cooccurrence,
            cooccurrence=counts.to(device),
            alpha=config.alpha,
            gamma=config.gamma,
            max_total=config.max_total,
        )

        def by_classes(batch: Batch, draws: Draws) -> Blended:
            present = None
            if pseudo is not None:
                present = classes_present(batch[PSEUDO], len(classes), least=config.least)
            return blended(batch["image"], batch["mask"], draws=draws, present=present)

        return run, by_classes
    if config.variant == "binding-cc":
        return run, as_stored
    if config.variant == "baseline":
        return run, as_it_is
    mix = mixup if config.variant == "mixup" else cutmix
    alpha = config.alpha
    return run, lambda batch, draws: mix(batch["image"], batch["mask"], draws=draws, alpha=alpha)


def _counts(run: Run, place: str, classes: tuple[str, ...]) -> tuple[Run, Tensor]:
    """How many masks have both of two of these classes. -> (C, C) int64."""
    bundle = open_bundle(place)
    found = read_cooccurrence(bundle)
    if found.class_names != classes:
        raise RunError(f"the co-occurrence in {place} is of other classes than the masks")
    digest = bundle.manifest.sha256
    return _with_input(run, COOCCURRENCE, digest, place), torch.from_numpy(found.images)


def _clean(
    config: Segment, run: Run, bundles: Bundles, ranks: Ranks, running: Running
) -> tuple[Run, SceneBatches]:
    """The scenes of the second stage, and the run, which names them where they are others."""
    place = bundles.clean or bundles.data
    clean = scenes_of(config, place, _denoising_seed(config), ranks, running)
    if class_names(clean.stream, place) != run.classes:
        raise RunError(f"{place} has other classes than {bundles.data}")
    if bundles.clean is None:
        return run, clean
    return _with_input(run, CLEAN, clean.stream.state_dict()["bundle"], place), clean


def _denoising_seed(config: Segment) -> int:
    """Not the order, nor the crops, of the first stage."""
    return key(config.seed, "denoising")


def _with_input(run: Run, name: str, digest: str, place: str) -> Run:
    inputs, places = {**run.inputs, name: digest}, {**run.places, name: absolute(place)}
    return replace(run, inputs=inputs, places=places)
