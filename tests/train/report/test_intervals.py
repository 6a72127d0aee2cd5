"""Intervals held against numbers worked out by hand and tables of t, and how they are written."""

import csv
import io
import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.train.report.intervals import (
    STATISTICS,
    Interval,
    csv_text,
    interval,
    joined,
    statistics_of,
)

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=8)
QUANTILES = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 11: 2.228, 31: 2.042}  # any t table


def test_five_runs_by_hand() -> None:
    found = interval([1, 2, 3, 4, 5])
    assert found.n == 5
    assert found.mean == 3
    assert found.deviation == pytest.approx(math.sqrt(10 / 4))
    error = math.sqrt(10 / 4) / math.sqrt(5)  # 0.7071
    assert found.t == pytest.approx(2.776 * error, abs=5e-4 * error)
    assert found.z == pytest.approx(1.96 * error)
    assert found.t / found.z == pytest.approx(1.416, abs=1e-3)


@pytest.mark.parametrize("n", QUANTILES)
def test_the_quantile_is_that_of_one_degree_less_than_runs(n: int) -> None:
    found = interval(list(range(n)))
    assert found.t / (found.deviation / math.sqrt(n)) == pytest.approx(QUANTILES[n], abs=5e-4)


def test_one_run_has_a_mean_alone() -> None:
    found = interval([95.24])
    assert (found.n, found.mean) == (1, 95.24)
    assert all(map(math.isnan, (found.deviation, found.t, found.z)))


def test_no_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="there are no values"):
        interval([])


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_run_that_diverged_is_not_left_out(broken: float) -> None:
    found = interval([1.0, broken, 2.0])
    assert found.n == 3
    assert found.mean == broken or math.isnan(found.mean)
    assert not math.isfinite(found.mean)
    assert all(map(math.isnan, (found.deviation, found.t, found.z)))


@given(VALUES, st.floats(-1e3, 1e3))
def test_a_shift_moves_the_mean_alone(values: list[float], shift: float) -> None:
    before, after = interval(values), interval([value + shift for value in values])
    assert after.mean == pytest.approx(before.mean + shift, abs=1e-9)
    for name in ("deviation", "t", "z"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-8)


@given(VALUES, st.floats(0.01, 100))
def test_another_unit_scales_everything(values: list[float], scale: float) -> None:
    before = interval(values)
    for sign in (1, -1):
        after = interval([sign * scale * value for value in values])
        assert after.mean == pytest.approx(sign * scale * before.mean, abs=1e-9)
        for name in ("deviation", "t", "z"):
            assert getattr(after, name) == pytest.approx(scale * getattr(before, name), abs=1e-9)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=4))
def test_the_order_of_the_runs_changes_no_digit(values: list[float]) -> None:
    assert {interval(order) for order in permutations(values)} == {interval(values)}


@given(st.floats(-1e9, 1e9), st.integers(2, 20))
def test_equal_runs_have_no_width(value: float, n: int) -> None:
    assert interval([value] * n) == Interval(n, value, 0, 0, 0)


def test_it_is_written_with_students_half_width_unless_there_is_none() -> None:
    assert str(interval([95.0, 95.2])) == "95.10 ± 1.27"  # 12.706 * 0.1414 / 1.414
    assert f"{interval([95.0, 95.2]):.1f}" == "95.1 ± 1.3"
    assert str(interval([95.236])) == "95.24"
    assert str(interval([math.nan, 1])) == "nan"


@given(st.lists(st.floats(-1e150, 1e150) | st.sampled_from([math.nan, math.inf]), max_size=5))
def test_every_number_is_read_back(values: list[float]) -> None:
    fields = dict(zip(STATISTICS, statistics_of(values), strict=True))
    assert [str(float(field)) for field in joined(values).split()] == [str(v) for v in values]
    assert fields.pop("n") == str(len(values))
    if not values:
        assert set(fields.values()) == {""}
        return
    found = interval(values)
    numbers = (found.mean, found.deviation, found.t, found.z)
    assert [str(float(field)) for field in fields.values()] == [str(number) for number in numbers]


@given(st.lists(st.lists(st.text(), min_size=2, max_size=3)))
def test_any_text_survives_the_csv(rows: list[list[str]]) -> None:
    rows = [[field.replace("\0", "") for field in row] for row in rows]
    text = csv_text(rows)
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows
    assert not text or text.endswith("\n")


def test_lines_of_a_csv_end_as_on_unix() -> None:
    assert csv_text([["a", "b c"], ["", '"'], ["x\ry", ","]]) == 'a,b c\n,""""\n"x\ry",","\n'
