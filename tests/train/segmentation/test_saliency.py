"""F and the mean absolute error of saliency, against loops over thresholds and pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from quire.train.segmentation.saliency import Fit, fit, score

SIDE = st.tuples(st.integers(1, 6), st.integers(1, 6))


def naive(saliency: NDArray[np.float64], salient: NDArray[np.bool_]) -> tuple[list[float], float]:
    """By the definition; F from the highest threshold down."""
    least, most = saliency.min(), saliency.max()
    values = [float(v) if most == least else (v - least) / (most - least) for v in saliency.ravel()]
    truth = salient.ravel().tolist()
    curve = []
    for threshold in range(255, -1, -1):
        found = [int(value * 255) >= threshold for value in values]
        hits = sum(one and other for one, other in zip(found, truth, strict=True))
        precision = hits / sum(found) if any(found) else 0.0
        recall = hits / sum(truth) if any(truth) else 0.0
        below = 0.3 * precision + recall
        curve.append(1.3 * precision * recall / below if below else 0.0)
    errors = [abs(value - one) for value, one in zip(values, truth, strict=True)]
    return curve, sum(errors) / len(errors)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=SIDE)
def test_it_is_what_the_definition_says(data: st.DataObject, shape: tuple[int, int]) -> None:
    levels = data.draw(arrays(np.uint8, shape))
    salient = data.draw(arrays(np.bool_, shape))
    saliency = levels / 255
    found = fit(saliency, salient)
    curve, error = naive(saliency, salient)
    np.testing.assert_allclose(found.f, curve, rtol=0, atol=1e-12)
    assert found.error == pytest.approx(error, abs=1e-12)


def test_the_truth_itself_is_without_fault() -> None:
    salient = np.zeros((8, 8), bool)
    salient[2:5, 3:7] = True
    found = fit(salient.astype(float), salient)
    assert found.f.max() == pytest.approx(1) and found.error == 0
    dim = fit(0.2 + 0.1 * salient, salient)  # stretched
    assert dim.f.max() == pytest.approx(1) and dim.error == pytest.approx(0)


def test_a_map_without_contrast_is_taken_as_it_is() -> None:
    salient = np.zeros((2, 2), bool)
    salient[0, 0] = True
    found = fit(np.full((2, 2), 0.4), salient)
    assert found.error == pytest.approx((0.6 + 3 * 0.4) / 4)
    assert found.f.max() == pytest.approx(1.3 * 0.25 / (0.3 * 0.25 + 1))
    assert fit(np.full((2, 2), 0.4), salient & False).f.max() == 0


def test_the_maximum_is_that_of_the_mean_over_images() -> None:
    salient = np.zeros((1, 256), bool)
    salient[0, 128:] = True
    ramp = np.arange(256)[None] / 255
    one, other = fit(ramp, salient), fit(ramp**4, salient)
    both = score(iter([one, other]))
    assert both.images == 2 and both.error == pytest.approx((one.error + other.error) / 2)
    assert both.max_f == pytest.approx(((one.f + other.f) / 2).max())
    assert both.max_f < (one.f.max() + other.f.max()) / 2 - 0.05
    assert score([one]).max_f == pytest.approx(one.f.max()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("saliency", "salient"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2), bool)),
        (np.zeros((0, 3)), np.zeros((0, 3), bool)),
        (np.full((2, 2), np.nan), np.zeros((2, 2), bool)),
        (np.full((2, 2), 1.5), np.zeros((2, 2), bool)),
        (np.full((2, 2), -0.1), np.zeros((2, 2), bool)),
    ],
)
def test_what_is_no_map_is_refused(
    saliency: NDArray[np.float64], salient: NDArray[np.bool_]
) -> None:
    with pytest.raises(ValueError, match="a map "):
        fit(saliency, salient)
    with pytest.raises(ValueError, match="no images"):
        score(list[Fit]())
