"""Histograms: how often a value comes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, log2
from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from quire.train.report.plots.style import Key, Look, Size, tint
from quire.train.report.plots.text import round_ticks, ticks_among
from quire.train.report.plots.values import SAME, Floats, Values, finite, written

_MOST = 60  # bars that are wide enough to see
_DISTINCT = 20  # values that can have a bar each
_OFTEN = 5  # times that values other than whole numbers come, on average, to have a bar each
_EXACT = 2.0**52  # up to here a float is exact to a half
_FULL = 0.84  # of the way to the next value: how wide the bars at a value are
_SOLID, _SHEER = 0.8, 0.2  # how strong a bar is drawn, and one with others before and behind it


@dataclass(frozen=True, kw_only=True, eq=False)
class Histogram:
    """How many values of each group fall where; groups have the same bars.

    NaN and infinite values are left out; with `limits`, so is what is beyond them.

    Raises:
        ValueError: the number of bins is not positive, or the limits are not in order.
    """

    kind: ClassVar[str] = "histogram"
    remark: ClassVar[str] = ""

    title: str
    x_label: str
    y_label: str = "count"
    groups: Mapping[str, Values]  # (n,) each; "" is not in the legend
    bins: int | None = None  # of equal width; None: as many as `edges_of` finds, or `apart`
    limits: tuple[float, float] | None = None  # the first edge and the last; None: by the values
    centres: bool = False  # a dashed line at each group's median, a dotted one at its mean

    def __post_init__(self) -> None:
        if self.bins is not None and self.bins < 1:
            raise ValueError(f"{self.title}: {self.bins} bins; there must be at least 1")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ValueError(f"{self.title}: limits {self.limits}; the lower one comes first")

    @property
    def keys(self) -> tuple[Key, ...]:
        """By what the groups' looks are found."""
        return tuple((group or None, False) for group in self.groups)

    @property
    def empty(self) -> bool:
        """Whether there is no value to draw."""
        return not any(len(finite(values)) for values in self.groups.values())

    def draw(self, axes: Axes, looks: Mapping[Key, Look], size: Size) -> None:
        """Draw the bars: at each value where there are few, else over bins."""
        groups = [finite(values) for values in self.groups.values()]
        pooled = np.concatenate([*groups, np.empty(0)])
        if not len(pooled):
            return
        colors = [looks[key]["color"] for key in self.keys]
        places = apart(pooled) if self.bins is None and self.limits is None else None
        if places is None:
            edges = self._edges(pooled)
            _draw_bins(axes, [np.histogram(one, edges)[0] for one in groups], edges, colors)
            round_ticks(axes, size.inside)
        else:
            counts = [(one[:, None] == places).sum(axis=0) for one in groups]
            _draw_at(axes, counts, places, colors)
            ticks_among(axes, places.tolist(), size.inside)
        if self.centres:
            _draw_centres(axes, groups, colors)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=(1, 2, 5, 10)))
        axes.grid(visible=False, axis="x")

    def _edges(self, pooled: Floats) -> Floats:
        if self.limits is not None:
            return np.linspace(*self.limits, (self.bins or _DISTINCT) + 1)
        return edges_of(pooled) if self.bins is None else _even(pooled, self.bins)

    @staticmethod
    def handle(look: Look) -> Patch:
        """What stands for a group in the legend."""
        return Patch(color=tint(look["color"], _SOLID), linewidth=0)

    def data(self) -> Iterator[tuple[str, str, str, str]]:
        """Every value: its group, x, no y, and no value."""
        for group, values in self.groups.items():
            for x in values:
                yield group, written(x), "", ""


