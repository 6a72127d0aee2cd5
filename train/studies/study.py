"""What a study is: the runs behind a table or a figure of a paper, and how to lay them out.

A study is a small file. What it does to find its numbers is its own; what it shows, and how that
is written, is the same for all (`quire.train.studies.run`).
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from PIL import Image

from quire.artifacts.address import Location
from quire.train.engine.options import Report, Running
from quire.train.engine.pretrained import INSTALLED
from quire.train.engine.runs import digest
from quire.train.report.grid import Grid
from quire.train.report.page import Table
from quire.train.report.plots.figure import Panel

Scale: TypeAlias = Literal["smoke", "small", "full", "paper"]
USUAL: tuple[Scale, ...] = ("smoke", "small", "full")
Say: TypeAlias = Callable[[str], None]
Line: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """A bundle that a study may read, so that it need not build it."""

    place: Location  # a folder, or an address
    dataset: str | None = None  # as the study calls what it was built from; None: by its source


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a study works, with what, and whom it tells."""

    out: Path
    sources: Mapping[str, str]  # KIND:PATH of each dataset that is there
    given: tuple[Given, ...] = ()  # bundles that are there
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)  # a file, by encoder
    running: Running = dataclasses.field(default_factory=lambda: Running(tensorboard=False))
    say: Say = print
    report: Report | None = None

    def published(self, encoder: str) -> str | None:
        """The file of weights that an encoder begins with: what was named, or is installed."""
        return self.weights.get(encoder, INSTALLED if encoder == "efficientnet-lite0" else None)

    def run(self, method: str, *decides: Any) -> Path:
        """The folder of a run, named after what decides it: plain values, in this order."""
        return self.out / "runs" / f"{method}-{digest(decides)}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels on one picture; its name is that of its files."""

    name: str
    panels: tuple[Panel, ...]
    columns: int = 2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a study shows, and what a reader has to know of it.

    Grids are tables of numbers, ours beside the paper's; tables are of anything else, and figures
    are drawn from numbers; pictures are not.
    """

    grids: tuple[Grid, ...] = ()
    tables: Mapping[str, Table] = dataclasses.field(default_factory=dict)  # by the name of the file
    figures: tuple[Figure, ...] = ()
    pictures: Mapping[str, Image.Image] = dataclasses.field(default_factory=dict)  # likewise
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a study has found so far, and every number behind it: a heading, and lines."""

    layout: Layout
    heading: Line
    lines: tuple[Line, ...]


class Study(Protocol):
    """A table or a figure of a paper, as something that can be run."""

    @property
    def title(self) -> str:
        """What it is about."""

    @property
    def paper(self) -> str:
        """Authors, year, and which table or figure."""

    @property
    def scales(self) -> Sequence[Scale]:
        """Those that it has: `USUAL`, and `paper` where `full` is not all of the paper's."""

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """What is found, each time more than before; the last is all.

        `seeds` are the runs of each model, by default as many as the study says. What is finished
        is used again.

        Raises:
            RunError: data is not at hand; or see `quire.train.classify.training.train`.
            BundleError, BuildError, SourceError: a bundle or a source is not what it should be.
        """
