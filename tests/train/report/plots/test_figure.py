"""Figures of panels of all kinds: the same bytes everywhere, and their data as a table."""

import csv
import hashlib
import io
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.train.report.plots.boxes import Boxes
from quire.train.report.plots.curves import Curve, Curves
from quire.train.report.plots.figure import Panel, panels_csv, plot
from quire.train.report.plots.histogram import Histogram
from quire.train.report.plots.matrix import Matrix
from quire.train.report.plots.scatter import Scatter
from quire.train.report.plots.style import DENSITY, WIDTH, tint
from tests.train.report.plots.drawn import BLUE, FAINT, GRID, VERMILION, above_legend, mask, pixels
from tests.train.report.test_page import HOSTILE

ROOT = Path(__file__).parents[4]


def every_kind(text: str = "a", *, values: tuple[float, ...] = (1, 2, 4, math.nan)) -> list[Panel]:
    """A panel of each kind, with one text wherever there is one."""
    curve = Curve(label=text, x=(1, 2), values=((1, 2), values))
    said: dict[str, Any] = {"title": text, "x_label": text, "y_label": text}
    return [
        Curves(**said, curves=(curve,)),
        Boxes(**said, groups={text: values, "none": ()}),
        Scatter(**said, groups={text: (values, values)}, note=text),
        Histogram(**said, groups={text: values}),
        Matrix(**said, values=[values], row_labels=(text,), column_labels=(text,) * len(values)),
    ]


@pytest.mark.slow
def test_the_same_panels_of_all_kinds_give_the_same_bytes_in_any_process() -> None:
    code = (
        "import hashlib; from tests.train.report.plots.test_figure import every_kind, plot; "
        "print(hashlib.sha256(plot(every_kind()[1:])).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    found = hashlib.sha256(plot(every_kind()[1:])).hexdigest()
    assert done.stdout.decode().strip() == found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        pytest.param(2, ["W" * 500], marks=pytest.mark.slow),
        (4, [HOSTILE[0], "$\\frac{$", "\n\t"]),
    ],
)
def test_a_hostile_text_breaks_no_kind(columns: int, texts: list[str]) -> None:
    panels = [panel for text in texts for panel in every_kind(text)]
    assert pixels(panels, columns=columns).shape[1] == WIDTH * DENSITY


@pytest.mark.slow
@given(st.lists(st.floats(), max_size=5))
@settings(max_examples=5)
def test_any_numbers_are_drawn(values: list[float]) -> None:
    panels = every_kind(values=tuple(values))[1:]  # curves have a test of their own
    assert pixels(panels, columns=4).shape[1] == WIDTH * DENSITY


@pytest.mark.slow
@pytest.mark.parametrize("kind", range(5))
def test_a_panel_without_numbers_says_so(kind: int) -> None:
    panel = every_kind(values=(math.nan, math.nan))[kind]
    if isinstance(panel, Curves):
        panel = Curves(title="", x_label="", y_label="", curves=())
    assert panel.empty
    image = above_legend(pixels([panel]))
    middle = image[len(image) // 4 : len(image) * 3 // 4, image.shape[1] // 4 :]
    assert mask(middle, FAINT).sum() > 300
    assert not every_kind()[kind].empty


def test_what_has_one_name_looks_alike_in_panels_of_all_kinds() -> None:
    named: list[Panel] = [
        Scatter(title="", x_label="", y_label="", groups={"a": ([0], [0]), "b": ([1], [1])}),
        Histogram(title="", x_label="", groups={"b": [1, 2]}),
        Histogram(title="", x_label="", groups={"": [1, 2]}),
    ]
    image = above_legend(pixels(named, columns=3))
    left, middle, right = np.array_split(image, 3, axis=1)
    assert mask(left, tint(BLUE, 0.85)).any() and mask(left, tint(VERMILION, 0.85)).any()
    assert mask(middle, tint(VERMILION, 0.8)).any() and not mask(middle, tint(BLUE, 0.8)).any()
    for color in (BLUE, VERMILION):  # what has no name has a look of its own
        assert not mask(right, tint(color, 0.8)).any()


@pytest.mark.slow
def test_only_curves_share_an_axis() -> None:
    def top(beside: Panel) -> int:
        one = Curve(label="a", x=(0, 1), values=((99,), (99,)))
        curves = Curves(title="", x_label="", y_label="y", curves=(one,))
        image = above_legend(pixels([curves, beside]))
        return int(np.flatnonzero(mask(image[:, : image.shape[1] // 2], BLUE).any(axis=1)).mean())

    low = Curve(label="b", x=(0, 1), values=((1,), (1,)))
    alone = top(Boxes(title="", y_label="other", groups={"b": [1, 2]}))
    assert top(Boxes(title="", y_label="y", groups={"b": [1, 2]})) == alone
    assert top(Curves(title="", x_label="", y_label="y", curves=(low,))) < alone - 100


@pytest.mark.slow
def test_what_bands_and_boxes_mean_is_said() -> None:
    def remarks(*panels: Panel) -> int:
        image = pixels(panels)
        below = image[np.flatnonzero(mask(image, GRID).any(axis=1)).max() + 60 :]
        rows = mask(below, FAINT).any(axis=1)
        return int(np.count_nonzero(np.diff(np.pad(rows, 1).astype(int)) == 1))

    curves, boxes, scatter, _, _ = every_kind()
    assert remarks(scatter) == 0
    assert remarks(boxes) > 0 and remarks(curves, boxes) > remarks(boxes)


def test_a_csv_of_all_kinds_to_the_byte() -> None:
    assert panels_csv(every_kind(values=(1, math.nan))) == (
        "panel,kind,label,x,y,value\n"
        "a,curves,a,1.0,1.0,\n"
        "a,curves,a,1.0,2.0,\n"
        "a,curves,a,2.0,1.0,\n"
        "a,curves,a,2.0,nan,\n"
        "a,boxes,a,,1.0,\n"
        "a,boxes,a,,nan,\n"
        "a,boxes,none,,,\n"
        "a,scatter,a,1.0,1.0,\n"
        "a,scatter,a,nan,nan,\n"
        "a,histogram,a,1.0,,\n"
        "a,histogram,a,nan,,\n"
        "a,matrix,,a,a,1.0\n"
        "a,matrix,,a,a,nan\n"
    )
    one = Curve(label="c", x=(0,), values=((),))
    curves = Curves(title="t", x_label="x", y_label="y", curves=(one,))
    assert panels_csv([curves]).splitlines()[0].startswith("panel,label,x,n,mean")
    mixed = csv.reader(io.StringIO(panels_csv([curves, every_kind()[3]])))
    assert list(mixed)[1] == ["t", "curves", "c", "0.0", "", ""]
