"""Line plots, judged by their pixels: what is drawn, what is not, and that it stays the same."""

import csv
import hashlib
import io
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtrit

from quire.train.report.intervals import interval
from quire.train.report.plots.curves import Curve, Curves
from quire.train.report.plots.figure import panels_csv, plot
from quire.train.report.plots.style import DENSITY, WIDTH, Size, looks_of
from tests.train.report.plots.drawn import (
    BLUE,
    FAINT,
    GREY,
    GRID,
    OKABE_ITO,
    VERMILION,
    above_legend,
    ink,
    mask,
    pixels,
)
from tests.train.report.test_page import HOSTILE

ROOT = Path(__file__).parents[4]

Values = tuple[tuple[float, ...], ...]


def curve(label: str = "ours", *, values: Values = ((1.0,), (1.0,)), **options: Any) -> Curve:
    return Curve(label=label, x=tuple(range(len(values))), values=values, **options)


def panel(*curves: Curve, title: str = "t", x_label: str = "x", y_label: str = "y") -> Curves:
    return Curves(title=title, x_label=x_label, y_label=y_label, curves=curves)


def level(*heights: float, label: str = "ours") -> Curve:
    """A horizontal line of one seed for each height."""
    return curve(label, values=(heights, heights, heights))


@pytest.mark.slow
def test_a_picture_is_as_wide_as_it_says_whatever_is_in_it() -> None:
    one, many = [panel(level(1))], [panel(*(level(i, label=f"curve {i}") for i in range(9)))] * 3
    heights = []
    for panels, columns in ((one, 2), (many, 4), (many, 1)):
        height, width, _ = pixels(panels, columns=columns).shape
        assert width == WIDTH * DENSITY == 1600
        heights.append(height)
    assert heights[2] > 2 * heights[1]


@pytest.mark.slow
def test_the_same_panels_give_the_same_bytes_in_any_process_and_leave_no_trace() -> None:
    panels = [panel(level(1, 2), level(3, label="other")), panel(level(2))]
    before = dict(matplotlib.rcParams)
    png = plot(panels)
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        assert plot(panels) == png
    code = (
        "import hashlib, sys; from quire.train.report.plots.curves import Curve, Curves; "
        "from quire.train.report.plots.figure import plot; "
        f"print(hashlib.sha256(plot({panels!r})).hexdigest(), 'matplotlib.pyplot' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert done.stdout.decode().split() == [hashlib.sha256(png).hexdigest(), "False"]


def test_a_png_says_nothing_of_when_and_with_what_it_was_made() -> None:
    png, kinds, place = plot([panel(level(1))]), set(), 8
    while place < len(png):
        kinds.add(png[place + 4 : place + 8])
        place += 12 + int.from_bytes(png[place : place + 4])
    assert kinds == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "broken",
    [
        (1.0, math.nan),
        *(pytest.param(one, marks=pytest.mark.slow) for one in ((math.nan,), (math.inf,), ())),
    ],
)
def test_what_is_no_number_is_a_gap(broken: tuple[float, ...]) -> None:
    def widest_gap(middle: tuple[float, ...]) -> float:
        line = curve(values=((1.0,), (1.0,), middle, (1.0,), (1.0,)))
        columns = np.flatnonzero(mask(above_legend(pixels([panel(line)])), BLUE).any(axis=0))
        return float(np.diff(columns).max() / (columns[-1] - columns[0]))

    assert widest_gap((1.0,)) < 0.05
    assert 0.4 < widest_gap(broken) < 0.55


def test_a_band_is_as_high_as_the_interval() -> None:
    seeds = (1.0, 2.0, 3.0)
    half = interval(seeds).t
    edges = [level(2 - half, label="low"), level(2 + half, label="high")]
    image = above_legend(pixels([panel(level(*seeds), *edges)]))
    column = image.shape[1] // 3  # between two markers
    band = np.flatnonzero(mask(image, BLUE, opacity=0.14)[:, column])
    low, high = (
        np.flatnonzero(mask(image, color)[:, column]) for color in (VERMILION, OKABE_ITO[2])
    )
    assert abs(band.min() - high.mean()) < 6 and abs(band.max() - low.mean()) < 6
    alone = above_legend(pixels([panel(level(2))]))
    assert not mask(alone, BLUE, opacity=0.14).any()  # one seed: no band


