"""How properties of graphs and measures of their networks go together, by rank.

The analysis of Ben Amor, Stier & Granitzer: values outside Tukey's fences are left out of each
measure, the initialisations of a graph that remain are averaged, and what is left is correlated
over graphs by Spearman's rho and Kendall's tau. Graphs are the first axis, initialisations the
second.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats: TypeAlias = NDArray[np.float64]
Strength: TypeAlias = Literal["none", "weak", "moderate", "large"]

_FENCE = 1.5  # interquartile ranges beyond a quartile
_LEAST = 3  # complete pairs; with two, every coefficient is 1 or -1
_STRENGTHS: Mapping[Strength, float] = {"large": 0.5, "moderate": 0.3, "weak": 0.1}


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A rank correlation: its value in [-1, 1], and the p of the two-sided test against 0.

    Both are nan where there is none: fewer than three complete pairs, or one side is constant.
    """

    value: float
    p: float

    @property
    def strength(self) -> Strength:
        """By Cohen's standard, as `strength`."""
        return strength(self.value)


@dataclass(frozen=True, slots=True)
class Correlation:
    """How one property and one measure go together."""

    n: int  # complete pairs
    spearman: Coefficient
    kendall: Coefficient  # tau-b


def strength(coefficient: float) -> Strength:
    """Cohen's word for a coefficient of either sign; `none` below .10, and for nan.

    The paper gives ranges to two digits: .10 to .29, .30 to .49, .50 and above. What lies between
    two of them belongs to the lower one.

    >>> [strength(value) for value in (0.05, -0.1, 0.295, -0.3, 0.64)]
    ['none', 'weak', 'weak', 'moderate', 'large']
    """
    reached = (word for word, least in _STRENGTHS.items() if abs(coefficient) >= least)
    return next(reached, "none")


def without_outliers(values: NDArray[Any]) -> Floats:
    """One measure of all models, nan in place of what is outside Tukey's fences. Any shape -> it.

    The fences are 1.5 interquartile ranges below the first quartile and above the third, over all
    finite values at once, by linear interpolation; a value on a fence is kept. Nan stays nan, and
    what is infinite becomes nan. Where more than half of the values are equal the range may be 0;
    all others are outliers then.

    >>> without_outliers(np.array([1.0, 2, 3, 4, 9, np.nan])).tolist()
    [1.0, 2.0, 3.0, 4.0, nan, nan]
    """
    floats = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(floats)
    if not finite.any():
        return np.full(floats.shape, np.nan)
    first, third = np.quantile(floats[finite], [0.25, 0.75])
    margin = _FENCE * (third - first)
    kept = finite & (floats >= first - margin) & (floats <= third + margin)
    return np.where(kept, floats, np.nan)


def mean_of_rest(values: Floats) -> Floats:
    """The mean over initialisations of what is not nan; nan for a graph with nothing left.

    (G, M) -> (G,); the sums are exact.

    >>> mean_of_rest(np.array([[1, 2, np.nan], [np.nan] * 3])).tolist()
    [1.5, nan]
    """
    rests = ([value for value in row if not math.isnan(value)] for row in values.tolist())
    return np.array([math.fsum(rest) / len(rest) if rest else math.nan for rest in rests])


def correlation(one: NDArray[Any], other: NDArray[Any]) -> Correlation:
    """Spearman's rho and Kendall's tau-b over the pairs whose values are both finite.

    (G,), (G,) -> a record. p is scipy's: for rho by the t distribution, for tau exact where there
    are few pairs without ties.
    """
    complete = np.isfinite(one) & np.isfinite(other)
    left, right = one[complete], other[complete]
    n = len(left)
    if n < _LEAST or (left == left[0]).all() or (right == right[0]).all():
        nothing = Coefficient(math.nan, math.nan)
        return Correlation(n, nothing, nothing)
    rho, tau = stats.spearmanr(left, right), stats.kendalltau(left, right)
    return Correlation(n, _coefficient(rho), _coefficient(tau))


def correlations(
    properties: Mapping[str, NDArray[Any]], measures: Mapping[str, NDArray[Any]]
) -> dict[tuple[str, str], Correlation]:
    """The whole analysis: every property of graphs against every measure of their models.

    Args:
        properties: (G,) each, nan for a graph that has none.
        measures: (G, M) each, for M initialisations of each graph, in the order of the graphs;
            nan where there is no value.

    Returns:
        a correlation for each (property, measure).

    Raises:
        ValueError: an array of another shape.
    """
    means = {name: mean_of_rest(without_outliers(values)) for name, values in measures.items()}
    shapes = {array.shape for array in (*properties.values(), *means.values())}
    if len(shapes) > 1:
        raise ValueError(f"properties and measures are of different graphs: {sorted(shapes)}")
    return {
        (property_name, measure_name): correlation(values, mean)
        for property_name, values in properties.items()
        for measure_name, mean in means.items()
    }


def _coefficient(result: Any) -> Coefficient:
    # rounding takes perfect ranks a last digit beyond 1
    return Coefficient(min(1.0, max(-1.0, float(result.statistic))), float(result.pvalue))
