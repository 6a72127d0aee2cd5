"""Figures of a paper as line plots: the mean over seeds, and how far it can be trusted.

A figure is drawn from its panels alone: with matplotlib's own defaults, whatever the user has set,
and without a date, so the same panels give the same bytes. Texts are drawn letter by letter, never
read as mathematics.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle, pairwise
from math import ceil, isfinite
from pathlib import Path
from textwrap import fill
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from train.intervals import STATISTICS, csv_text, interval, joined, statistics_of
from train.printable import printable

Look: TypeAlias = dict[str, Any]  # how matplotlib is to draw a line
Key: TypeAlias = tuple[str, bool]  # label and whether it is a reference: curves that look alike

WIDTH = 800  # pixels a figure is to be shown wide
DENSITY = 2  # how many times as wide it is drawn

_COLUMNS = 4  # that leave room for labels
_INCH = 100  # pixels shown
_TEXT, _TITLE, _SMALL = 10, 11, 9  # points
_LETTER = 0.075  # inches that a letter takes, in the mean
_INK, _FAINT, _LINE = "#1c1c1e", "#66666b", "#e2e2e6"
_BAND = 0.14  # opacity

# Okabe & Ito, Color Universal Design (2008): told apart with any colour vision. Strong ones come
# first; their yellow is too faint for a line on white, their black too near to a reference's grey.
# There is one marker more than colours: the seventh curve has the first colour and a new marker.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = {"o": 6.5, "s": 6, "^": 7.5, "D": 5.5, "v": 7.5, "P": 7.5, "X": 7.5}  # and points wide
_GREY = "#55555a"

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": _TEXT,
    "text.color": _INK,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlesize": _TITLE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
    "legend.frameon": False,
    "legend.title_fontsize": _SMALL,
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What one model measures along an axis, with one value for each seed at each x.

    Raises:
        ValueError: an x is not finite, or there are not as many values as x.
    """

    label: str
    x: tuple[float, ...]  # joined in this order
    values: tuple[tuple[float, ...], ...]  # at an x without seeds, or with a NaN, there is a gap
    reference: bool = False  # what the others are held against: drawn grey and dashed

    def __post_init__(self) -> None:
        if len(self.x) != len(self.values):
            raise ValueError(f"{self.label}: {len(self.x)} x, but {len(self.values)} values")
        if not all(map(isfinite, self.x)):
            raise ValueError(f"{self.label}: an x is not finite: {self.x}")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Curves over common axes.

    Raises:
        ValueError: two curves have one label.
    """

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]

    def __post_init__(self) -> None:
        labels = [curve.label for curve in self.curves]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"{self.title}: two curves are named {sorted(twice)}")


def plot(panels: Sequence[Panel], *, columns: int = 2) -> bytes:
    """Panels side by side as a PNG that is `WIDTH` x `DENSITY` pixels wide.

    A curve is its mean with markers, in a band of the 95 % Student-t interval where there are two
    seeds or more. Curves of one label look alike in all panels and share a place in the legend.
    Panels of a row whose y axes have the same label have the same y axis.

    Raises:
        ValueError: there are no panels, or not 1 to 4 columns.
    """
    if not panels:
        raise ValueError("there are no panels to plot")
    if not 1 <= columns <= _COLUMNS:
        raise ValueError(f"{columns} columns; there must be 1 to {_COLUMNS}")
    with matplotlib.rc_context():  # undone at the end
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = _figure(panels, min(columns, len(panels)))
        file = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(file, format="png", dpi="figure", metadata={"Software": None})
    return file.getvalue()


def lines_csv(panels: Sequence[Panel]) -> str:
    """One line for each x of each curve, in order; `values` holds the single seeds.

    Half-widths are those of `train.intervals`. A NaN stays NaN; where no seed was run, n is 0 and
    the other fields are empty.
    """
    heading = ("panel", "label", "x", *STATISTICS, "values")
    lines = [
        (panel.title, curve.label, joined([x]), *statistics_of(values), joined(values))
        for panel in panels
        for curve in panel.curves
        for x, values in zip(curve.x, curve.values, strict=True)
    ]
    return csv_text([heading, *lines])


def _figure(panels: Sequence[Panel], columns: int) -> Figure:
    """Everything drawn; the height follows from the number of rows and the legend."""
    looks = _looks(panels)
    across = _across(looks)
    width, rows = WIDTH / _INCH, ceil(len(panels) / columns)
    height = max(2.4, min(0.78 * width / columns, 0.5 * width))
    legend = 0.22 * ceil(len(looks) / across) + 0.3 if looks else 0
    figure = Figure(
        figsize=(width, round(rows * height + legend, 2)),
        dpi=DENSITY * _INCH,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04),
    )
    for start in range(0, len(panels), columns):
        row, drawn = panels[start : start + columns], list[Axes]()
        for number, panel in enumerate(row):
            labels = [other.y_label for other in row]
            same = labels.index(panel.y_label)
            place = (rows, columns, start + number + 1)
            axes = figure.add_subplot(*place, sharey=drawn[same] if same < number else None)
            drawn.append(axes)
            _draw_panel(axes, panel, looks, width / columns)
            if number and labels[number - 1] == panel.y_label:
                axes.set_ylabel("")
                axes.tick_params(labelleft=False)
    if looks:
        _draw_legend(figure, panels, looks, across)
    return figure


def _draw_panel(axes: Axes, panel: Panel, looks: Mapping[Key, Look], width: float) -> None:
    room = int((width - 0.8) / _LETTER)
    upright = min(int(0.7 * room), 40)
    axes.set_title(_fitted(panel.title, room), parse_math=False, loc="left")
    axes.set_xlabel(_fitted(panel.x_label, room), parse_math=False)
    axes.set_ylabel(_fitted(panel.y_label, upright), parse_math=False)
    for curve in panel.curves:
        _draw_curve(axes, curve, looks[curve.label, curve.reference])
    _set_ticks(axes, panel, width - 1)
    if not any(np.isfinite(_means(curve)[0]).any() for curve in panel.curves):
        axes.tick_params(bottom=False, left=False, labelbottom=False, labelleft=False)
        axes.grid(visible=False)
        axes.text(0.5, 0.5, "nothing measured", color=_FAINT, ha="center", transform=axes.transAxes)


def _set_ticks(axes: Axes, panel: Panel, width: float) -> None:
    """Ticks where something was measured if their numbers fit in, else at round numbers."""
    places = sorted({x for curve in panel.curves for x in curve.x})
    longest = max((len(f"{x:g}") for x in places), default=0)
    needed = (longest + 1.5) * _LETTER / width * (places[-1] - places[0] if places else 0)
    if all(right - left >= needed for left, right in pairwise(places)):
        axes.set_xticks(places)
    else:
        whole = all(float(x).is_integer() for x in places)
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=whole))


def _draw_curve(axes: Axes, curve: Curve, look: Look) -> None:
    x = np.array(curve.x, np.float64)
    mean, half = _means(curve)
    low, high = mean - half, mean + half
    band = {"color": look["color"], "linewidth": 0, "zorder": 1}
    axes.fill_between(x, low, high, alpha=_BAND, **band)
    alone = _alone(np.isfinite(half))
    axes.vlines(x[alone], low[alone], high[alone], color=look["color"], linewidth=1.5, alpha=0.6)
    axes.plot(x, mean, **look)


def _means(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and half-width at each x, NaN where there is none: (n,), (n,) float64."""
    found = [interval(values) if values else None for values in curve.values]
    pairs = [(one.mean, one.t) if one else (np.nan, np.nan) for one in found]
    both = np.array(pairs, np.float64).reshape(-1, 2)
    return tuple(np.where(np.isfinite(both), both, np.nan).T)


