"""Histograms: that every value is in one bar, how many bars there are, and how high they are."""

import math
from typing import Any

import matplotlib.pyplot
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.patches import StepPatch

from quire.train.report.plots.histogram import Histogram, apart, edges_of
from quire.train.report.plots.style import Size, looks_of, tint
from tests.train.report.plots.drawn import BLUE, VERMILION, above_legend, mask, pixels, strokes

FULL = tint(BLUE, 0.8)
NUMBERS = st.floats(-1e100, 1e100) | st.integers(-(10**18), 10**18).map(float)


def histogram(values: Any, **options: Any) -> Histogram:
    groups = values if isinstance(values, dict) else {"": values}
    return Histogram(title="t", x_label="x", groups=groups, **options)


def heights(image: Any, color: str = FULL) -> list[int]:
    """Of the bars of one colour, from left to right, in pixels."""
    bars = mask(image, color).sum(axis=0)
    ends = np.flatnonzero(np.diff(np.pad(bars > 0, 1).astype(int)))
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return [int(np.median(bars[begin:end])) for begin, end in pairs]


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_every_value_is_in_one_of_a_few_bars(values: list[float]) -> None:
    edges = edges_of(np.array(values))
    assert 2 <= len(edges) <= 62 and (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


@given(st.lists(st.integers(0, 10_000).map(float), min_size=2, max_size=200))
def test_bars_over_whole_numbers_are_for_equally_many(values: list[float]) -> None:
    edges = edges_of(np.array(values))
    assert (edges % 1 == 0.5).all()
    assert len(set(np.diff(edges))) == 1


def test_more_values_get_more_bars_but_not_endlessly() -> None:
    rng = np.random.default_rng(0)
    counts = [len(edges_of(rng.normal(size=n))) - 1 for n in (10, 100, 1000)]
    assert counts == sorted(set(counts)) and counts[0] >= 4
    assert len(edges_of(np.concatenate([rng.normal(size=99_999), [1e9]]))) - 1 == 60


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_values_apart_are_the_values(values: list[float]) -> None:
    found = apart(np.array(values))
    if found is not None:
        assert found.tolist() == sorted(set(values)) and len(found) <= 20


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([250, 300, 350, 400, 500] * 2, 5),  # whole numbers
        ([2, 2, 2], 1),
        ([0.5, 0.9] * 5, 2),  # they come often
        ([0.5, 0.9] * 4, None),
        (range(20), 20),
        (range(21), None),
        ([0, 1, 100], None),  # threads
    ],
)
def test_few_values_have_a_bar_each(values: list[float], bars: int | None) -> None:
    found = apart(np.array(values, np.float64))
    assert (None if found is None else len(found)) == bars


def test_bars_are_as_high_as_the_values_are_many() -> None:
    image = pixels([histogram([1, 1, 1, 2, 4, 4, math.nan, math.inf])])
    first, second, third = heights(image)
    assert first == pytest.approx(3 * second, rel=0.03)
    assert third == pytest.approx(2 * second, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("bins", [1, 7, 30])
def test_there_are_as_many_bins_as_asked_for(bins: int) -> None:
    image = pixels([histogram(np.linspace(0, 1, 600), bins=bins)])
    row = np.flatnonzero(mask(image, FULL).any(axis=1)).max() - 20
    assert strokes(mask(image, FULL)[row]) == bins
    assert len(set(heights(image))) <= 3  # 600 / bins each, but for pixels


@pytest.mark.slow
def test_groups_stand_side_by_side_or_as_steps() -> None:
    beside = above_legend(pixels([histogram({"a": [1, 1, 2], "b": [1, 2, 2]})]))
    assert len(heights(beside)) == len(heights(beside, tint(VERMILION, 0.8))) == 2
    rng = np.random.default_rng(0)
    groups = {"a": rng.normal(size=99), "b": rng.normal(size=99)}
    steps = above_legend(pixels([histogram(groups)]))
    assert mask(steps, BLUE).any() and mask(steps, VERMILION).any()
    assert mask(steps, BLUE, opacity=0.2).sum() > 1000


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="t: 0 bins; there must be at least 1"):
        histogram([1], bins=0)


def test_the_data_has_every_value() -> None:
    found = list(histogram({"": [1], "b": np.array([math.nan])}).data())
    assert found == [("", "1.0", "", ""), ("b", "nan", "", "")]
    assert histogram([math.nan]).empty and histogram({}).empty and not histogram([1]).empty


def drawn_bars(panel: Histogram) -> Any:
    """What is drawn on axes: edges of steps, and vertical lines by their style."""
    figure, axes = matplotlib.pyplot.subplots()
    panel.draw(axes, looks_of(panel.keys), Size(4, 3, 3))
    stairs = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    edges = [np.asarray(patch.get_data()[1]).tolist() for patch in stairs]
    lines = {(line.get_linestyle(), np.ravel(line.get_xdata())[0]) for line in axes.lines}
    matplotlib.pyplot.close(figure)
    return edges, lines


def test_limits_are_the_first_edge_and_the_last() -> None:
    panel = histogram({"a": [1.0, 250, 9999], "b": [30]}, bins=5, limits=(0, 300))
    edges, lines = drawn_bars(panel)
    assert edges and all(one == [0, 60, 120, 180, 240, 300] for one in edges) and not lines
    with pytest.raises(ValueError, match="limits"):
        histogram([1.0], limits=(3, 3))


def test_centres_are_of_all_values() -> None:
    panel = histogram({"a": [0.0, 10, 500], "b": []}, bins=5, limits=(0, 300), centres=True)
    _, lines = drawn_bars(panel)
    assert lines == {("--", 10), (":", 170)}
