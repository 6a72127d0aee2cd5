"""Correlations held against the definitions, counted out pair by pair and rank by rank."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quire.train.studies.snn.correlation import (
    correlation,
    correlations,
    mean_of_rest,
    strength,
    without_outliers,
)

NAN = math.nan
FEW = st.sampled_from([-2.5, -1.0, 0.0, 0.5, 3.0, 1e9, NAN])  # many ties, some holes
PAIRS = st.lists(st.tuples(FEW, FEW), max_size=12)
VALUES = st.lists(st.integers(-40, 40).map(float) | st.just(NAN), max_size=30)


def quantile(ordered: Sequence[float], part: float) -> float:
    """By hand: so far along the way from the first to the last."""
    place = part * (len(ordered) - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def slow_fences(values: Sequence[float]) -> list[float]:
    there = sorted(value for value in values if not math.isnan(value))
    if not there:
        return [NAN] * len(values)
    first, third = quantile(there, 0.25), quantile(there, 0.75)
    low, high = first - 1.5 * (third - first), third + 1.5 * (third - first)
    return [value if low <= value <= high else NAN for value in values]


def slow_ranks(values: Sequence[float]) -> list[float]:
    """Each value's place; equals share the mean of theirs."""
    return [
        sum(other < value for other in values) + (sum(other == value for other in values) + 1) / 2
        for value in values
    ]


def slow_rho(left: Sequence[float], right: Sequence[float]) -> float:
    """Pearson's coefficient of the ranks."""
    one, other = slow_ranks(left), slow_ranks(right)
    middle = (len(left) + 1) / 2
    products = sum((a - middle) * (b - middle) for a, b in zip(one, other, strict=True))
    squares = [sum((a - middle) ** 2 for a in ranks) for ranks in (one, other)]
    return products / math.sqrt(squares[0] * squares[1])


def slow_tau(left: Sequence[float], right: Sequence[float]) -> float:
    """Concordant pairs less discordant ones, by what is not tied on either side."""
    pairs = [(i, j) for i in range(len(left)) for j in range(i)]
    signs = [(np.sign(left[i] - left[j]), np.sign(right[i] - right[j])) for i, j in pairs]
    untied = [sum(pair[side] != 0 for pair in signs) for side in (0, 1)]
    return float(sum(a * b for a, b in signs) / math.sqrt(untied[0] * untied[1]))


@given(VALUES)
def test_fences_are_those_by_hand(values: list[float]) -> None:
    found = without_outliers(np.array(values).reshape(-1, 1))
    assert found.shape == (len(values), 1)
    np.testing.assert_array_equal(found[:, 0], slow_fences(values))


