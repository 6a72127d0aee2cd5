"""Crops: what scaling everything, padding and cutting would show, in the mask as in the image."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.crop import (
    FILL,
    VOID,
    Crop,
    centre_crop,
    cropped,
    cropped_mask,
    random_crop,
    whole_crop,
)

Pixels = NDArray[np.uint8]

sizes = st.integers(1, 40)
numbers = st.floats(0, 1, exclude_max=True)


def scene(height: int, width: int, seed: int = 0) -> tuple[Pixels, Pixels]:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return image, rng.integers(0, 21, (height, width), dtype=np.uint8)


def pixel_by_pixel(whole: Pixels, crop: Crop, outside: Pixels) -> Pixels:
    """The square, cut out of an image that is scaled already."""
    places = np.arange(crop.size)
    rows, columns = crop.top + places, crop.left + (places[::-1] if crop.mirrored else places)
    inside = ((rows >= 0) & (rows < crop.height))[:, None] & (columns >= 0) & (columns < crop.width)
    found = whole[np.ix_(rows.clip(0, crop.height - 1), columns.clip(0, crop.width - 1))]
    return np.where(inside.reshape(inside.shape + (1,) * outside.ndim), found, outside)


def scaled_mask(mask: Pixels, height: int, width: int) -> Pixels:
    """Each pixel has the id that its centre falls upon; a centre on a border, that behind it."""
    rows = [floor(Fraction(2 * i + 1, 2 * height) * mask.shape[0]) for i in range(height)]
    columns = [floor(Fraction(2 * j + 1, 2 * width) * mask.shape[1]) for j in range(width)]
    return mask[np.ix_(rows, columns)]


@given(sizes, sizes, sizes, st.tuples(numbers, numbers, numbers, numbers))
def test_a_crop_shows_what_scaling_padding_and_cutting_show(
    height: int, width: int, size: int, drawn: tuple[float, float, float, float]
) -> None:
    image, mask = scene(height, width)
    crop = random_crop(height, width, drawn, size=size)
    whole = Image.fromarray(image).resize((crop.width, crop.height), Image.Resampling.BILINEAR)
    expected = pixel_by_pixel(np.asarray(whole), crop, np.array(FILL, np.uint8))
    found = cropped(image, crop)
    assert found.shape == (size, size, 3) and found.dtype == np.uint8 and found.flags.c_contiguous
    # Pillow goes along rows, then columns; in a part each may be rounded the other way at a tie
    assert np.abs(found.astype(int) - expected).max() <= 2
    ids = cropped_mask(mask, crop)
    assert ids.dtype == np.uint8 and ids.flags.c_contiguous
    whole_mask = scaled_mask(mask, crop.height, crop.width)
    assert np.array_equal(ids, pixel_by_pixel(whole_mask, crop, np.array(VOID, np.uint8)))


@given(sizes, sizes, sizes)
def test_the_centre_is_cut_to_the_pixel_or_padded_evenly(
    height: int, width: int, size: int
) -> None:
    image, mask = scene(height, width)
    crop = centre_crop(height, width, size=size)
    found, ids = cropped(image, crop), cropped_mask(mask, crop)
    assert np.array_equal(found, pixel_by_pixel(image, crop, np.array(FILL, np.uint8)))
    assert np.array_equal(ids, pixel_by_pixel(mask, crop, np.array(VOID, np.uint8)))
    before, after = -crop.top, crop.top + size - height  # rows outside, or, negative, left out
    assert 0 <= before - after <= 1
    assert (ids != VOID).sum() == min(height, size) * min(width, size)


@given(st.integers(20, 60), st.integers(20, 60), st.tuples(numbers, numbers, numbers, numbers))
def test_image_and_mask_stay_together(
    height: int, width: int, drawn: tuple[float, float, float, float]
) -> None:
    rows, columns = np.indices((height, width)).astype(np.uint8)
    image = np.stack([4 * rows, 4 * columns, 0 * rows], axis=2)
    crop = random_crop(height, width, drawn, size=48)
    levels = cropped(image, crop, fill=(255, 255, 255)).astype(float)
    for channel, mask in enumerate([rows, columns]):
        ids = cropped_mask(mask, crop)
        shown = ids != VOID
        assert (levels[~shown] == 255).all()
        # a slope is seen where it is, but at the border, where what is smoothed lies on one side
        assert np.abs(levels[..., channel] / 4 - ids)[shown].max() < 1


@given(sizes, sizes, sizes, st.tuples(numbers, numbers, numbers, numbers))
def test_a_square_lies_in_the_image_or_the_image_in_the_square(
    height: int, width: int, size: int, drawn: tuple[float, float, float, float]
) -> None:
    crop = random_crop(height, width, drawn, size=size)
    for start, length in ((crop.top, crop.height), (crop.left, crop.width)):
        spare = length - size
        assert 0 <= start <= spare if spare >= 0 else start == spare // 2


@given(sizes, sizes, sizes, sizes, st.tuples(numbers, numbers, numbers, numbers))
def test_a_longer_side_is_brought_to_a_size_before_all_else(
    height: int, width: int, size: int, longest: int, drawn: tuple[float, float, float, float]
) -> None:
    whole = whole_crop(height, width, longest=longest)
    middle = centre_crop(height, width, size=size, longest=longest)
    assert (whole.height, whole.width) == (middle.height, middle.width)
    assert max(whole.height, whole.width) == longest == whole.size
    assert whole.top == whole.left == 0
    shorter = min(height, width) * longest / max(height, width)
    assert max(1, shorter - 1) <= min(whole.height, whole.width) <= max(1, shorter)
    if longest <= size:  # nothing of the scene is cut off
        shown = cropped_mask(np.zeros((height, width), np.uint8), middle) != VOID
        assert shown.sum() == middle.height * middle.width
    plain = random_crop(height, width, drawn, size=size)
    found = random_crop(height, width, drawn, size=size, longest=longest)
    factor = longest / max(height, width)
    assert abs(found.height - factor * plain.height) <= 1 + factor
    assert found.mirrored == plain.mirrored
    assert random_crop(height, width, drawn, size=size, longest=max(height, width)) == plain


def test_golden_crops() -> None:
    # Stored crops, and the draws of a seed, must mean the same in every release.
    drawn = [(0.0, 0.5, 0.999999, 0.4), (0.999999, 0.999999, 0.25, 0.5), (0.34, 0.0, 0.0, 0.0)]
    found = [random_crop(366, 500, four, size=513) for four in drawn]
    assert [(c.height, c.width, c.top, c.left, c.mirrored) for c in found] == [
        (183, 250, -165, -132, True),
        (731, 999, 218, 121, False),
        (369, 505, -72, -4, True),
    ]


def test_every_place_is_as_likely() -> None:
    starts = [random_crop(12, 12, (0.34, u / 400, 0, 0), size=10).top for u in range(400)]
    counts = np.bincount(starts)
    assert counts.tolist() == pytest.approx([400 / 3] * 3, abs=1)


def test_half_the_size_is_a_mean_not_a_choice() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::2] = 200
    found = cropped(stripes, random_crop(64, 64, (0, 0, 0, 0), size=32))
    assert found[2:-2].min() > 60 and found[2:-2].max() < 140  # every other row alone: 0 or 200


def test_an_image_that_grows_without_bounds_is_not_scaled_as_a_whole() -> None:
    image, _ = scene(20, 30)
    crop = Crop(height=20 << 11, width=30 << 11, top=9_000, left=50_000, size=33, mirrored=True)
    size = (crop.size, crop.size)
    box = (crop.left / 2**11, crop.top / 2**11, (crop.left + 33) / 2**11, (crop.top + 33) / 2**11)
    part = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box)
    np.testing.assert_array_equal(cropped(image, crop), np.asarray(part)[:, ::-1])
