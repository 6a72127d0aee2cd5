"""Figures of a paper: panels of any kind side by side as one picture, and their data as a table.

A figure is drawn from its panels alone: with matplotlib's own defaults, whatever the user has set,
and without a date, so the same panels give the same bytes. Texts are drawn letter by letter, never
read as mathematics.
"""

import io
from collections.abc import Mapping, Sequence
from math import ceil
from typing import TypeAlias

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from quire.train.report.intervals import STATISTICS, csv_text, joined, statistics_of
from quire.train.report.plots.boxes import Boxes
from quire.train.report.plots.curves import Curves
from quire.train.report.plots.histogram import Histogram
from quire.train.report.plots.matrix import Matrix
from quire.train.report.plots.scatter import Scatter
from quire.train.report.plots.style import (
    DENSITY,
    FAINT,
    INCH,
    STYLE,
    WIDTH,
    Key,
    Look,
    Size,
    looks_of,
)
from quire.train.report.plots.text import LETTER, drawable, fitted

Panel: TypeAlias = Curves | Boxes | Scatter | Histogram | Matrix

_Named: TypeAlias = Curves | Scatter | Histogram  # by colour, in the legend
_COLUMNS = 4  # that leave room for labels


def plot(panels: Sequence[Panel], *, columns: int = 2) -> bytes:
    """Panels side by side as a PNG that is `WIDTH` x `DENSITY` pixels wide.

    What has one label looks alike in all panels and shares a place in the legend. Curves of a row
    whose y axes have the same label have the same y axis.

    Raises:
        ValueError: there are no panels, or not 1 to 4 columns.
    """
    if not panels:
        raise ValueError("there are no panels to plot")
    if not 1 <= columns <= _COLUMNS:
        raise ValueError(f"{columns} columns; there must be 1 to {_COLUMNS}")
    with matplotlib.rc_context():  # undone at the end
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = _figure(panels, min(columns, len(panels)))
        file = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(file, format="png", dpi="figure", metadata={"Software": None})
    return file.getvalue()


def panels_csv(panels: Sequence[Panel]) -> str:
    """Everything that was measured, as a table whose headings depend on the kinds of the panels.

    Curves alone have a line for each x of each curve, with mean and intervals; `values` holds the
    single seeds. Half-widths are those of `quire.train.report.intervals`. A NaN stays NaN; where no
    seed was run, n is 0 and the other fields are empty.

    With panels of other kinds, every single number has a line of its own, as they come: `x` and `y`
    are what the axes show, empty for an axis without numbers of the data.

    ========= ======= ============ ========= =========
    kind      label   x            y         value
    ========= ======= ============ ========= =========
    curves    curve   x            one seed
    boxes     group                value
    scatter   group   x            y
    histogram group   value
    matrix            column label row label the cell
    ========= ======= ============ ========= =========
    """
    curves = [panel for panel in panels if isinstance(panel, Curves)]
    if len(curves) == len(panels):
        return _summary(curves)
    heading = ("panel", "kind", "label", "x", "y", "value")
    lines = [(panel.title, panel.kind, *datum) for panel in panels for datum in panel.data()]
    return csv_text([heading, *lines])


def _summary(panels: Sequence[Curves]) -> str:
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
    looks = looks_of(key for panel in panels for key in panel.keys)
    names = [key for key in looks if key[0] is not None]
    remarks = [remark for remark in dict.fromkeys(panel.remark for panel in panels) if remark]
    across = _across(names)
    width, rows = WIDTH / INCH, ceil(len(panels) / columns)
    size = _size(panels, width / columns, max(2.4, min(0.78 * width / columns, 0.5 * width)))
    legend = 0.22 * ceil(len(names) / across) + 0.3 if names else 0
    legend += 0.18 * max(0, len(remarks) - bool(names))
    figure = Figure(
        figsize=(width, round(rows * size.height + legend, 2)),
        dpi=DENSITY * INCH,
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04),
    )
    for row in range(rows):
        _draw_row(figure, panels[row * columns :][:columns], (rows, columns, row), looks, size)
    if names or remarks:
        _draw_legend(figure, panels, {key: looks[key] for key in names}, across, remarks)
    return figure


def _size(panels: Sequence[Panel], width: float, height: float) -> Size:
    """The size of each panel: where one has long names beside it, all have less room inside."""
    names = [panel.beside(width, height) for panel in panels if isinstance(panel, Matrix)]
    return Size(width, height, width - max([0.8, *names]))


def _draw_row(
    figure: Figure,
    row: Sequence[Panel],
    place: tuple[int, int, int],
    looks: Mapping[Key, Look],
    size: Size,
) -> None:
    """Panels side by side, in the row `place` has last, of as many rows and columns as it has."""
    rows, columns, number = place
    labels = [panel.y_label if isinstance(panel, Curves) else None for panel in row]
    drawn: list[Axes] = []
    for column, (panel, label) in enumerate(zip(row, labels, strict=True)):
        first = labels.index(label)
        shared = drawn[first] if label is not None and first < column else None
        axes = figure.add_subplot(rows, columns, number * columns + column + 1, sharey=shared)
        drawn.append(axes)
        _draw_panel(axes, panel, looks, size)
        if shared and labels[column - 1] == label:
            axes.set_ylabel("")
            axes.tick_params(labelleft=False)


def _draw_panel(axes: Axes, panel: Panel, looks: Mapping[Key, Look], size: Size) -> None:
    width = int(size.inside / LETTER)
    upright = min(int(0.7 * (size.width - 0.8) / LETTER), 40)
    axes.set_title(fitted(panel.title, width), parse_math=False, loc="left")
    axes.set_xlabel(fitted(panel.x_label, width), parse_math=False)
    axes.set_ylabel(fitted(panel.y_label, upright), parse_math=False)
    panel.draw(axes, looks, size)
    if panel.empty:
        axes.tick_params(bottom=False, left=False, labelbottom=False, labelleft=False)
        axes.grid(visible=False)
        axes.text(0.5, 0.5, "nothing measured", color=FAINT, ha="center", transform=axes.transAxes)


def _across(names: Sequence[Key]) -> int:
    """How many labels stand side by side in the legend, in rows as even as possible."""
    longest = max((len(label or "") for label, _ in names), default=0)
    fit = max(1, int((WIDTH / INCH - 0.2) / (0.6 + LETTER * longest)))
    return ceil(len(names) / ceil(len(names) / fit)) if names else 1


def _draw_legend(
    figure: Figure,
    panels: Sequence[Panel],
    looks: Mapping[Key, Look],
    across: int,
    remarks: Sequence[str],
) -> None:
    """Remarks, and below them each label beside what it stands for where it first comes."""
    kinds = {
        key: panel for panel in reversed(panels) if isinstance(panel, _Named) for key in panel.keys
    }
    legend = figure.legend(
        [kinds[key].handle(look) for key, look in looks.items()],
        [""] * len(looks),  # set below: some versions leave out what begins with "_"
        loc="outside lower center",
        ncols=across,
        title="\n".join(remarks),
        handlelength=2.6,
        columnspacing=1.6,
    )
    legend.get_title().set_color(FAINT)
    longest = int((WIDTH / INCH - 1) / LETTER)
    for text, (label, _) in zip(legend.get_texts(), looks, strict=True):
        text.set_parse_math(False)
        text.set_text(drawable(label or "", limit=longest))
