"""Studies that train models, and measure each on bundles: a row and a column for each model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from quire.train.studies.bundles import Bundled, Ready, built, missing, not_at_hand
from quire.train.studies.study import Findings, Layout, Line, Place, Scale

Cell: TypeAlias = tuple[str, str]  # row and column
ONE_SEED: Mapping[Scale, int] = {"smoke": 1, "small": 1, "full": 1}
M = TypeVar("M")  # what is measured of a model at once


@dataclass(frozen=True, kw_only=True)
class Attempt(Generic[M]):
    """A model that was trained with one seed, and what was measured of it."""

    run: Path
    measured: Sequence[M]
    lines: Sequence[Mapping[str, Any]]
    """The same as plain numbers by their names, the same names in each."""


class Trial(Protocol[M]):
    """A model of a study: trained once for each seed, and measured after that."""

    @property
    def row(self) -> str:
        """Where its numbers stand in a table."""

    @property
    def column(self) -> str:
        """And in which column; no two trials share both."""

    @property
    def bundles(self) -> Sequence[Bundled]:
        """Every bundle that it reads, whatever the seed; the last is one that it is measured on."""

    def attempt(self, seed: int, folders: Mapping[Bundled, Ready], place: Place) -> Attempt[M]:
        """Train and measure one seed, as far as that was not done before.

        `folders` has at least `bundles`.
        """


T = TypeVar("T", bound=Trial[Any])


@dataclass(frozen=True, kw_only=True)
class Results(Generic[M]):
    """What the trials measured: for each, what came of each seed that was run."""

    scale: Scale
    attempts: Mapping[Cell, Sequence[Attempt[M]]]
    tests: Mapping[Cell, Ready]
    """A bundle that a trial is measured on."""

    def measured(self, cell: Cell) -> list[Sequence[M]]:
        """The measurements of each seed of a trial; none if it was not run."""
        return [attempt.measured for attempt in self.attempts.get(cell, ())]

    @property
    def first_runs(self) -> dict[Cell, Path]:
        """The folder of the first run of each trial."""
        return {cell: attempts[0].run for cell, attempts in self.attempts.items() if attempts}


@dataclass(frozen=True, kw_only=True)
class Trials(Generic[T, M]):
    """A study that says which models are trained and measured at each scale, and lays that out."""

    title: str
    paper: str
    seeds: Mapping[Scale, int]  # runs of each trial
    trials: Callable[[Scale], Sequence[T]]
    present: Callable[[Results[M]], Layout]

    @property
    def scales(self) -> tuple[Scale, ...]:
        """Those that it has a number of seeds for."""
        return tuple(self.seeds)

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """See `quire.train.studies.study.Study`.

        Trials whose dataset is not at hand are left out, and said to be. All trials have their
        first seed before any has its second, so a study that is stopped has a table to show.
        """
        ready = self._ready(scale, place)
        needed = dict.fromkeys(bundle for trial in ready.values() for bundle in trial.bundles)
        folders = {bundle: built(bundle, place) for bundle in needed}
        tests = {cell: folders[trial.bundles[-1]] for cell, trial in ready.items()}
        attempts: dict[Cell, list[Attempt[M]]] = {cell: [] for cell in ready}
        lines: list[Mapping[str, Any]] = []
        for seed in range(seeds or self.seeds[scale]):
            for (row, column), trial in ready.items():
                begin = perf_counter()
                found = trial.attempt(seed, folders, place)
                place.say(f"{row}, {column}, seed {seed}: {perf_counter() - begin:.1f} s")
                attempts[row, column].append(found)
                which = {"row": row, "column": column, "seed": seed, "run": found.run.name}
                lines += [{**which, **line} for line in found.lines]
            layout = self.present(Results(scale=scale, attempts=attempts, tests=tests))
            yield Findings(layout=layout, heading=tuple(lines[0]), lines=_texts(lines))

    def _ready(self, scale: Scale, place: Place) -> dict[Cell, T]:
        """The trials whose data is at hand.

        Raises:
            RunError: there is none.
        """
        trials = self.trials(scale)
        lacking = sorted({name for one in trials for name in missing(one.bundles, place)})
        ready = [trial for trial in trials if not missing(trial.bundles, place)]
        if not ready:
            raise not_at_hand(lacking, self.paper, scale)
        if lacking:
            place.say(f"left out: what reads {', '.join(lacking)}, as no source of it is given")
        return {(trial.row, trial.column): trial for trial in ready}


def _texts(lines: Iterable[Mapping[str, Any]]) -> tuple[Line, ...]:
    return tuple(tuple(map(str, line.values())) for line in lines)
