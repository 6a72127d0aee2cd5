"""`quire demo`: the whole path on embedded data, from raw digits to a report.

A bundle of corrupted digits is built, verified, derived anew in part, and streamed, and reading it
is timed beside plain webdataset. Then models are trained and measured
(`quire.train.demo.chapters`). The report is one page, next to the bundle.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import torch

from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.processors import processors
from quire.artifacts.verify import verify
from quire.builders.engine.run import build, plan
from quire.builders.rebuild import rebuild
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.loaders.stream import stream
from quire.train.demo.chapters import CHAPTERS, Chapter
from quire.train.demo.reading_speed import REPEATS, Rates, reading_speed
from quire.train.report import bundle_summary
from quire.train.report.corruption_cells import cells_of, severities
from quire.train.report.page import Section, Table, write_page
from quire.train.studies.run import conduct, section_of
from quire.train.studies.study import Layout, Place

BUNDLE, REPORT = "digits-corrupted", "report.html"

_SOURCE, _SPLIT = "digits:32", "test"
_EPOCHS = 3
_REBUILT = 3  # shards
_MARKS = 5  # lines that tell how the build goes
_TIMED = 2  # corruptions, clean among them, whose reading is timed

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done, what came of it, and how long it took."""

    name: str
    outcome: str
    seconds: float


def demo(
    out: Path,
    say: Say,
    *,
    corruptions: tuple[str, ...] | None = None,
    chapters: Sequence[Chapter] = CHAPTERS,
) -> Path:
    """Walk the whole path in a folder and return its report; a finished bundle there is kept.

    Args:
        out: for the bundle and the report.
        say: called with a line of text whenever something is done.
        corruptions: fewer than all that need no further file.
        chapters: what is trained and measured, at its smallest scale.

    Raises:
        BuildError: the folder holds something else.
        BundleError: the bundle in the folder is damaged.
    """
    folder = out / BUNDLE
    steps: list[Step] = []

    def done(name: str, work: Callable[[], T], outcome: Callable[[T], str] = str) -> T:
        begin = perf_counter()
        result = work()
        steps.append(Step(name, outcome(result), perf_counter() - begin))
        say(f"{name}: {steps[-1].outcome} ({steps[-1].seconds:.1f} s)")
        return result

    done("build", lambda: _build(folder, corruptions, say))
    done("verify", lambda: _verify(folder))
    done("rebuild", lambda: _rebuild(folder))
    done("stream", lambda: _stream(folder))
    rates = done("compare", lambda: _compare(folder), _compared)
    shown = []
    for one in chapters:
        layout = done(one.name, partial(_carry_out, one, out, say), one.outcome)
        shown.append(section_of(one.heading, layout))
    sections = _sections(open_bundle(folder), steps, rates, shown)
    write_page(out / REPORT, "Quire demo", sections)
    return out / REPORT


def _build(folder: Path, corruptions: tuple[str, ...] | None, say: Say) -> str:
    """In this process: at this size worker processes take longer to start than the work does."""
    source = open_source(_SOURCE, split=_SPLIT)
    recipe = Corrupted(split=_SPLIT, corruptions=corruptions)
    planned = plan(recipe, source, folder)
    there = len(planned.tasks) - len(planned.missing)

    def report(done: int, total: int) -> None:
        if done > there and done * _MARKS // total > (done - 1) * _MARKS // total:
            say(f"build: {done} of {total} shards")

    manifest = build(recipe, source, folder, report=report)
    taken_up = f", {there} of which were there" if there else ""
    return f"{manifest.samples:,} images in {len(manifest.shards)} shards{taken_up}"


def _verify(folder: Path) -> str:
    problems = verify(folder)
    if problems:
        raise BundleError(f"{folder}: {problems[0]}; remove the folder to build it again")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return f"{size / 1e6:,.1f} MB are sound: every byte by digest, every tar header by the index"


def _rebuild(folder: Path) -> str:
    outcome = rebuild(folder, _SOURCE, outside={}, shards=_REBUILT, seed=0)
    if not outcome.same:
        raise BundleError(f"{folder}: {'; '.join(outcome.lines)}")
    return f"{len(outcome.lines)} shards derived anew are the same to the last byte"


def _stream(folder: Path) -> str:
    """Count in every epoch how often each sample comes."""
    batches = stream(folder, shuffle=True)
    orders = []
    for epoch in range(_EPOCHS):
        order = torch.cat([batch["row"] for batch in batches])
        times = torch.bincount(order, minlength=len(batches.index))
        if not (times == 1).all():
            raise BundleError(f"{folder}: epoch {epoch} did not bring each sample exactly once")
        orders.append(order)
    different = len({tuple(order.tolist()) for order in orders})
    return (
        f"{_EPOCHS} shuffled epochs of {len(batches):,} batches in {different} different orders,"
        " each sample exactly once in each"
    )


def _compare(folder: Path) -> Rates:
    """On the shards of a few cells: webdataset would take long over all."""
    names = list(severities(cells_of(open_bundle(folder).index)))[:_TIMED]
    return reading_speed(folder, select={"corruption": names})


def _compared(rates: Rates) -> str:
    return f"{rates.ours:,.0f} images/s, {rates.ratio:,.0f} times as many as webdataset"


def _carry_out(chapter: Chapter, out: Path, say: Say) -> Layout:
    place = Place(out=out, sources={}, say=lambda line: say(f"{chapter.name}: {line}"))
    return conduct(chapter.name, chapter.study, "smoke", place)


def _sections(
    bundle: Bundle, steps: Sequence[Step], rates: Rates, chapters: Sequence[Section]
) -> tuple[Section, ...]:
    rows = tuple((step.name, step.outcome, step.seconds) for step in steps)
    total = sum(step.seconds for step in steps)
    walked = Section(
        "What was done",
        prose=(
            f"The {_SPLIT} split of the handwritten digits that scikit-learn ships, enlarged to"
            " 32 x 32, clean and corrupted: built into a bundle, checked and streamed. Then models"
            " were trained on digits and on drawn scenes, and measured. All of it took"
            f" {total:.1f} seconds. Another build of this recipe gives the digests below.",
        ),
        tables=(Table(rows, ("step", "outcome", "seconds")),),
    )
    return (
        walked,
        *bundle_summary.pictures(bundle),
        *chapters,
        _speed(rates),
        bundle_summary.overview(bundle),
        *bundle_summary.counts(bundle),
        bundle_summary.digests(bundle),
        *bundle_summary.origin(bundle),
        _machine(),
    )


def _speed(rates: Rates) -> Section:
    rows = (
        ("quire.stream", "shuffled", round(rates.ours), rates.ratio),
        ("webdataset", "as stored", round(rates.theirs), 1.0),
    )
    prose = (
        f"The same {rates.images:,} images and labels from the same shards, as batches of uint8"
        " tensors: one process, files in the page cache, medians of"
        f" {REPEATS} repeats in turns. webdataset has its pixels taken from the PPM bytes, which is"
        " faster than its decoders.",
    )
    return Section(
        "Throughput of reading",
        prose=prose,
        tables=(Table(rows, ("reader", "order", "images/s", "ratio")),),
    )


def _machine() -> Section:
    values = {
        "cores": str(processors()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "webdataset": version("webdataset"),
    }
    return Section("Machine", tables=(bundle_summary.facts(values),))
