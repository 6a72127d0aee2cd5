"""Line plots: the mean over seeds along an axis, and how far it can be trusted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from quire.train.report.intervals import interval
from quire.train.report.plots.style import BAND, Key, Look, Size
from quire.train.report.plots.text import ticks_at
from quire.train.report.plots.values import written


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
class Curves:
    """Curves over common axes.

    A curve is its mean with markers, in a band of the 95 % Student-t interval where there are two
    seeds or more.

    Raises:
        ValueError: two curves have one label, or a logarithmic axis is to show an x of 0 or less.
    """

    kind: ClassVar[str] = "curves"

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log: bool = False  # whether the axis of x is logarithmic

    def __post_init__(self) -> None:
        if self.log and any(x <= 0 for curve in self.curves for x in curve.x):
            raise ValueError(f"{self.title}: an x is not above 0, and the axis is logarithmic")
        labels = [curve.label for curve in self.curves]
        if twice := {label for label in labels if labels.count(label) > 1}:
            raise ValueError(f"{self.title}: two curves are named {sorted(twice)}")

    @property
    def keys(self) -> tuple[Key, ...]:
        """By what the curves' looks are found."""
        return tuple((curve.label, curve.reference) for curve in self.curves)

    @property
    def empty(self) -> bool:
        """Whether there is no mean at all."""
        return not any(np.isfinite(_means(curve)[0]).any() for curve in self.curves)

    @property
    def remark(self) -> str:
        """What a reader has to know of the bands; nothing where there are none."""
        seeds = max((len(values) for one in self.curves for values in one.values), default=0)
        return "mean over seeds; band: 95 % Student-t interval" if seeds > 1 else ""

    def draw(self, axes: Axes, looks: Mapping[Key, Look], size: Size) -> None:
        """Draw the curves, with ticks where something was measured."""
        for curve in self.curves:
            _draw_curve(axes, curve, looks[curve.label, curve.reference])
        if self.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_locator(NullLocator())
            return
        ticks_at(axes, (x for curve in self.curves for x in curve.x), size.width - 1)

    @staticmethod
    def handle(look: Look) -> Line2D:
        """What stands for a curve in the legend."""
        return Line2D([], [], **look)

    def data(self) -> Iterator[tuple[str, str, str, str]]:
        """Every seed of every x: label, x, y, and no value; without a y where there is no seed."""
        for curve in self.curves:
            for x, values in zip(curve.x, curve.values, strict=True):
                for y in map(written, values) if values else ("",):
                    yield curve.label, written(x), y, ""


def _draw_curve(axes: Axes, curve: Curve, look: Look) -> None:
    x = np.array(curve.x, np.float64)
    mean, half = _means(curve)
    low, high = mean - half, mean + half
    band = {"color": look["color"], "linewidth": 0, "zorder": 1}
    axes.fill_between(x, low, high, alpha=BAND, **band)
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
