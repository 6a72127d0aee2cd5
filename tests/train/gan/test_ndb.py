"""Statistically different bins: the figures worked out by hand, and what must not go wrong."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon

from quire.artifacts.bins_table import Bins
from quire.artifacts.errors import RunError
from quire.train.gan.ndb import assigned, compared, spread_of

TRAIN = np.array([300, 200, 150, 100, 80, 60, 50, 30, 20, 10])


def bins_of(centres: np.ndarray, counts: list[int] | None = None) -> Bins:
    """Bins with these centres, (K, H, W, C) in 0..255, decided on by every value."""
    counts = counts or [1] * len(centres)
    values = centres[0].size
    return Bins(
        centres=centres.astype(np.float64),
        counts=np.array(counts),
        dimensions=np.arange(values),
        scale=np.ones(values),
        source_index=np.arange(sum(counts)),
        bin=np.repeat(np.arange(len(counts)), counts),
    )


def test_a_collapse_worked_out_by_hand() -> None:
    found = compared(TRAIN, np.array([90, 5, 5, 0, 0, 0, 0, 0, 0, 0]))
    assert (found.different, found.score) == (7, 0.7)
    assert found.js == pytest.approx(0.23696, abs=5e-6)
    pooled = 390 / 1100
    z = (0.3 - 0.9) / math.sqrt(pooled * (1 - pooled) * (1 / 1000 + 1 / 100))
    assert z == pytest.approx(-11.959, abs=5e-4)


def test_a_sample_that_fits() -> None:
    found = compared(TRAIN, np.array([31, 19, 15, 10, 8, 6, 5, 3, 2, 1]))
    assert found.different == 0


def test_no_correction_for_the_number_of_tests() -> None:
    """Bonferroni's would leave four of the seven."""
    query = np.array([90, 5, 5, 0, 0, 0, 0, 0, 0, 0])
    chances = []
    for n, m in zip(TRAIN.tolist(), query.tolist(), strict=True):
        p = (n + m) / 1100
        z = (n / 1000 - m / 100) / math.sqrt(p * (1 - p) * (1 / 1000 + 1 / 100))
        chances.append(2 * stats.norm.sf(abs(z)))
    assert sum(chance < 0.05 / 10 for chance in chances) == 4
    assert sum(chance < 0.05 for chance in chances) == compared(TRAIN, query).different == 7


def test_a_bin_that_is_empty_in_both_is_not_different() -> None:
    assert compared(np.array([5, 0, 5]), np.array([4, 0, 6])).different == 0
    assert compared(np.array([7]), np.array([9])).different == 0


counts = st.lists(st.integers(0, 200), min_size=2, max_size=12)


@given(st.data())
def test_the_divergence_is_scipys(data: st.DataObject) -> None:
    first = np.array(data.draw(counts.filter(any)))
    second = np.array(
        data.draw(
            st.lists(st.integers(0, 200), min_size=len(first), max_size=len(first)).filter(any)
        )
    )
    found = compared(first, second)
    assert found.js == pytest.approx(jensenshannon(first, second) ** 2, abs=1e-12)
    assert 0 <= found.js <= math.log(2) + 1e-12 and 0 <= found.different <= len(first)


def test_where_nothing_differs_a_twentieth_of_the_bins_does() -> None:
    rng = np.random.default_rng(0)
    parts = np.full(100, 0.01)
    scores = [
        compared(rng.multinomial(20_480, parts), rng.multinomial(5_120, parts)).score
        for _ in range(100)
    ]
    assert np.mean(scores) == pytest.approx(0.05, abs=0.01)


def test_images_all_alike_differ_in_nearly_every_bin() -> None:
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (100, 4, 4, 3))
    bins = bins_of(centres, [205] * 100)
    alike = torch.from_numpy(centres[7] / 127.5 - 1).permute(2, 0, 1).float()
    found = spread_of([alike.expand(128, -1, -1, -1)] * 40, bins)
    assert found.images == 5120 and found.score >= 0.99


def test_images_belong_to_the_nearest_centre_by_the_values_that_count() -> None:
    rng = np.random.default_rng(0)
    bins = bins_of(rng.integers(0, 256, (9, 4, 5, 3)))
    used = np.array([0, 7, 8, 33, 59])
    scale = rng.uniform(1, 80, 60)
    bins = Bins(bins.centres, bins.counts, used, scale, bins.source_index, bins.bin)
    images = rng.uniform(-1, 1, (50, 3, 4, 5))
    expected = []
    for image in images:
        levels = (image.transpose(1, 2, 0).ravel() + 1) * 127.5
        distances = [
            sum(((levels[d] - centre.ravel()[d]) / scale[d]) ** 2 for d in used)
            for centre in bins.centres
        ]
        expected.append(int(np.argmin(distances)))
    assert assigned(torch.from_numpy(images), bins).tolist() == expected


@pytest.mark.parametrize("value", [1.01, -2.0, math.nan, math.inf])
def test_values_outside_are_refused(value: float) -> None:
    images = torch.zeros(2, 3, 4, 4)
    images[1, 2, 3, 0] = value
    with pytest.raises(RunError, match=r"outside \[-1, 1\], or NaN"):
        assigned(images, bins_of(np.zeros((2, 4, 4, 3))))


def test_images_of_another_size_and_none_at_all_are_refused() -> None:
    bins = bins_of(np.zeros((2, 4, 4, 3)))
    with pytest.raises(RunError, match="images are 8x8 of 3 channels; the bins are of 4x4 of 3"):
        assigned(torch.zeros(1, 3, 8, 8), bins)
    with pytest.raises(RunError, match="no images"):
        spread_of([], bins)
