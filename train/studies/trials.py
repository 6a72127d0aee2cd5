"""Studies that train classifiers and measure each on bundles: a row and a column for each model."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from train import runs
from train.classifier_run import Classify
from train.classify import train
from train.evaluate import Evaluate, Measured, evaluate
from train.studies.bundles import Bundled, built, missing, not_at_hand
from train.studies.study import Findings, Layout, Line, Place, Scale


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

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """Every bundle that it reads."""
        return self.data, *(bundle for bundle, _ in self.tests)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the trials measured: for each, the measurements of each seed that was run."""

    scale: Scale
    measured: Mapping[tuple[str, str], Sequence[Sequence[Measured]]]

    def values(
        self, trial: tuple[str, str], setting: str, corruption: str = "clean", severity: float = 0
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
        measured: dict[tuple[str, str], list[list[Measured]]] = {}
        lines: list[Line] = []
        for seed in range(seeds or self.seeds[scale]):
            for trial in ready:
                run, found = attempt(trial, seed, folders, place)
                measured.setdefault((trial.row, trial.column), []).append(found)
                lines += [_line(trial, seed, run, one) for one in found]
            layout = self.present(Results(scale=scale, measured=measured))
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
) -> tuple[str, list[Measured]]:
    """Train and measure one seed of a trial, as far as that was not done before. -> its run."""
    config = dataclasses.replace(trial.config, seed=seed)
    data = folders[trial.data]
    run = run_name(config, data)
    folder = place.out / "runs" / run
    begin = perf_counter()
    train(config, str(data), folder, running=place.running, report=place.report)
    measured = []
    for bundle, how in trial.tests:
        measured += evaluate(
            folder,
            str(folders[bundle]),
            how=how,
            context=str(data),
            device=place.running.device,
            report=place.report,
        )
    place.say(f"{trial.row}, {trial.column}, seed {seed}: {perf_counter() - begin:.1f} s")
    return run, measured


def run_name(config: Classify, data: Path) -> str:
    """A run's folder, named after what decides it."""
    record = runs.to_record(config)
    words = config.encoder, config.head, f"seed{config.seed}"
    return "-".join([*words, runs.digest([record, data.name])])


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
