"""What a study is: the runs behind a table or a figure of a paper, and how to lay them out.

A study is a small file: `trials` says which models are trained on which bundles and measured on
which, at each scale; `present` lays out what was measured, beside the paper's figures. Building,
training, measuring and writing are the same for all (`train.studies.conduct`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from train.classifier_run import Classify
from train.evaluate import Evaluate, Measured
from train.plots.curves import Panel
from train.studies.grid import Grid

Scale: TypeAlias = Literal["smoke", "small", "full"]


@dataclass(frozen=True, kw_only=True)
class Bundled:
    """A bundle that a study reads: a recipe over a dataset.

    The dataset is the name by which the user gives a source, `cifar10`; or, with a colon, a source
    that needs none: `digits:`.
    """

    dataset: str
    recipe: Any


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
        runs = (one for seeds in self.measured.values() for seed in seeds for one in seed)
        return tuple(sorted({one.severity for one in runs if one.corruption == corruption}))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a study shows: tables, line plots, and what a reader has to know of them."""

    grids: tuple[Grid, ...] = ()
    panels: tuple[Panel, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Study:
    """A table or a figure of a paper, as something that can be run."""

    title: str
    paper: str  # authors, year, and which table or figure
    seeds: Mapping[Scale, int]  # runs of each trial
    trials: Callable[[Scale], Sequence[Trial]]
    present: Callable[[Results], Layout]
