"""Contenders timed side by side: one after the other, round after round, in one process.

The first round is kept apart, for it also pays for making a loader and for whatever is done once.
A ratio is the median of the ratios within each later round, so a machine that others use too slows
both sides of it alike. The processor time beside it, that of this process and its threads but not
of its worker processes, hardly knows of others at all.
"""

import importlib.metadata
import json
import os
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from quire.artifacts.processors import processors

Run: TypeAlias = Callable[[], int]  # does the work once and says of how many samples

_LIBRARIES = (
    *("litdata", "numpy", "opencv-python-headless", "pillow", "simplejpeg", "torch"),
    *("torchvision", "webdataset"),
)


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to be timed."""

    name: str
    start: Callable[[], Run]  # called once; its time counts in the first round
    cores: int | None = None  # that it may use; None: all that there are


@dataclass(frozen=True, slots=True)
class Timing:
    """What a contender needed, round by round."""

    name: str
    cores: int | None
    rates: tuple[float, ...]  # samples/s
    processor: tuple[float, ...]  # seconds of it for a sample

    @property
    def first(self) -> float:
        """Samples/s of the first round."""
        return self.rates[0]

    @property
    def steady(self) -> tuple[float, ...]:
        """Samples/s of the later rounds, or of the only one."""
        return self.rates[1:] or self.rates

    def ratio(self, other: "Timing") -> float:
        """How many times as fast as another; the median over the rounds.

        >>> Timing("a", None, (1, 8, 9), ()).ratio(Timing("b", None, (9, 2, 3), ()))
        3.5
        """
        return median(a / b for a, b in zip(self.steady, other.steady, strict=True))


@dataclass(frozen=True, slots=True)
class Table:
    """Timings of one task, and the contenders that the others are held against."""

    title: str
    timings: Sequence[Timing]
    against: Sequence[str]
    bytes_per_sample: int = 0  # where MB/s say something

    def _columns(self, timing: Timing) -> dict[str, Any]:
        by_name = {other.name: other for other in self.timings}
        steady = median(timing.steady)
        mega = {"MB/s": steady * self.bytes_per_sample / 1e6} if self.bytes_per_sample else {}
        return {
            "name": timing.name,
            "cores": timing.cores,
            "first": timing.first,
            "steady": steady,
            "min": min(timing.steady),
            "max": max(timing.steady),
            "CPU us": median(timing.processor[1:] or timing.processor) * 1e6,
            **mega,
            **{f"/ {name}": timing.ratio(by_name[name]) for name in self.against},
        }

    def record(self) -> dict[str, Any]:
        """The table as JSON has it, every round's rate included."""
        rows = [
            {
                **self._columns(timing),
                "rates": list(timing.rates),
                "processor": list(timing.processor),
            }
            for timing in self.timings
        ]
        return {"title": self.title, "rows": rows}

    def __str__(self) -> str:
        rows = [self._columns(timing) for timing in self.timings]
        lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join([self.title, *(_line(line, widths) for line in lines), ""])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The name to the left, numbers to the right."""
    name, *numbers = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join([f"{name.strip():<{widths[0]}}", *numbers])


def _cell(value: str | float | None) -> str:
    if value is None:
        return "all"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


@contextmanager
def on_cores(count: int | None) -> Iterator[None]:
    """Keep this thread, and every thread and process that it starts, to so many cores.

    Only Linux can; elsewhere they go where they like.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    if count is not None:
        os.sched_setaffinity(0, sorted(before)[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(
    contenders: Sequence[Contender],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    processor_clock: Callable[[], float] = time.process_time,
) -> list[Timing]:
    """Time every contender once in each round, in another order each time."""
    shuffle = random.Random(0)
    runs: dict[str, Run] = {}
    rates: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    processor: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in shuffle.sample(contenders, len(contenders)):
            name = contender.name
            with on_cores(contender.cores):
                begin, processor_begin = clock(), processor_clock()
                if name not in runs:
                    runs[name] = contender.start()
                samples = runs[name]()
                rates[name].append(samples / (clock() - begin))
                processor[name].append((processor_clock() - processor_begin) / samples)
    return [
        Timing(c.name, c.cores, tuple(rates[c.name]), tuple(processor[c.name])) for c in contenders
    ]


def write_report(path: Path, tables: Sequence[Table]) -> None:
    """All that was measured, and by what, as JSON."""
    report = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": processors(),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
        "tables": [table.record() for table in tables],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None
