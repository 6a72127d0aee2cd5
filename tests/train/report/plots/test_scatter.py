"""Scatter plots, judged by their pixels."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from quire.train.report.plots.scatter import Scatter
from quire.train.report.plots.style import tint
from quire.train.report.plots.values import Values
from tests.train.report.plots.drawn import BLUE, VERMILION, above_legend, ink, mask, pixels

SOLID = tint(BLUE, 0.85)  # a point of few


def scatter(x: Values, y: Values, *, note: str = "", group: str = "") -> Scatter:
    return Scatter(title="t", x_label="x", y_label="y", groups={group: (x, y)}, note=note)


def bluish(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where there is a point, however faint."""
    return image[..., 2] > image[..., 0].astype(int) + 20


def test_points_stand_where_they_are() -> None:
    image = pixels([scatter([0, 1, 4], [0, 3, 1])])
    points = mask(image, SOLID)
    rows, columns = np.flatnonzero(points.any(axis=1)), np.flatnonzero(points.any(axis=0))
    (left, right), (top, bottom) = columns[[0, -1]], rows[[0, -1]]
    left, right, top, bottom = left + 9, right - 9, top + 9, bottom - 9  # middles of points
    third, quarter = round(bottom - (bottom - top) / 3), round(left + (right - left) / 4)
    for row, column in ((bottom, left), (top, quarter), (third, right)):
        assert points[row - 5 : row + 6, column - 5 : column + 6].mean() > 0.5  # beside the grid


@pytest.mark.slow
@pytest.mark.parametrize("broken", [(math.nan, 1), (1, math.nan), (math.inf, 2), (1, 1e300)])
def test_a_pair_that_is_no_number_is_left_out(broken: tuple[float, float]) -> None:
    x, y = [0.0, 1.0, broken[0]], [0.0, 1.0, broken[1]]
    assert np.array_equal(pixels([scatter(x, y)]), pixels([scatter(x[:2], y[:2])]))
    assert scatter([broken[0]], [broken[1]]).empty


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, 300, 3000])
def test_many_points_stay_readable(count: int) -> None:
    rng = np.random.default_rng(count)
    x, y = rng.normal(size=(2, count))
    image = pixels([scatter(x, y)])
    covered = bluish(image).mean()
    assert 0.0005 < covered < 0.35
    shades = np.unique(image[bluish(image)][:, 0])
    assert len(shades) > (1 if count == 10 else 8)  # where points are dense, it is darker


@pytest.mark.slow
def test_a_note_is_written_above_the_points() -> None:
    x = np.linspace(0, 1, 200)
    y = np.ones(200)
    y[0] = 0
    bare, noted = (
        pixels([scatter(x, y, note=note)] * 4, columns=4) for note in ("", "rho = -0.34")
    )
    assert ink(noted) > ink(bare) + 500
    rows = np.flatnonzero(bluish(noted).sum(axis=1) > 100)
    title = len(noted) // 10
    inside = noted[title : len(noted) // 2, noted.shape[1] * 7 // 8 :]
    texts = np.flatnonzero((inside.max(axis=2) < 60).any(axis=1)) + title
    assert texts.max() < rows.min() - 4


def test_a_long_note_takes_no_more_than_its_room() -> None:
    images = [pixels([scatter([0, 1], [0, 1], note=note)]) for note in ("W " * 500, "$\\frac{$")]
    assert all(bluish(image).any() for image in images)


@pytest.mark.slow
def test_groups_have_their_colours_and_the_unnamed_no_place_in_the_legend() -> None:
    groups = {"a": ([0, 1], [0, 1]), "b": ([0, 1], [1, 0])}
    both = Scatter(title="t", x_label="x", y_label="y", groups=groups)
    image = above_legend(pixels([both]))
    for color in (BLUE, VERMILION):
        assert mask(image, tint(color, 0.85)).any()
    named, unnamed = (pixels([scatter([0, 1], [0, 1], group=group)]) for group in ("a", ""))
    assert len(named) > len(unnamed)


def test_as_many_x_as_y() -> None:
    with pytest.raises(ValueError, match="t: 'a' has 2 x, but 1 y"):
        scatter([1, 2], [1], group="a")


def test_the_data_has_every_pair() -> None:
    found = list(scatter([1, math.nan], np.array([2, 3]), group="a").data())
    assert found == [("a", "1.0", "2.0", ""), ("a", "nan", "3.0", "")]
