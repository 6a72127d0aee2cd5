"""Orders of a class's images: the slow way gives the same, and ties fall to the lower number."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stnp
from numpy.typing import NDArray

from quire.builders.recipes.anchor_order import farthest, nearest, uniform

Points = NDArray[np.float32]

# few values, so that ties are common
points = stnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 9), st.integers(1, 3)),
    elements=st.sampled_from([-2.0, 0.0, 0.5, 1.0, 4.0]),
)


def gap(one: Points, other: Points) -> float:
    return float(sum((float(a) - float(b)) ** 2 for a, b in zip(one, other, strict=True)))


def slow_nearest(features: Points) -> list[int]:
    mean = np.array([sum(map(float, column)) / len(features) for column in features.T])
    return sorted(range(len(features)), key=lambda i: (round(gap(features[i], mean), 9), i))


def slow_farthest(features: Points) -> list[int]:
    chosen = slow_nearest(features)[:1]
    while len(chosen) < len(features):
        others = [i for i in range(len(features)) if i not in chosen]
        reach = {i: min(gap(features[i], features[j]) for j in chosen) for i in others}
        chosen.append(max(others, key=lambda i: (reach[i], -i)))
    return chosen


def exact_mean(features: Points) -> bool:
    """Whether halving gives the mean: then what is equal on paper is equal in floats."""
    return len(features) in (1, 2, 4, 8)


@given(features=points.filter(exact_mean))
def test_nearest_is_the_slow_way(features: Points) -> None:
    assert list(nearest(features)) == slow_nearest(features)


@given(features=points.filter(exact_mean))
def test_farthest_is_the_slow_way(features: Points) -> None:
    assert list(farthest(features)) == slow_farthest(features)


@pytest.mark.parametrize("seed", range(5))
def test_both_are_the_slow_way_on_features_as_they_are(seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(40, 17)).astype(np.float32)
    assert list(nearest(features)) == slow_nearest(features)
    assert list(farthest(features)) == slow_farthest(features)


@given(features=points)
def test_every_image_comes_once(features: Points) -> None:
    numbers = list(range(len(features)))
    for order in (nearest(features), farthest(features)):
        assert sorted(order) == numbers
    assert sorted(uniform(len(features), rng=np.random.default_rng(0))) == numbers


def test_equal_images_come_by_their_number() -> None:
    features = np.array([[3, 1], [5, 5], [3, 1], [3, 1]], np.float32)
    assert list(nearest(features)) == [0, 2, 3, 1]
    assert list(farthest(features)) == [0, 1, 2, 3]


def test_a_draw_is_as_likely_as_any_other() -> None:
    rng = np.random.default_rng(0)
    first = [tuple(itertools.islice(uniform(3, rng=rng), 2)) for _ in range(6_000)]
    counts = [first.count(pair) for pair in itertools.permutations(range(3), 2)]
    assert sum(counts) == 6_000
    assert all(abs(count - 1_000) < 120 for count in counts)  # four standard deviations