def apart(values: Floats) -> Floats | None:
    """The values, if so few that each is to have a bar; else None. (n,), n > 0 -> (m,), rising.

    So it is with at most 20 that are whole numbers or come often, unless two are so near to each
    other, for how far they reach, that their bars would be threads.

    >>> apart(np.array([2.0, 4, 2, 20])), apart(np.array([0.1, 0.2])), apart(np.array([1.0, 2, 99]))
    (array([ 2.,  4., 20.]), None, None)
    """
    distinct = np.unique(values)
    often = len(values) >= _OFTEN * len(distinct)
    if len(distinct) > _DISTINCT or not (often or (distinct == np.floor(distinct)).all()):
        return None
    least = max(float(np.ptp(distinct)) / _MOST, SAME * float(np.abs(distinct).max()))
    near = np.diff(distinct).min(initial=np.inf) < least
    return None if near else distinct


def edges_of(values: Floats) -> Floats:
    """The edges of bars over values. (n,), n > 0 -> (bins + 1,), rising.

    Bars are 2 IQR / n^(1/3) wide (Freedman & Diaconis 1981), but there are at least log2 n + 1 of
    them (Sturges 1926) and at most 60. Each bar over whole numbers is for the same number of them.

    >>> edges_of(np.array([0.0, 0.5, 0.75, 1])).tolist(), edges_of(np.arange(32.0))[:3].tolist()
    ([0.0, 0.333..., 0.666..., 1.0], [-0.5, 5.5, 11.5])
    """
    n, reach = len(values), float(np.ptp(values))
    quartiles = np.percentile(values, (25, 75))
    width = 2 * float(quartiles[1] - quartiles[0]) / n ** (1 / 3)
    bins = min(_MOST, max(ceil(log2(n)) + 1, ceil(min(reach / width, _MOST)) if width else 1))
    if np.abs(values).max() > _EXACT or not (values == np.floor(values)).all():
        return _even(values, bins)
    step = ceil((reach + 1) / bins)
    edges: Floats = values.min() - 0.5 + step * np.arange(ceil((reach + 1) / step) + 1)
    return edges


def _even(values: Floats, bins: int) -> Floats:
    """Edges of bars that share the way from the least value to the greatest."""
    low, high = float(values.min()), float(values.max())
    if high - low <= SAME * max(abs(low), abs(high)):
        half = max(0.5, abs(low) / 8)
        low, high = low - half, low + half
    return np.linspace(low, high, bins + 1)


def _draw_bins(axes: Axes, counts: list[Floats], edges: Floats, colors: list[str]) -> None:
    """Bars side by side; those of several groups as steps, before each other."""
    for heights, color in zip(counts, colors, strict=True):
        if len(counts) == 1:
            look: Look = {"color": tint(color, _SOLID), "edgecolor": "white", "linewidth": 0.6}
            axes.bar(edges[:-1], heights, np.diff(edges), align="edge", **look)
        else:
            axes.stairs(heights, edges, fill=True, color=color, alpha=_SHEER)
            axes.stairs(heights, edges, color=color, linewidth=1.6)


def _draw_centres(axes: Axes, groups: list[Floats], colors: list[str]) -> None:
    """A dashed line at the median of each group, a dotted one at its mean."""
    for values, color in zip(groups, colors, strict=True):
        if len(values):
            axes.axvline(float(np.median(values)), color=color, linestyle="--", linewidth=1.4)
            axes.axvline(float(np.mean(values)), color=color, linestyle=":", linewidth=1.4)


def _draw_at(axes: Axes, counts: list[Floats], places: Floats, colors: list[str]) -> None:
    """Bars at values, those of several groups side by side."""
    gap = float(np.diff(places).min(initial=np.inf))
    gap = gap if np.isfinite(gap) else max(1.0, abs(float(places[0])) / 8)
    width = _FULL * gap / len(counts)
    for number, (heights, color) in enumerate(zip(counts, colors, strict=True)):
        middle = places + (number - (len(counts) - 1) / 2) * width
        axes.bar(middle, heights, width, color=tint(color, _SOLID))
    axes.set_xlim(places[0] - gap, places[-1] + gap)