@given(VALUES, st.randoms())
def test_all_values_share_their_fences_in_any_order(values: list[float], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one, other = without_outliers(np.array(values)), without_outliers(np.array(values)[order])
    np.testing.assert_array_equal(one[order], other)


def test_a_value_on_a_fence_is_kept_and_one_beyond_is_not() -> None:
    # quartiles 2 and 4, so the fences are -1 and 7
    inside = [-1.0, 2, 2, 3, 4, 4, 7]
    assert without_outliers(np.array(inside)).tolist() == inside
    found = without_outliers(np.array([-1.001, 2, 2, 3, 4, 4, 7.001]))
    np.testing.assert_array_equal(found, [NAN, 2, 2, 3, 4, 4, NAN])


def test_what_is_no_number_moves_no_fence_and_stays_out() -> None:
    values = np.array([[1.0, 2, 3], [4, math.inf, NAN]])
    np.testing.assert_array_equal(without_outliers(values), [[1, 2, 3], [4, NAN, NAN]])
    for nothing in (np.empty((0, 6)), np.full((2, 3), NAN), np.full(2, math.inf)):
        assert without_outliers(nothing).shape == nothing.shape
        assert np.isnan(without_outliers(nothing)).all()


def test_where_most_values_are_equal_all_others_are_outliers() -> None:
    found = without_outliers(np.array([5, 5, 5, 5, 5, 5, 5.001, 4]))
    np.testing.assert_array_equal(found, [5] * 6 + [NAN] * 2)
    assert without_outliers(np.array([7, 7])).tolist() == [7, 7]


def test_a_graph_is_the_mean_of_what_remains_of_it() -> None:
    values = np.array([[1, 2, 6], [NAN, 5, NAN], [NAN, NAN, NAN], [1e16, 1, -1e16]])
    np.testing.assert_array_equal(mean_of_rest(values), [3, 5, NAN, 1 / 3])
    assert mean_of_rest(np.empty((0, 6))).shape == (0,)


@given(PAIRS)
def test_coefficients_are_those_counted_out(pairs: list[tuple[float, float]]) -> None:
    left, right = np.array(pairs).reshape(-1, 2).T
    found = correlation(left, right)
    rest = [pair for pair in pairs if not any(map(math.isnan, pair))]
    assert found.n == len(rest)
    if len(rest) < 3 or any(len(set(side)) == 1 for side in zip(*rest, strict=True)):
        numbers = [found.spearman.value, found.spearman.p, found.kendall.value, found.kendall.p]
        assert all(map(math.isnan, numbers))
        assert found.spearman.strength == found.kendall.strength == "none"
        return
    one, other = zip(*rest, strict=True)
    assert found.spearman.value == pytest.approx(slow_rho(one, other), abs=1e-12)
    assert found.kendall.value == pytest.approx(slow_tau(one, other), abs=1e-12)
    assert -1 <= found.spearman.value <= 1 and -1 <= found.kendall.value <= 1
    assert 0 <= found.spearman.p <= 1 and 0 <= found.kendall.p <= 1


@given(st.permutations(range(9)))
def test_only_ranks_count_and_a_mirror_turns_the_sign(right: list[int]) -> None:
    left = np.arange(9.0)
    found = correlation(left, np.array(right))
    assert correlation(np.exp(left), np.array(right) ** 3.0) == found
    turned = correlation(left, -np.array(right))
    for one, other in ((found.spearman, turned.spearman), (found.kendall, turned.kendall)):
        assert other.value == pytest.approx(-one.value, abs=1e-12)
        assert other.p == pytest.approx(one.p)


def test_p_is_the_chance_of_so_strong_a_tau() -> None:
    # of the 6 orders of three values, both perfect ones are as strong
    tau = correlation(np.arange(3.0), np.arange(3.0)).kendall
    assert tau.value == 1 and tau.p == pytest.approx(1 / 3)
    # by the definition: t of n - 2 degrees, two-sided
    found = correlation(np.arange(6.0), np.array([1.0, 0, 3, 2, 5, 4])).spearman
    t = found.value * math.sqrt(4 / (1 - found.value**2))
    assert found.p == pytest.approx(2 * float(stats.t.sf(t, 4)))


def test_extreme_values_are_ranked_without_a_warning() -> None:
    left = np.array([-1.7e308, 0, 1.7e308])
    assert correlation(left, left).spearman.value == 1
    assert correlation(left, np.array([3, 3, 3])).n == 3


def test_cohens_words() -> None:
    steps = {0: "none", 0.0999: "none", 0.1: "weak", 0.299: "weak", 0.3: "moderate"}
    steps |= {0.4999: "moderate", 0.5: "large", 1: "large", NAN: "none"}
    for value, word in steps.items():
        assert strength(value) == strength(-value) == word


def test_one_outlier_among_the_models_hides_a_correlation() -> None:
    """Eight graphs: the outlier moves the lowest mean to the top, and rho from .88 to .21.

    No single rank of eight can take it further down from there.
    """
    edges = np.arange(8.0)
    order = np.array([1, 2, 3, 4, 6, 8, 5, 7.0])
    models = order[:, None] + np.array([-0.2, -0.1, 0, 0, 0.1, 0.2])
    broken = models.copy()
    broken[0, 3] = 100
    assert correlation(edges, mean_of_rest(models)).spearman.value == pytest.approx(37 / 42)
    assert correlation(edges, mean_of_rest(broken)).spearman.value == pytest.approx(3 / 14)
    found = correlations({"edges": edges}, {"error": broken})["edges", "error"]
    assert found.spearman.value == pytest.approx(37 / 42)
    assert found.n == 8 and found.spearman.strength == "large"


def test_each_measure_has_its_own_outliers_and_each_pair_its_own_graphs() -> None:
    rng = np.random.default_rng(0)
    properties = {
        "density": rng.random(20),
        "path": np.where(rng.random(20) < 0.2, NAN, rng.random(20)),
    }
    measures = {"error": rng.standard_cauchy((20, 6)), "epsilon": rng.random((20, 6))}
    measures["epsilon"][4] = NAN
    found = correlations(properties, measures)
    assert [*found] == [(one, other) for one in properties for other in measures]
    for (name, measure), one in found.items():
        kept = np.array(slow_fences(measures[measure].ravel().tolist())).reshape(20, 6)
        rows = [
            (properties[name][graph], sum(rest) / len(rest))
            for graph in range(20)
            if (rest := [value for value in kept[graph] if not math.isnan(value)])
            and not math.isnan(properties[name][graph])
        ]
        assert one.n == len(rows)
        assert one.spearman.value == pytest.approx(slow_rho(*zip(*rows, strict=True)))
        assert one.kendall.value == pytest.approx(slow_tau(*zip(*rows, strict=True)))
    assert found["density", "epsilon"].n == 19 > found["path", "epsilon"].n


def test_arrays_of_different_graphs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"are of different graphs: \[\(3,\), \(4,\)\]"):
        correlations({"density": np.zeros(4)}, {"error": np.zeros((3, 6))})
