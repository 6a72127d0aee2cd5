"""A blend is the exact weighted mean, rounded."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.blend import PARTS, blended

levels = st.integers(0, 255)


@given(levels, levels, st.integers(0, PARTS))
def test_a_blend_is_the_mean_rounded_half_up(one: int, other: int, parts: int) -> None:
    mean = Fraction(parts, PARTS) * one + Fraction(PARTS - parts, PARTS) * other
    found = blended(np.array([one], np.uint8), np.array([other], np.uint8), parts)
    assert found.dtype == np.uint8
    assert found.tolist() == [floor(mean + Fraction(1, 2))]


def test_any_two_levels_in_any_parts_are_what_integers_make_of_them() -> None:
    one, other = np.meshgrid(np.arange(256, dtype=np.int32), np.arange(256, dtype=np.int32))
    levels = one.astype(np.uint8), other.astype(np.uint8)
    for parts in range(PARTS + 1):
        exact = (one * parts + other * (PARTS - parts) + PARTS // 2) // PARTS
        assert np.array_equal(blended(*levels, parts), exact), parts


@pytest.mark.parametrize("shape", [(1,), (513, 7, 3), (2, 3, 4, 3), (33, 5)])
def test_a_blend_has_the_shape_of_what_it_is_made_of(shape: tuple[int, ...]) -> None:
    one, other = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    exact = (one.astype(np.int32) * 717 + other.astype(np.int32) * 307 + 512) // 1024
    np.testing.assert_array_equal(blended(one, other, 717), exact)
    apart = np.moveaxis(one, 0, -1), np.moveaxis(other, 0, -1)  # not in the order of memory
    np.testing.assert_array_equal(blended(*apart, 717), np.moveaxis(exact, 0, -1))


@pytest.mark.parametrize("parts", [0, 1, 511, 512, 922, PARTS])
def test_blends_stay_between_their_sources(parts: int) -> None:
    one, other = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    found = blended(one, other, parts)
    assert (found >= np.minimum(one, other)).all() and (found <= np.maximum(one, other)).all()
    assert (blended(one, one, parts) == one).all()


def test_all_of_one_is_that_one() -> None:
    one, other = np.array([7, 255], np.uint8), np.array([200, 0], np.uint8)
    assert blended(one, other, PARTS).tolist() == [7, 255]
    assert blended(one, other, 0).tolist() == [200, 0]
    assert one.tolist() == [7, 255]  # and stays it