def _alone(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a band would be a point: known, and neither neighbour is.

    >>> _alone(np.array([True, False, True, True])).tolist()
    [True, False, False, False]
    """
    padded = np.pad(known, 1)
    return known & ~padded[:-2] & ~padded[2:]


def _looks(panels: Sequence[Panel]) -> dict[Key, Look]:
    """How the curves of each label look, in the order in which the labels first come."""
    keys = dict.fromkeys((c.label, c.reference) for panel in panels for c in panel.curves)
    plain, grey = _plain(), _grey()
    return {key: next(grey if key[1] else plain) for key in keys}


def _plain() -> Iterator[Look]:
    for color, marker in zip(cycle(_COLOURS), cycle(_MARKERS), strict=False):
        yield {"color": color, "linewidth": 1.8, "zorder": 3, **_marked(marker)}


def _grey() -> Iterator[Look]:
    line: Look = {"color": _GREY, "linewidth": 1.6, "linestyle": (0, (4, 2)), "zorder": 2}
    for marker in cycle(reversed(_MARKERS)):
        yield {**line, **_marked(marker)}


def _marked(marker: str) -> Look:
    edge: Look = {"markeredgecolor": "white", "markeredgewidth": 0.7}
    return {"marker": marker, "markersize": _MARKERS[marker], **edge}


def _across(looks: Mapping[Key, Look]) -> int:
    """How many labels stand side by side in the legend, in rows as even as possible."""
    longest = max((len(label) for label, _ in looks), default=0)
    fit = max(1, int((WIDTH / _INCH - 0.2) / (0.6 + _LETTER * longest)))
    return ceil(len(looks) / ceil(len(looks) / fit)) if looks else 1


def _draw_legend(
    figure: Figure, panels: Sequence[Panel], looks: Mapping[Key, Look], across: int
) -> None:
    seeds = [len(values) for panel in panels for c in panel.curves for values in c.values]
    title = "mean over seeds; band: 95 % Student-t interval" if max(seeds, default=0) > 1 else ""
    legend = figure.legend(
        [Line2D([], [], **look) for look in looks.values()],
        [""] * len(looks),  # set below: some versions leave out what begins with "_"
        loc="outside lower center",
        ncols=across,
        title=title,
        handlelength=2.6,
        columnspacing=1.6,
    )
    legend.get_title().set_color(_FAINT)
    longest = int((WIDTH / _INCH - 1) / _LETTER)
    for text, (label, _) in zip(legend.get_texts(), looks, strict=True):
        text.set_parse_math(False)
        text.set_text(_drawable(label, limit=longest))


def _fitted(text: str, room: int) -> str:
    """A text in lines of `room` letters; what would take more than two lines is cut."""
    return fill(_drawable(text, limit=2 * room), room, max_lines=2, placeholder="…")


def _drawable(text: str, *, limit: int) -> str:
    """A text on one line, with `?` for the letters that the font has not."""
    return "".join(c if ord(c) in _letters() else "?" for c in printable(text, limit=limit))


@cache
def _letters() -> frozenset[int]:
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    return frozenset(FT2Font(fonts / "DejaVuSans.ttf").get_charmap())
