"""A blend is the exact weighted mean, rounded."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artifacts.blend import PARTS, blended

levels = st.integers(0, 255)


@settings(deadline=None)
@given(levels, levels, st.integers(0, PARTS))
def test_a_blend_is_the_mean_rounded_half_up(one: int, other: int, parts: int) -> None:
    mean = Fraction(parts, PARTS) * one + Fraction(PARTS - parts, PARTS) * other
    found = blended(np.array([one], np.uint8), np.array([other], np.uint8), parts)
    assert found.dtype == np.uint8
    assert found.tolist() == [floor(mean + Fraction(1, 2))]


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