@pytest.mark.slow
@pytest.mark.parametrize("values", [((1.0, 3.0),), ((1.0, 3.0), (math.nan,), (2.0,))])
def test_a_band_at_a_single_place_is_a_bar(values: Values) -> None:
    image = above_legend(pixels([panel(curve(values=values))]))
    bar = mask(image, BLUE, opacity=0.6) | mask(image, BLUE, opacity=0.6, over=GRID)
    rows = np.flatnonzero(bar.any(axis=1))
    assert rows.max() - rows.min() > 0.5 * len(image)


def test_curves_of_one_label_look_alike_in_all_panels() -> None:
    panels = [panel(level(1, label="a"), level(2, label="b")), panel(level(1, label="b"))]
    image = above_legend(pixels(panels))
    half = int(0.54 * image.shape[1])  # the left panel has the labels
    assert mask(image[:, :half], BLUE).any() and mask(image[:, :half], VERMILION).any()
    assert not mask(image[:, half:], BLUE).any() and mask(image[:, half:], VERMILION).any()


@pytest.mark.slow
def test_seven_curves_and_a_reference_differ() -> None:
    curves = [level(height, label=f"model {height}") for height in range(7)]
    reference = curve("baseline", values=((8.0,), (8.0,)), reference=True)
    image = above_legend(pixels([panel(*curves, reference)]))
    lines = [np.flatnonzero(mask(image, color).any(axis=1)) for color in OKABE_ITO]
    assert all(len(rows) for rows in lines)
    assert len(np.flatnonzero(np.diff(lines[0]) > 20)) == 1  # blue twice, with other markers
    first, seventh = np.split(lines[0], np.flatnonzero(np.diff(lines[0]) > 20) + 1)
    assert not np.array_equal(mask(image, BLUE)[first], mask(image, BLUE)[seventh])
    dashes = mask(image, GREY)
    row = dashes.sum(axis=1).argmax()
    assert np.count_nonzero(np.diff(dashes[row].astype(int)) == 1) > 20


@pytest.mark.slow
def test_panels_of_a_row_share_an_axis_of_one_name() -> None:
    def height(y_label: str) -> float:
        panels = [
            panel(level(1)),
            panel(level(1, label="b"), level(99, label="c"), y_label=y_label),
        ]
        image = above_legend(pixels(panels))
        return float(np.flatnonzero(mask(image, BLUE).any(axis=1)).mean() / len(image))

    assert height("y") > 0.7  # far down, as 99 is above it
    assert 0.3 < height("other") < 0.6  # alone: in the middle


