"""Networks of segmentation as the trials of a study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from quire.train.engine.runs import read_run
from quire.train.segmentation.evaluate import evaluate_segmentation
from quire.train.segmentation.measure import Measure, Measured
from quire.train.segmentation.run import Segment, Trunk, recorded
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from quire.train.studies.bundles import Bundled, Ready, built
from quire.train.studies.study import Place
from quire.train.studies.trials import Attempt, Cell, Results, Trials


@dataclass(frozen=True, kw_only=True)
class Data:
    """The bundles that networks are trained and measured on."""

    scenes: Bundled  # to train on
    blends: Bundled  # of these scenes, by category
    cooccurrence: Bundled  # of their classes
    test: Bundled
    subsets: Bundled | None = None  # of what is measured on; its recipe's co-occurrence is that


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How well one of a network's answers does on a subset of the scenes."""

    subset: str
    measured: Measured


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of a study; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    config: Segment  # its seed and weights are replaced
    data: Data
    separation: bool = False  # measured as it is before denoising

    @property
    def answers(self) -> tuple[str, ...]:
        """Those that were trained to the end: denoising leaves the bound one to its fate."""
        denoised = self.config.two_stages and not self.separation
        return ("target",) if denoised else self.config.answers

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What is trained on, what subsets hang on, and what is measured on."""
        read = [self.data.cooccurrence, self.data.test]
        if self.config.variant == "binding-cc":
            read.insert(0, self.data.blends)
        if self._reads_scenes:
            read.insert(0, self.data.scenes)
        return tuple(read)

    def attempt(
        self, seed: int, folders: Mapping[Bundled, Ready], place: Place
    ) -> Attempt[Reached]:
        """Train and measure one seed, as far as that was not done before."""
        run = self.trained(seed, folders, place)
        counts = folders[self.data.cooccurrence].place
        assert self.data.subsets is not None
        recipe = replace(self.data.subsets.recipe, cooccurrence=counts)
        found = evaluate_segmentation(
            run,
            folders[self.data.test].place,
            how=Measure(separation=self.separation),
            subsets=built(replace(self.data.subsets, recipe=recipe), place).place,
            device=place.running.device,
            report=place.report,
        )
        measured = [
            Reached(subset=name, measured=one)
            for name, answers in found.items()
            for one in answers
            if one.answer in self.answers
        ]
        classes = read_run(run).classes
        lines = [line_of(one, classes) for one in measured]
        return Attempt(run=run, measured=measured, lines=lines)

    def trained(self, seed: int, folders: Mapping[Bundled, Ready], place: Place) -> Path:
        """Train one seed, as far as that was not done before. -> its run's folder."""
        config = replace(self.config, seed=seed, weights=weights_of(self.config.trunk, place))
        read = [folders[one].name for one in self.bundles[:-1]]
        run = place.run(f"{config.trunk}-{config.variant}-seed{seed}", recorded(config), *read)
        train_segmentation(
            config, self._given(folders), run, running=place.running, report=place.report
        )
        return run

    def _given(self, folders: Mapping[Bundled, Ready]) -> Bundles:
        """What a run is trained on."""
        scenes = folders[self.data.scenes].place if self._reads_scenes else None
        if self.config.variant == "binding-cc":
            return Bundles(data=folders[self.data.blends].place, clean=scenes)
        assert scenes is not None
        counts = None
        if self.config.pairs_by_cooccurrence:
            counts = folders[self.data.cooccurrence].place
        return Bundles(data=scenes, cooccurrence=counts)

    @property
    def _reads_scenes(self) -> bool:
        return self.config.variant != "binding-cc" or self.config.two_stages


def weights_of(trunk: Trunk, place: Place) -> str | None:
    """The file of weights that a trunk begins with, if there is one."""
    return place.published(trunk if trunk == "efficientnet-lite0" else f"imagenet-{trunk}")


Ious: TypeAlias = Results[Reached]
Networks: TypeAlias = Trials[Network, Reached]
Part: TypeAlias = Callable[[Measured], float]  # of what was measured, one number in [0, 1]


def percents(results: Ious, cell: Cell, answer: str, subset: str, part: Part) -> tuple[float, ...]:
    """A number of a trial (row, column) for each seed, in percent; none if there is none."""
    found = [
        100 * part(one.measured)
        for seed in results.measured(cell)
        for one in seed
        if (one.subset, one.measured.answer) == (subset, answer)
    ]
    return tuple(value for value in found if value == value)


def line_of(one: Reached, classes: tuple[str, ...]) -> dict[str, Any]:
    """The numbers of a measurement by their names."""
    measured = one.measured
    return {
        "subset": one.subset,
        "answer": measured.answer,
        "scenes": measured.scenes,
        "mean_iou": measured.mean_iou,
        "occurring_iou": measured.occurring_iou,
        **dict(zip(classes, measured.classes, strict=True)),
    }
