"""Both readers are timed on the same images, and it is noticed when they are not."""

from pathlib import Path

import numpy as np
import pytest

from quire.artifacts.errors import BundleError
from quire.train.demo.reading_speed import Rates, reading_speed
from tests.bundles import image_bundle, random_images


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8, 1)])
def test_the_selected_images_are_read_both_ways(
    shape: tuple[int, int, int], tmp_path: Path
) -> None:
    images, _ = random_images(30, shape)
    labels = np.arange(30) // 10  # three shards of one label each
    image_bundle(tmp_path / "b", images, labels, samples_per_shard=10)
    rates = reading_speed(tmp_path / "b", select={"label": [0, 2]}, repeats=1)
    assert rates.images == 20
    assert rates.ours > 0 and rates.theirs > 0


def test_samples_that_do_not_fill_their_shards_are_noticed(tmp_path: Path) -> None:
    image_bundle(tmp_path / "b", random_images(4)[0], np.array([0, 1, 1, 1]), samples_per_shard=4)
    with pytest.raises(BundleError, match="other images"):
        reading_speed(tmp_path / "b", select={"label": [1]}, repeats=1)


def test_the_ratio_says_how_many_times_as_fast() -> None:
    assert Rates(ours=600.0, theirs=3.0, images=10).ratio == 200
