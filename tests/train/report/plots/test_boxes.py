"""Box plots: the five numbers against a slow count, and what of them is drawn."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.train.report.plots.boxes import Boxes, box_of
from quire.train.report.plots.style import tint
from tests.train.report.plots.drawn import BLUE, above_legend, ink, mask, pixels, strokes

FACE = tint(BLUE, 0.22)

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-5, 5).map(float)


def boxes(**groups: Any) -> Boxes:
    return Boxes(title="t", y_label="y", groups=groups)


def slow_quantile(values: list[float], share: float) -> float:
    """Where a share of the way through the sorted values is passed, between two of them."""
    values = sorted(values)
    place = share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.lists(st.just(math.nan), max_size=2))
def test_a_box_is_what_its_values_say(values: list[float], broken: list[float]) -> None:
    box = box_of(broken + values)
    assert box is not None
    wanted = [slow_quantile(values, share) for share in (0.25, 0.5, 0.75)]
    assert [box.quartile, box.median, box.third] == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    reach = 1.5 * (box.third - box.quartile)
    near = [v for v in values if box.quartile - reach <= v <= box.third + reach]
    assert box.low == min([*near, box.quartile]) and box.high == max([*near, box.third])
    assert sorted([*near, *box.outliers]) == sorted(values)


def test_a_whisker_reaches_one_and_a_half_times_as_far_as_the_box_is_high() -> None:
    box = box_of([0.0] * 40 + [10.0] * 60 + [25.0, 25.1])
    assert box is not None
    assert (box.low, box.quartile, box.third, box.high) == (0, 0, 10, 25)
    assert box.outliers.tolist() == [25.1]


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_without_values_there_is_no_box(values: list[float]) -> None:
    assert box_of(values) is None


def test_a_box_stands_between_the_quartiles_and_its_line_at_the_median() -> None:
    image = pixels([boxes(a=[0, 10, 20, 40, 100])])  # whiskers from 0 to 40
    lines = mask(image, BLUE)
    faces = np.flatnonzero(mask(image, FACE).any(axis=1))
    column = int(np.flatnonzero(mask(image, FACE).any(axis=0)).mean())
    whiskers = np.flatnonzero(lines[:, column])
    bottom, top = whiskers.max(), whiskers.min()  # of 0 and of 40
    unit = (bottom - top) / 40
    assert abs(faces.max() - (bottom - 10 * unit)) < 8
    assert abs(faces.min() - (bottom - 40 * unit)) < 8
    beside = np.flatnonzero(lines[:, column - 60])  # of the median alone, inside the box
    inner = beside[(beside > faces.min() + 4) & (beside < faces.max() - 4)]
    assert abs(inner.mean() - (bottom - 20 * unit)) < 4


@pytest.mark.slow
def test_an_outlier_is_a_faint_point() -> None:
    faint = above_legend(pixels([boxes(a=[1, 2, 3, 4, 50])]))
    assert mask(faint, BLUE, opacity=0.4).sum() > 30
    none = above_legend(pixels([boxes(a=[1, 2, 3, 4, 5])]))
    assert not mask(none, BLUE, opacity=0.4).sum() > 30


@pytest.mark.slow
def test_a_group_without_values_leaves_a_gap_with_its_name() -> None:
    spread = [1.0, 2.0, 3.0]
    three = above_legend(pixels([boxes(a=spread, b=[math.nan], c=spread)]))
    faces = mask(three, FACE).any(axis=0)
    assert strokes(np.asarray(faces)) == 2
    edges = np.flatnonzero(np.diff(faces.astype(int)))
    assert edges[2] - edges[1] > 2 * (edges[1] - edges[0])  # a box would stand there

    def written(name: str) -> int:
        return ink(pixels([boxes(**{"a": spread, name: [], "c": spread})]))

    assert written("WWWW") > written("") + 100
    assert boxes(a=[], b=[math.nan]).empty and not boxes(a=[], b=[1]).empty


def test_the_data_has_every_value_and_every_group() -> None:
    groups = boxes(a=np.array([1, 2]), b=[], c=[math.nan])
    assert list(groups.data()) == [
        ("a", "", "1.0", ""),
        ("a", "", "2.0", ""),
        ("b", "", "", ""),
        ("c", "", "nan", ""),
    ]
