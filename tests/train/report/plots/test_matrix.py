"""Heat maps, judged by their pixels."""

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from quire.train.report.plots.matrix import Matrix, numbers_of
from tests.train.report.plots.drawn import BLUE, VERMILION, ink, mask, pixels

MIDDLE, DARK, UNKNOWN = "#8fc3e2", "#00263f", "#c9c9ce"


def matrix(values: Any, *, name: str = "", **options: Any) -> Matrix:
    values = np.array(values, np.float64)
    rows, columns = (tuple(f"{name}{i}" if name else "" for i in range(n)) for n in values.shape)
    return Matrix(title="", values=values, row_labels=rows, column_labels=columns, **options)


def place(image: NDArray[np.uint8], color: str) -> tuple[float, float]:
    """The middle of what is left of the colour bar and about of a colour: row and column, of 1."""
    left = image[:, : int(0.8 * image.shape[1])]
    rows, columns = np.nonzero((np.abs(left - 255 * np.array(to_rgb(color))) <= 6).all(axis=2))
    return float(np.median(rows)) / len(image), float(np.median(columns)) / image.shape[1]


@pytest.mark.slow
def test_a_cell_has_the_colour_of_its_value_and_the_first_row_is_on_top() -> None:
    image = pixels([matrix([[0, 1, 0], [3, 0, math.nan], [0, 0, 0]])])
    dark, light, unknown = (place(image, color) for color in (DARK, MIDDLE, UNKNOWN))
    assert light[0] < dark[0] - 0.2 and unknown[0] == pytest.approx(dark[0], abs=0.05)
    assert dark[1] < light[1] < unknown[1]


def test_zero_is_white_between_negative_and_positive() -> None:
    image = pixels([matrix([[-1, 0, 2, 1]])])  # 2 is dark, 1 blue, and -1 as strong as 1
    assert place(image, VERMILION)[1] < place(image, DARK)[1] < place(image, BLUE)[1]


def test_a_square_is_square() -> None:
    values = np.zeros((14, 14))
    values[0], values[:, 0], values[-1], values[:, -1] = 1, 1, 1, 1
    image = pixels([matrix(values)])
    frame = mask(image, DARK)[:, : int(0.48 * image.shape[1])]
    rows, columns = np.nonzero(frame)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), rel=0.02)


@pytest.mark.slow
def test_numbers_are_written_in_the_cells_of_a_small_matrix() -> None:
    def written(size: int, columns: int = 1) -> int:
        zeros = matrix(np.zeros((size, size)))
        return ink(pixels([zeros] * columns, columns=columns)) // columns

    assert written(12) > written(13) + 12 * 12 * 20
    assert written(12) > written(12, 4) + 12 * 12 * 20  # no room for 144 numbers


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, 20, math.nan], ["1", "20", ""]),
        ([0.254, -1], ["0.25", "-1.00"]),
        ([97.34, 1], ["97.3", "1.0"]),
        ([0.0123], ["0.012"]),
        ([1e9, 1], ["1e+09", "1e+00"]),
        ([2e-7], ["2e-07"]),
        ([0, 0], ["0", "0"]),
        ([math.nan], [""]),
    ],
)
def test_numbers_are_short(values: list[float], texts: list[str]) -> None:
    found = numbers_of(np.array(values)).tolist()
    assert [text.replace("\N{MINUS SIGN}", "-") for text in found] == texts


@pytest.mark.slow
@pytest.mark.parametrize("size", [20, 100])
def test_names_are_thinned_where_there_are_many(size: int) -> None:
    values = np.random.default_rng(0).random((size, size)) / 9  # pale, but for the darkest
    named, bare = (ink(pixels([matrix(values, name=name)])) for name in ("class ", ""))
    assert 1500 < named - bare < 40_000


@pytest.mark.slow
def test_extremes_are_drawn() -> None:
    some = ([[5.0]], [[0, 0]], [[math.nan, 1]], [[1e300, -1e99]], [[1, 1 + 1e-15]])
    assert not any(matrix(values).empty for values in some)
    none = (np.empty((0, 3)), [[math.nan, math.inf]])
    assert all(matrix(values).empty for values in none)
    pixels([matrix(values) for values in (*some, *none)], columns=4)


def test_labels_must_be_as_many_as_rows_and_columns() -> None:
    with pytest.raises(ValueError, match=r"t: values are \(1, 2\), but labels \(2, 1\)"):
        Matrix(title="t", values=[[1, 2]], row_labels=("a", "b"), column_labels=("c",))


def test_the_data_has_every_cell() -> None:
    found = Matrix(title="t", values=[[1, 2]], row_labels=("r",), column_labels=("a", "b"))
    assert list(found.data()) == [("", "a", "r", "1.0"), ("", "b", "r", "2.0")]