@pytest.mark.slow
def test_panels_of_other_rows_have_their_own_axis() -> None:
    panels = [panel(level(1)), panel(level(1, label="b"), level(99, label="c"))]
    image = pixels(panels, columns=1)
    rows = np.flatnonzero(mask(image[: len(image) // 3], BLUE).any(axis=1))
    assert 0.4 < rows.mean() / (len(image) / 2) < 0.6


@pytest.mark.slow
@pytest.mark.parametrize("role", ["title", "x_label", "y_label", "label"])
def test_a_text_is_drawn_letter_by_letter(role: str) -> None:
    def drawn(text: str) -> int:
        labels = {"title": "", "x_label": "", "y_label": "", "label": "", role: text}
        label = labels.pop("label")
        return ink(pixels([panel(level(1, label=label), **labels)]))

    empty = drawn("")
    plain, marked = drawn("isalphasi") - empty, drawn("_$\\alpha$_") - empty
    assert plain > 300
    assert marked > 0.6 * plain  # as mathematics it would be one letter, as a hidden label none


@pytest.mark.slow
@pytest.mark.parametrize("columns", [1, 4])
def test_a_hostile_text_breaks_nothing(columns: int) -> None:
    texts = [*HOSTILE, "$\\frac{$", "数", "\n\t", "W" * 500, "a b " * 200]
    panels = [
        panel(level(1, 2, label=text), title=text, x_label=text, y_label=text) for text in texts
    ]
    assert pixels(panels, columns=columns).shape[1] == WIDTH * DENSITY


@pytest.mark.slow
def test_a_panel_without_numbers_is_drawn_empty() -> None:
    empty = Curve(label="ours", x=(), values=())
    for one in (panel(), panel(empty), panel(curve(values=((math.nan,), ())))):
        image = above_legend(pixels([one]))
        assert not mask(image, BLUE).any()
        middle = image[len(image) // 4 : len(image) * 3 // 4, image.shape[1] // 4 :]
        assert mask(middle, FAINT).sum() > 300  # it is said
    beside, neither = (pixels([panel(left), panel(empty)])[:, :120] for left in (level(1), empty))
    assert ink(beside) > ink(neither) + 300  # the numbers of its ticks


@pytest.mark.slow
@given(st.lists(st.lists(st.floats(-1e30, 1e30) | st.just(math.nan), max_size=3), max_size=4))
@settings(max_examples=8)
def test_any_numbers_are_drawn(values: list[list[float]]) -> None:
    one = curve(values=tuple(map(tuple, values)))
    assert pixels([panel(one)]).shape[1] == WIDTH * DENSITY


@pytest.mark.parametrize("columns", [0, 5, -1])
def test_a_number_of_columns_without_room_is_refused(columns: int) -> None:
    with pytest.raises(ValueError, match=f"{columns} columns; there must be 1 to 4"):
        plot([panel(level(1))], columns=columns)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="no panels"):
        plot([])
    with pytest.raises(ValueError, match="a: 2 x, but 1 values"):
        Curve(label="a", x=(1, 2), values=((1,),))
    with pytest.raises(ValueError, match="not finite"):
        Curve(label="a", x=(math.nan,), values=((1,),))
    with pytest.raises(ValueError, match=r"t: two curves are named \['a'\]"):
        panel(curve("a"), curve("b"), curve("a"))


def test_a_csv_to_the_byte() -> None:
    one = Curve(label="a, b", x=(0.5, 1, 2), values=((1, 3), (math.nan,), ()))
    assert panels_csv([panel(one, title="noise")]) == (
        "panel,label,x,n,mean,deviation,t_95,z_95,values\n"
        f'noise,"a, b",0.5,2,2.0,1.4142135623730951,{stdtrit(1, 0.975)},1.96,1.0 3.0\n'
        'noise,"a, b",1.0,1,nan,nan,nan,nan,nan\n'
        'noise,"a, b",2.0,0,,,,,\n'
    )


@given(
    st.lists(
        st.dictionaries(
            st.text(st.characters(exclude_characters="\0"), max_size=5),
            st.lists(st.tuples(st.floats(-9, 9), st.lists(st.floats(-9, 9), max_size=3))),
            max_size=3,
        ),
        max_size=3,
    )
)
def test_every_value_comes_out_of_the_csv(
    contents: list[dict[str, list[tuple[float, list[float]]]]],
) -> None:
    panels, wanted = [], []
    for number, content in enumerate(contents):
        curves = []
        for label, points in content.items():
            x, values = tuple(x for x, _ in points), tuple(tuple(v) for _, v in points)
            curves.append(Curve(label=label, x=x, values=values))
            wanted += [(f"{number}", label, place, seeds) for place, seeds in points]
        panels.append(panel(*curves, title=f"{number}"))
    found = []
    for line in csv.DictReader(io.StringIO(panels_csv(panels), newline=""), strict=True):
        seeds = [float(word) for word in line["values"].split()]
        found.append((line["panel"], line["label"], float(line["x"]), seeds))
        assert line["n"] == str(len(seeds))
        assert line["mean"] == (str(interval(seeds).mean) if seeds else "")
    assert found == wanted


def test_an_axis_may_be_logarithmic() -> None:
    """Equal factors are equally far apart: 1, 10 and 100."""
    one = Curve(label="ours", x=(1, 10, 100), values=((1.0,), (2.0,), (3.0,)))
    found = []
    for log in (True, False):
        figure, axes = matplotlib.pyplot.subplots()
        panel = Curves(title="t", x_label="x", y_label="y", curves=(one,), log=log)
        panel.draw(axes, looks_of(panel.keys), Size(4, 3, 3))
        figure.canvas.draw()
        found.append([axes.transData.transform((x, 1))[0] for x in one.x])
        matplotlib.pyplot.close(figure)
    for places, ratio in zip(found, (1, 10), strict=True):
        assert (places[2] - places[1]) / (places[1] - places[0]) == pytest.approx(ratio)
    with pytest.raises(ValueError, match="not above 0"):
        Curves(title="t", x_label="x", y_label="y", curves=(curve(),), log=True)
