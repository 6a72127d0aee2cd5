"""The learning rate's fall."""

import itertools

import pytest

from quire.train.segmentation.schedule import poly


def test_it_falls_from_the_start_to_nothing_without_a_step_up() -> None:
    rates = [poly(2.5e-4, step, 1000) for step in range(1001)]
    assert rates[0] == 2.5e-4 and rates[-1] == 0
    assert all(one > other for one, other in itertools.pairwise(rates))


def test_the_power_bends_it() -> None:
    assert poly(1.0, 25, 100, power=1.0) == 0.75
    assert poly(1.0, 50, 100) == pytest.approx(0.5358867312681466)  # 2 ** -0.9
