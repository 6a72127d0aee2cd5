"""Texts and ticks: that nothing is drawn over anything else."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from quire.train.report.plots.style import SMALL, STYLE
from quire.train.report.plots.text import inches, name_ticks, round_ticks, ticks_among

DPI = 200


@pytest.fixture(autouse=True, scope="module")
def style() -> object:
    with rc_context():
        rcdefaults()
        rcParams.update(STYLE)
        yield


def axes_of(width: float, height: float = 2) -> Axes:
    """Axes of so many inches."""
    figure = Figure(figsize=(width + 4, height + 4), dpi=DPI)
    FigureCanvasAgg(figure)
    across, up = width + 4, height + 4
    return figure.add_axes((2 / across, 2 / up, width / across, height / up))


def boxes(axes: Axes, which: str) -> list[Bbox]:
    """Where the texts of the ticks within an axis are."""
    axes.get_figure(root=True).draw_without_rendering()  # type: ignore[union-attr]
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    found = [text.get_window_extent() for x, text in labels if low <= x <= high and text.get_text()]
    return sorted(found, key=lambda box: (box.x0, box.y0))


def apart(found: list[Bbox]) -> bool:
    return not any(left.overlaps(right) for left, right in pairwise(found))


@pytest.mark.parametrize("text", ["uniform", "0.0002", "WWW", "illicit"])
def test_a_text_is_as_long_as_measured(text: str) -> None:
    axes = axes_of(2)
    drawn = axes.text(0, 0, text, fontsize=SMALL).get_window_extent()
    assert inches(text, SMALL) == pytest.approx(drawn.width / DPI, rel=0.12)


@pytest.mark.slow
@given(
    st.lists(st.text("aWil _", max_size=20), min_size=1, max_size=40),
    st.floats(0.8, 7),
    st.sampled_from("xy"),
)
@settings(max_examples=25)
def test_names_do_not_touch(names: list[str], length: float, which: str) -> None:
    axes = axes_of(*(length, length))
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(-0.5, len(names) - 0.5))
    name_ticks(axes.xaxis if which == "x" else axes.yaxis, names, length=length, longest=1)
    assert apart(boxes(axes, which))


def test_short_names_stand_level_on_two_lines_if_they_must_and_long_ones_upright() -> None:
    def shown(names: list[str], length: float) -> tuple[list[str], float]:
        axes = axes_of(length)
        axes.set_xlim(-0.5, len(names) - 0.5)
        name_ticks(axes.xaxis, names, length=length, longest=2)
        boxes(axes, "x")
        labels = axes.get_xticklabels()
        return [label.get_text() for label in labels], labels[0].get_rotation()

    assert shown(["He_N", "He_U"], 1) == (["He_N", "He_U"], 0)
    assert shown(["He normal", "He uniform"], 1.4) == (["He\nnormal", "He\nuniform"], 0)
    assert shown(["He normal", "He uniform"], 0.8) == (["He normal", "He uniform"], 90)
    assert shown([f"{i}" * 5 for i in range(9)], 0.4)[0] == ["00000", "33333", "66666"]


@pytest.mark.slow
@given(
    st.floats(-1e12, 1e12) | st.floats(-1, 1), st.floats(1e-9, 1e12) | st.floats(0.1, 9), st.data()
)
@settings(max_examples=40)
def test_round_numbers_do_not_touch(low: float, reach: float, data: st.DataObject) -> None:
    width = data.draw(st.floats(1.2, 7))
    axes = axes_of(width)
    if low + reach > low + 1e-9 * abs(low):
        axes.set_xlim(low, low + reach)
        round_ticks(axes, width)
        assert apart(boxes(axes, "x"))
        assert axes.xaxis.get_offset_text().get_text() == ""


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (50_000, 91_000), (0.00005, 0.00098), (96.6, 97.8), (-3, 1e-3)]
)
def test_there_are_two_round_numbers_at_least(low: float, high: float) -> None:
    axes = axes_of(1.3)
    axes.set_xlim(low, high)
    round_ticks(axes, 1.3)
    assert len(boxes(axes, "x")) >= 2


def test_where_not_all_numbers_fit_some_are_left_out() -> None:
    def numbers(width: float) -> list[str]:
        axes = axes_of(width)
        axes.set_xlim(200, 550)
        ticks_among(axes, [250, 300, 350, 400, 500], width)
        assert apart(boxes(axes, "x"))
        return [label.get_text() for label in axes.get_xticklabels()]

    assert numbers(3) == ["250", "300", "350", "400", "500"]
    assert numbers(1.5) == ["250", "350", "500"]
