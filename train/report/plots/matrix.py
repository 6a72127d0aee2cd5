"""Heat maps: a number for each pair of a row and a column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from quire.train.report.plots.style import COLOURS, INK, LINE, SMALL, Key, Look, Size
from quire.train.report.plots.text import (
    LETTER,
    MINUS,
    cut,
    drawable,
    inches,
    name_ticks,
    write_plainly,
)
from quire.train.report.plots.values import SAME, Floats, floats, written

Cells: TypeAlias = Sequence[Sequence[float]] | NDArray[Any]  # (R, C)

_WRITTEN = 12  # rows and columns up to which numbers are written in the cells
_LEAST = 5  # points of such a number
_DECIMALS = {0: 100, 1: 10, 2: 0.1, 3: 0.01}  # of numbers up to at least so much
_DIGIT = 0.64  # how wide a digit is, by its size
_BAR = 0.8  # inches that the colour bar, its numbers and its label take
_TITLE = 0.3  # inches of a title
_LABEL, _MARGIN = 0.45, 0.2  # inches beside names, with the label of an axis and without one
_NAME = 0.32  # of the lesser side of a panel: how long the name of a row or column can be
_RISING = ("#ffffff", "#8fc3e2", COLOURS[0], "#00263f")
_SIGNED = ("#7a3300", COLOURS[1], "#ffffff", COLOURS[0], "#00263f")
_UNKNOWN = "#c9c9ce"  # a NaN


@dataclass(frozen=True, kw_only=True, eq=False)
class Matrix:
    """A matrix as a heat map with a colour bar, its first row on top.

    Colours reach from the least value to the greatest, or to 0 if all are the same; where some are
    negative and some positive, 0 is white and as far from either end. NaN and infinite values are
    grey. A small matrix has its numbers written in the cells, where they fit. Rows and columns are
    named as far as there is room.

    Raises:
        ValueError: the values are not R x C, for R row labels and C column labels.
    """

    kind: ClassVar[str] = "matrix"
    remark: ClassVar[str] = ""
    keys: ClassVar[tuple[Key, ...]] = ()

    title: str
    x_label: str = ""
    y_label: str = ""
    values: Cells  # (R, C)
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    bar_label: str = ""  # what the values are

    def __post_init__(self) -> None:
        named, shape = (len(self.row_labels), len(self.column_labels)), np.shape(self.values)
        if shape != named and not (0 in named and 0 in shape):
            raise ValueError(f"{self.title}: values are {shape}, but labels {named}")

    @property
    def empty(self) -> bool:
        """Whether there is no value to draw."""
        return bool(np.isnan(floats(self.values)).all())

    def draw(self, axes: Axes, looks: Mapping[Key, Look], size: Size) -> None:
        """Draw the cells, the names of rows and columns, and the colour bar."""
        if self.empty:
            return
        values = floats(self.values)
        low, high = _limits(values)
        image = axes.imshow(
            values,
            cmap=_colours(_SIGNED if low < 0 < high else _RISING),
            vmin=low,
            vmax=high,
            aspect="equal" if len(set(values.shape)) == 1 else "auto",
        )
        axes.set_anchor("W")
        axes.grid(visible=False)
        axes.tick_params(length=0, pad=2)
        axes.spines[:].set(visible=True, color=LINE)
        inside, longest = self._inside(size), _NAME * min(size.width, size.height)
        name_ticks(axes.xaxis, self.column_labels, length=inside.width, longest=longest)
        name_ticks(axes.yaxis, self.row_labels, length=inside.height, longest=longest)
        _draw_bar(axes, image, drawable(self.bar_label, limit=max(10, int(inside.height / LETTER))))
        if max(values.shape) <= _WRITTEN:
            _write(axes, image, values, inside)

    def beside(self, width: float, height: float) -> float:
        """About how many inches of a panel stand to the left of the cells."""
        names = _longest(self.row_labels, _NAME * min(width, height))
        return names + (_LABEL if self.y_label else _MARGIN)

    def _inside(self, size: Size) -> Size:
        """About how many inches the cells have, among all that is written around them."""
        width = size.width - self.beside(size.width, size.height) - _BAR
        below = _longest(self.column_labels, _NAME * min(size.width, size.height))
        height = size.height - below - _TITLE - (_LABEL if self.x_label else _MARGIN)
        if len(self.row_labels) == len(self.column_labels):
            width = height = min(width, height)
        return Size(max(0.2, width), max(0.2, height), max(0.2, width))

    def data(self) -> Iterator[tuple[str, str, str, str]]:
        """Every cell: no label, its column, its row, and its value."""
        for row, values in zip(self.row_labels, self.values, strict=True):
            for column, value in zip(self.column_labels, values, strict=True):
                yield "", column, row, written(value)


def _limits(values: Floats) -> tuple[float, float]:
    """What the first and the last colour stand for."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < 0 < high:
        return -max(-low, high), max(-low, high)
    if high - low <= SAME * max(-low, high):  # one value alone stands against 0
        return min(low, 0), max(high, 0) or float(low == 0)
    return low, high


def _longest(names: Sequence[str], most: float) -> float:
    """How many inches the longest name takes, cut to the most it may take."""
    return max((inches(cut(name, most), SMALL) for name in names), default=0)


def _colours(stops: tuple[str, ...]) -> Colormap:
    """Colours that pass from stop to stop at even steps."""
    return LinearSegmentedColormap.from_list("quire", stops).with_extremes(bad=_UNKNOWN)


def _draw_bar(axes: Axes, image: AxesImage, label: str) -> None:
    """A colour bar as high as the cells."""
    beside = axes.inset_axes((1.04, 0, 0.05, 1))
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(image, cax=beside)
    bar.set_label(label, parse_math=False)
    write_plainly(bar.ax.yaxis)
    bar.outline.set_visible(False)
    beside.grid(visible=False)
    beside.tick_params(length=2)


def _write(axes: Axes, image: AxesImage, values: Floats, inside: Size) -> None:
    """Write the numbers into their cells, if they fit."""
    texts = numbers_of(values)
    rows, columns = values.shape
    across = 72 * inside.width / columns / (_DIGIT * (max(map(len, texts.flat)) + 0.8))
    points = min(SMALL, across, 0.6 * 72 * inside.height / rows)
    if points < _LEAST:
        return
    dark = image.to_rgba(values)[..., :3] @ (0.299, 0.587, 0.114) < 0.55
    for (row, column), text in np.ndenumerate(texts):
        look = {"fontsize": points, "color": "white" if dark[row, column] else INK}
        axes.text(column, row, text, ha="center", va="center", **look)


def numbers_of(values: Floats) -> NDArray[np.str_]:
    """Numbers as short texts with equally many decimals, nothing for a NaN. Any shape.

    >>> numbers_of(np.array([0.5, 1, np.nan])).tolist(), numbers_of(np.array([3.0, 12])).tolist()
    (['0.50', '1.00', ''], ['3', '12'])
    """
    known = values[~np.isnan(values)]
    most = float(np.abs(known).max(initial=0))
    whole = bool((known == np.floor(known)).all())
    decimals = next((count for count, least in _DECIMALS.items() if most >= least), 4)
    form = ".0e" if most >= 1e6 or 0 < most < 1e-3 else f".{0 if whole else decimals}f"
    texts = ["" if np.isnan(value) else f"{value:{form}}" for value in values.flat]
    return np.array([text.replace("-", MINUS) for text in texts], np.str_).reshape(values.shape)
