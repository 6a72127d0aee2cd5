"""Studies that train classifiers and measure each on bundles: a row and a column for each model."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

from train.classify.evaluate import Evaluate, Measured, evaluate
from train.classify.run import Classify, recorded
from train.classify.training import train
from train.studies.bundles import Bundled, built, missing, not_at_hand
from train.studies.study import Findings, Layout, Line, Place, Scale

Cell: TypeAlias = tuple[str, str]  # row and column


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model of a study: trained once for each seed, and measured after that.

    `row` and `column` are where its numbers stand in a table; no two trials share both.
    """

    row: str
    column: str
    config: Classify  # its seed is replaced
    data: Bundled  # to train on
    tests: tuple[tuple[Bundled, Evaluate], ...]  # to measure on
    anchors: Bundled | None = None  # its recipe's seed is replaced

    @property
    def cell(self) -> Cell:
        """Where its numbers stand."""
        return self.row, self.column

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """Every bundle that it reads, whatever the seed."""
        return self.data, *(bundle for bundle, _ in self.tests)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the trials measured: for each, the measurements of each seed that was run."""

    scale: Scale
    measured: Mapping[Cell, Sequence[Sequence[Measured]]]
    runs: Mapping[Cell, Sequence[Path]]
    """The folders of a trial's runs."""
    tests: Mapping[Cell, Path]
    """The first bundle that a trial is measured on."""

    def values(
        self, trial: Cell, setting: str, corruption: str = "clean", severity: float = 0
    ) -> tuple[float, ...]:
        """The accuracy of a trial (row, column) for each seed, in percent; none if it was not run.

        A cell that was measured twice counts once.
        """
        wanted = setting, corruption, severity
        found = []
        for seed in self.measured.get(trial, ()):
            cells = {(one.setting, one.corruption, one.severity): one.accuracy for one in seed}
            if wanted in cells:
                found.append(cells[wanted])
        return tuple(found)

    def severities(self, corruption: str) -> tuple[float, ...]:
        """The severities at which a corruption was measured, rising."""
        of_runs = (one for seeds in self.measured.values() for seed in seeds for one in seed)
        return tuple(sorted({one.severity for one in of_runs if one.corruption == corruption}))


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A study that says which models are trained and measured at each scale, and lays that out."""

    title: str
    paper: str
    seeds: Mapping[Scale, int]  # runs of each trial
    trials: Callable[[Scale], Sequence[Trial]]
    present: Callable[[Results], Layout]

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """See `train.studies.study.Study`.

        Trials whose dataset is not at hand are left out, and said to be. All trials have their
        first seed before any has its second, so a study that is stopped has a table to show.
        """
        ready = self._ready(scale, place)
        needed = dict.fromkeys(bundle for trial in ready for bundle in trial.bundles)
        folders = {bundle: built(bundle, place) for bundle in needed}
        tests = {trial.cell: folders[trial.tests[0][0]] for trial in ready}
        measured: dict[Cell, list[list[Measured]]] = {trial.cell: [] for trial in ready}
        runs: dict[Cell, list[Path]] = {trial.cell: [] for trial in ready}
        lines: list[Line] = []
        for seed in range(seeds or self.seeds[scale]):
            for trial in ready:
                run, found = attempt(trial, seed, folders, place)
                measured[trial.cell].append(found)
                runs[trial.cell].append(run)
                lines += [_line(trial, seed, run.name, one) for one in found]
            results = Results(scale=scale, measured=measured, runs=runs, tests=tests)
            layout = self.present(results)
            yield Findings(layout=layout, heading=_HEADING, lines=tuple(lines))

    def _ready(self, scale: Scale, place: Place) -> list[Trial]:
        """The trials whose data is at hand.

        Raises:
            RunError: there is none.
        """
        trials = self.trials(scale)
        lacking = sorted({name for one in trials for name in missing(one.bundles, place.sources)})
        ready = [trial for trial in trials if not missing(trial.bundles, place.sources)]
        if not ready:
            raise not_at_hand(lacking, self.paper, scale)
        if lacking:
            place.say(f"left out: what reads {', '.join(lacking)}, as no source of it is given")
        return ready


def attempt(
    trial: Trial, seed: int, folders: Mapping[Bundled, Path], place: Place
) -> tuple[Path, list[Measured]]:
    """Train and measure one seed of a trial, as far as that was not done before. -> its run."""
    weights = place.weights.get(trial.config.encoder)
    config = replace(trial.config, seed=seed, weights=weights)
    data, anchors = folders[trial.data], _anchors(trial, seed, place)
    folder = run_folder(config, data, anchors, place)
    named = None if anchors is None else str(anchors)
    options: dict[str, Any] = {"anchors": named, "report": place.report}
    begin = perf_counter()
    train(config, str(data), folder, running=place.running, **options)
    options |= {"context": str(data), "device": place.running.device}
    measured = []
    for bundle, how in trial.tests:
        measured += evaluate(folder, str(folders[bundle]), how=how, **options)
    place.say(f"{trial.row}, {trial.column}, seed {seed}: {perf_counter() - begin:.1f} s")
    return folder, measured


def _anchors(trial: Trial, seed: int, place: Place) -> Path | None:
    """The anchors of a seed."""
    if trial.anchors is None:
        return None
    return built(replace(trial.anchors, recipe=replace(trial.anchors.recipe, seed=seed)), place)


def run_folder(config: Classify, data: Path, anchors: Path | None, place: Place) -> Path:
    """Where a run lies: other studies that want the same find it there."""
    words = config.encoder, config.head, f"seed{config.seed}"
    bundles = [data.name] if anchors is None else [data.name, anchors.name]
    return place.run("-".join(words), recorded(config), *bundles)


_HEADING = (
    "row",
    "column",
    "seed",
    "run",
    *(field.name for field in dataclasses.fields(Measured)),
    "accuracy",
)


def _line(trial: Trial, seed: int, run: str, one: Measured) -> Line:
    values = (*dataclasses.astuple(one), one.accuracy)
    return trial.row, trial.column, str(seed), run, *map(str, values)
