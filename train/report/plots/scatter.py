"""Scatter plots: how two measures of the same things go together."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log10
from textwrap import fill
from typing import Any, ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from quire.train.report.plots.style import SMALL, TEXT, Key, Look, Size
from quire.train.report.plots.text import LETTER, drawable, round_ticks, write_plainly
from quire.train.report.plots.values import Floats, Values, floats, written

_FEW, _MANY = 30, 3000  # points: up to few are drawn large, from many on small
_SMALLEST = 0.42  # of the size of a marker
_SOLID, _SHEER = 0.85, 0.35  # opacity of few and of many
_MARGIN = 0.08  # around the points
_LINES = 3  # of the note, at most
_NOTE = 0.17  # inches that a line of the note is high


@dataclass(frozen=True, kw_only=True, eq=False)
class Scatter:
    """Points in one or more groups, each group in a colour and with a marker.

    The more points there are, the smaller and fainter they are. Pairs with a NaN or an infinite
    value are left out. The note stands above the points, never among them.

    Raises:
        ValueError: a group has not as many x as y.
    """

    kind: ClassVar[str] = "scatter"
    remark: ClassVar[str] = ""

    title: str
    x_label: str
    y_label: str
    groups: Mapping[str, tuple[Values, Values]]  # x and y, (n,) each; "" is not in the legend
    note: str = ""

    def __post_init__(self) -> None:
        for group, (x, y) in self.groups.items():
            if len(x) != len(y):
                raise ValueError(f"{self.title}: {group!r} has {len(x)} x, but {len(y)} y")

    @property
    def keys(self) -> tuple[Key, ...]:
        """By what the groups' looks are found."""
        return tuple((group or None, False) for group in self.groups)

    @property
    def empty(self) -> bool:
        """Whether there is no pair to draw."""
        return not any(len(x) for x, _ in self._pairs.values())

    @property
    def _pairs(self) -> dict[Key, tuple[Floats, Floats]]:
        """x and y of what can be drawn, by key."""
        found = {}
        for key, (x, y) in zip(self.keys, self.groups.values(), strict=True):
            pairs = np.stack([floats(x), floats(y)])
            horizontal, vertical = pairs[:, ~np.isnan(pairs).any(axis=0)]
            found[key] = horizontal, vertical
        return found

    def draw(self, axes: Axes, looks: Mapping[Key, Look], size: Size) -> None:
        """Draw the points, and the note."""
        pairs = self._pairs
        crowd = crowding(sum(len(x) for x, _ in pairs.values()))
        for key, (x, y) in pairs.items():
            point = looks[key] | {"linestyle": "", "alpha": _SOLID + crowd * (_SHEER - _SOLID)}
            point["markersize"] *= 1 + crowd * (_SMALLEST - 1)
            point["markeredgewidth"] *= 1 - crowd
            axes.plot(x, y, **point)
        axes.margins(_MARGIN)
        round_ticks(axes, size.inside)
        write_plainly(axes.yaxis)
        if self.note:
            self._write(axes, size)

    def _write(self, axes: Axes, size: Size) -> None:
        """Make room for the note above the points, and write it there."""
        width = int(size.inside / (LETTER * SMALL / TEXT))
        text = drawable(self.note, limit=_LINES * width).replace(
            " = ", "\xa0=\xa0"
        )  # not cut there
        text = fill(text, width, max_lines=_LINES, placeholder="…")
        share = min(0.5, (_NOTE * (text.count("\n") + 1) + 0.03) / (size.height - 0.9))
        low, high = axes.get_ylim()
        axes.set_ylim(low, low + (high - low) / (1 - share))
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "top"}
        ground = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        axes.text(0.99, 0.99, text, fontsize=SMALL, parse_math=False, bbox=ground, **place)

    @staticmethod
    def handle(look: Look) -> Line2D:
        """What stands for a group in the legend."""
        return Line2D([], [], **look | {"linestyle": ""})

    def data(self) -> Iterator[tuple[str, str, str, str]]:
        """Every pair: its group, x, y, and no value."""
        for group, (horizontal, vertical) in self.groups.items():
            for x, y in zip(horizontal, vertical, strict=True):
                yield group, written(x), written(y), ""


def crowding(points: int) -> float:
    """How crowded so many points are: 0 for a few, 1 for thousands.

    >>> crowding(10), crowding(300), crowding(10_000)
    (0.0, 0.5, 1.0)
    """
    share = log10(max(points, 1) / _FEW) / log10(_MANY / _FEW)
    return min(1.0, max(0.0, share))
