"""Spots at 25 places: an image depends on its number alone, and is of its mode."""

import hashlib

import numpy as np
import pytest

from quire.artifacts.errors import SourceError
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.modes import Modes

SOURCE = Modes("train", 600)


def test_an_image_is_the_same_in_whatever_block() -> None:
    whole = np.array(SOURCE.read(0, 600).images)
    parts = [np.array(SOURCE.read(i, i + 7).images) for i in range(0, 595, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[:595])
    np.testing.assert_array_equal(np.array(Modes("train", 5_000).read(0, 600).images), whole)
    assert whole.shape == (600, 32, 32, 1) and whole.dtype == np.uint8
    assert hashlib.sha256(whole.tobytes()).hexdigest()[:16] == "6833f60e6c115db6"


def test_a_spot_lies_near_the_point_of_its_mode() -> None:
    block = SOURCE.read(0, 600)
    images = np.array(block.images)[..., 0].astype(float)
    assert set(block.labels.tolist()) == set(range(25))
    np.testing.assert_array_equal(block.labels, SOURCE.read_labels())
    means = np.array([images[block.labels == mode].mean(axis=0) for mode in range(25)])
    distances = ((images[:, None] - means) ** 2).sum(axis=(2, 3))
    np.testing.assert_array_equal(distances.argmin(axis=1), block.labels)
    pixels = np.arange(32)
    for mode, light in enumerate((means - 50).clip(0)):
        down, right = (5 + 5.25 * place for place in divmod(mode, 5))
        near = (abs(pixels - down)[:, None] < 4.5) & (abs(pixels - right) < 4.5)  # within the image
        middle = np.argwhere(near).T @ light[near] / light[near].sum()
        assert np.abs(middle - (down, right)).max() < 0.75


def test_light_and_noise_are_within_a_byte() -> None:
    images = np.array(SOURCE.read(0, 600).images)[..., 0].astype(float)
    corner = images[SOURCE.read_labels() != 0, 0, :2]  # where no other spot is
    assert abs(corner.mean() - 50) < 1.5 and 19 < corner.std() < 23
    assert images.min() >= 0 and images.max() <= 255
    assert 150 < images.max(axis=(1, 2)).min()


def test_splits_differ() -> None:
    train, test = (np.array(Modes(split, 50).read(0, 50).images) for split in ("train", "test"))
    assert (train != test).any(axis=(1, 2, 3)).all()


def test_as_it_is_typed() -> None:
    assert len(open_source("modes:", split="train")) == 5_000
    assert len(open_source("modes:12", split="test")) == 12
    fingerprints = {open_source(f"modes:{n}", split="train").fingerprint() for n in (5, 6)}
    assert len(fingerprints) == 2
    for spec in ("modes:0", "modes:x", "modes:1000001", "modes:-1"):
        with pytest.raises(SourceError, match="is no number of images, 1 to 1,000,000"):
            open_source(spec, split="train")
    with pytest.raises(SourceError, match="modes"):
        open_source("modes:5", split="val")
