"""Box plots: how values spread in each of a few groups."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes

from quire.train.report.plots.style import Key, Look, Size, tint
from quire.train.report.plots.text import name_ticks, write_plainly
from quire.train.report.plots.values import Floats, Values, finite, written

_KEY: Key = (None, False)  # boxes are named at the axis, not by their colour
_REACH = 1.5  # interquartile ranges that a whisker can be long
_WIDTH = 0.56  # of a box, where boxes stand 1 apart
_NAME = 0.5  # of the height of a panel: how long a name can be


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """Five numbers that say how values spread, and the values that are far from the others."""

    low: float  # the least and the greatest value within 1.5 interquartile ranges of the box
    quartile: float
    median: float
    third: float
    high: float
    outliers: Floats


def box_of(values: Values) -> Box | None:
    """The box of some values, as Tukey drew it (1977); None where no value can be drawn.

    Quartiles are interpolated between the two nearest values. (n,), NaN left out.

    >>> box = box_of([1, 2, 3, 4, 100, float("nan")])
    >>> box.low, box.quartile, box.median, box.third, box.high, box.outliers
    (1.0, 2.0, 3.0, 4.0, 4.0, array([100.]))
    """
    numbers = np.sort(finite(values))
    if not len(numbers):
        return None
    quartile, median, third = np.percentile(numbers, (25, 50, 75)).tolist()
    reach = _REACH * (third - quartile)
    inside = (quartile - reach <= numbers) & (numbers <= third + reach)
    # Whiskers that would end inside the box, as its edge is between two values, end at its edge.
    low, high = min(numbers[inside][0], quartile), max(numbers[inside][-1], third)
    return Box(float(low), quartile, median, third, float(high), numbers[~inside])


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """One box for each group, side by side in the order of the groups.

    A box reaches from the first quartile to the third, with a line at the median; whiskers reach
    to the last value within 1.5 interquartile ranges of it, and what is farther is a faint point.
    NaN and infinite values are left out; a group without others leaves a gap with its name.
    """

    kind: ClassVar[str] = "boxes"
    remark: ClassVar[str] = "box: quartiles and median; whiskers: within 1.5 interquartile ranges"

    title: str
    x_label: str = ""
    y_label: str
    groups: Mapping[str, Values]  # (n,) each

    @property
    def keys(self) -> tuple[Key, ...]:
        """By what the boxes' look is found: they share one that has no name."""
        return (_KEY,)

    @property
    def empty(self) -> bool:
        """Whether no group has a value."""
        return not any(len(finite(values)) for values in self.groups.values())

    def draw(self, axes: Axes, looks: Mapping[Key, Look], size: Size) -> None:
        """Draw the boxes, with their names below."""
        boxes = {place: box_of(values) for place, values in enumerate(self.groups.values())}
        found = {place: box for place, box in boxes.items() if box}
        axes.bxp(
            [_as_matplotlib_has_it(box) for box in found.values()],
            positions=list(found),
            widths=_WIDTH,
            patch_artist=True,
            manage_ticks=False,
            **_drawn(looks[_KEY]["color"]),
        )
        axes.grid(visible=False, axis="x")
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.5, max(1, len(boxes)) - 0.5)
        write_plainly(axes.yaxis)
        name_ticks(axes.xaxis, list(self.groups), length=size.inside, longest=_NAME * size.height)

    def data(self) -> Iterator[tuple[str, str, str, str]]:
        """Every value: its group, no x, y, and no value; a group without any has no y."""
        for group, values in self.groups.items():
            for y in map(written, values) if len(values) else ("",):
                yield group, "", y, ""


def _as_matplotlib_has_it(box: Box) -> dict[str, Any]:
    return {
        "whislo": box.low,
        "q1": box.quartile,
        "med": box.median,
        "q3": box.third,
        "whishi": box.high,
        "fliers": box.outliers,
    }


def _drawn(color: str) -> dict[str, Any]:
    """How matplotlib is to draw the parts of a box."""
    line = {"color": color, "linewidth": 1.3}
    point = {"marker": "o", "markersize": 4, "markerfacecolor": color, "markeredgewidth": 0}
    return {
        "boxprops": {"facecolor": tint(color, 0.22), "edgecolor": color, "linewidth": 1.3},
        "medianprops": {"color": color, "linewidth": 2.4, "solid_capstyle": "butt"},
        "whiskerprops": line,
        "capprops": line,
        "capwidths": _WIDTH / 2,
        "flierprops": {**point, "alpha": 0.4},
    }
