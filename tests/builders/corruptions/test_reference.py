"""Corruptions: equal to the plain way, byte by byte where both can be given the same draws."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import chi2_contingency, poisson

from quire.artifacts.errors import RecipeError
from quire.builders.corruptions.catalogue import (
    CORRUPTIONS,
    SIGMA_CORRUPTIONS,
    corrupt,
    load_frost,
    refusal,
)
from tests.builders.corruptions import plain_corruptions as plain
from tests.builders.corruptions.corruption_images import generators, some_images, write_frost
from tests.builders.real_data import real_data

# These draw other numbers than the plain way; the test gives the plain way theirs.
OWN_DRAWS = {
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "speckle_noise",
    "gaussian_noise_sigma",
    "glass_blur",
}
SAME_DRAWS = [name for name in CORRUPTIONS if name not in OWN_DRAWS]
SEVERITIES = (1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def frost_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frost(tmp_path_factory.mktemp("frost"))


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Motion without ImageMagick, whose versions may differ by a grey level."""
    monkeypatch.setattr(plain, "smear", plain.smear_by_hand)


def plainly(
    images: NDArray[np.uint8], name: str, severity: float, frost_folder: Path
) -> NDArray[np.uint8]:
    function = plain.PLAIN[name]
    if name == "frost":
        function = partial(function, folder=frost_folder)
    rngs = generators(len(images))
    return np.stack(
        [
            function(image, severity=severity, rng=rng)
            for image, rng in zip(images, rngs, strict=True)
        ]
    )


def ours(
    images: NDArray[np.uint8], name: str, severity: float, frost_folder: Path
) -> NDArray[np.uint8]:
    frames, rngs = load_frost(frost_folder), generators(len(images))
    return corrupt(images, name, severity=severity, rngs=rngs, frames=frames)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", SAME_DRAWS)
def test_it_equals_the_plain_way(name: str, severity: int, frost_folder: Path) -> None:
    images = some_images(10)
    expected = plainly(images, name, severity, frost_folder)
    assert np.array_equal(ours(images, name, severity, frost_folder), expected)


@pytest.mark.parametrize(
    "name", [name for name in SAME_DRAWS if not refusal(name, (32, 32, 1)) and name != "contrast"]
)
def test_it_equals_the_plain_way_in_grey(name: str, frost_folder: Path) -> None:
    images = some_images(5, channels=1)
    for severity in SEVERITIES:
        expected = plainly(images, name, severity, frost_folder)
        assert np.array_equal(ours(images, name, severity, frost_folder), expected)


def test_grey_contrast_is_that_of_a_colour_image_whose_channels_are_equal() -> None:
    """Where there is one channel, NumPy's mean adds in another order: it is no reference here."""
    grey = some_images(10, channels=1)
    result = corrupt(grey, "contrast", severity=4, rngs=generators(10))
    colour = corrupt(grey.repeat(3, axis=3), "contrast", severity=4, rngs=generators(10))
    assert np.array_equal(result.repeat(3, axis=3), colour)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME_DRAWS)
def test_it_equals_the_plain_way_on_real_images(name: str) -> None:
    records = real_data("cifar10") / "cifar-10-batches-bin/test_batch.bin"
    planes = np.fromfile(records, np.uint8).reshape(-1, 3073)[:40, 1:].reshape(-1, 3, 32, 32)
    images, folder = planes.transpose(0, 2, 3, 1), real_data("imagenet_c_frost")
    for severity in SEVERITIES:
        expected = plainly(images, name, severity, folder)
        assert np.array_equal(ours(images, name, severity, folder), expected)


@settings(max_examples=60)
@given(
    name=st.sampled_from(SAME_DRAWS),
    severity=st.sampled_from(SEVERITIES),
    height=st.integers(2, 45),
    width=st.integers(2, 45),
    channels=st.sampled_from([1, 3]),
)
def test_it_equals_the_plain_way_at_any_size_that_it_takes(
    name: str, severity: int, height: int, width: int, channels: int, frost_folder: Path
) -> None:
    if name in ("zoom_blur", "pixelate"):  # of an oblong, Pillow 13 may take the columns first
        width = height
    if name == "spatter":  # where no drop falls, the plain way divides nothing by nothing
        height, width = height + 16, width + 16
    if name == "contrast":
        channels = 3
    images = some_images(3, height, width, channels)
    try:
        result = ours(images, name, severity, frost_folder)
    except RecipeError:
        return
    assert np.array_equal(result, plainly(images, name, severity, frost_folder))


def test_where_no_drop_falls_the_image_stays_as_it_was() -> None:
    images = some_images(40, 2, 2)
    out = corrupt(images, "spatter", severity=1, rngs=generators(40))
    dry = (out == images).all(axis=(1, 2, 3))
    assert 20 < dry.sum() < 40


def uniforms(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """The uniform numbers that our noise draws for an image, in 2**31 steps."""
    size = int(np.prod(shape))
    words = rng.integers(0, 2**64, size // 2 + 1, np.uint64).view(np.uint32)[:size] >> 1
    return (words.reshape(shape) + 0.5) / 2**31


def noisy(image: NDArray[np.uint8], name: str, severity: int) -> NDArray[np.uint8]:
    """What the plain way makes of the draws of generator 0."""
    drawn = uniforms(image.shape, generators(1)[0])
    if name == "shot_noise":
        expected = image / 255 * plain.PHOTONS[severity - 1]
        return plain.shot_noise_of(severity, np.asarray(poisson.ppf(drawn, expected)))
    if name == "impulse_noise":
        half = plain.IMPULSES[severity - 1] / 2
        return plain.impulse_noise_of(image, drawn < half, drawn > 1 - half)
    if name == "speckle_noise":
        return plain.speckle_noise_of(image, severity, ndtri(drawn))
    return plain.gaussian_noise_of(image, plain.SIGMA["gaussian_noise"][severity - 1], ndtri(drawn))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"])
def test_noise_equals_the_plain_way_on_the_same_draws(name: str, severity: int) -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(300).reshape(1, 160, 160, 3)
    result = corrupt(levels, name, severity=severity, rngs=generators(1))
    assert np.array_equal(result[0], noisy(levels[0], name, severity))


@pytest.mark.parametrize("sigma", [1e-6, 0.1, 0.24, 3.0])
def test_noise_of_any_sigma_equals_the_plain_way_on_the_same_draws(sigma: float) -> None:
    image = some_images(1, 61, 83, 1)
    result = corrupt(image, "gaussian_noise_sigma", severity=sigma, rngs=generators(1))
    normals = ndtri(uniforms(image[0].shape, generators(1)[0]))
    assert np.array_equal(result[0], plain.gaussian_noise_of(image[0], sigma, normals))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (7, 12, 1), (2, 3, 3)])
def test_glass_equals_the_plain_way_on_the_same_draws(
    severity: int, height: int, width: int, channels: int
) -> None:
    images = some_images(4, height, width, channels)
    shape = (plain.GLASS[severity - 1][1], height - 2, width - 2, 2)
    result = corrupt(images, "glass_blur", severity=severity, rngs=generators(4))
    for out, image, rng in zip(result, images, generators(4), strict=True):
        size = int(np.prod(shape))
        tosses = np.unpackbits(np.frombuffer(rng.bytes((size + 7) // 8), np.uint8))[:size]
        moves = -tosses.astype(int).reshape(shape)
        assert np.array_equal(out, plain.glass_blur_of(image, severity, moves))


@pytest.mark.parametrize("name", sorted(OWN_DRAWS - {"glass_blur"}))
@pytest.mark.parametrize("level", [0, 1, 60, 128, 250, 255])
def test_noise_has_the_plain_ways_law(name: str, level: int, frost_folder: Path) -> None:
    """Bytes of one level, counted: the two counts could be of one law (p > 1e-4)."""
    severity = 0.07 if name in SIGMA_CORRUPTIONS else 2
    images = np.full((1, 200, 200, 3), level, np.uint8)
    samples = [way(images, name, severity, frost_folder) for way in (ours, plainly)]
    counts = np.stack([np.bincount(sample.ravel(), minlength=256) for sample in samples])
    often = counts.sum(axis=0) > 20
    table = np.column_stack([counts[:, often], counts[:, ~often].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    assert table.shape[1] > 1 or level == 0 or name == "gaussian_noise_sigma"
    if table.shape[1] > 1:
        assert chi2_contingency(table).pvalue > 1e-4


def test_glass_moves_pixels_by_fair_and_independent_coins() -> None:
    """On an image whose colours tell where a pixel was, at the severity that hardly blurs."""
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, :, :, 0] = 8 * np.arange(32)[:, np.newaxis]
    image[0, :, :, 1] = 8 * np.arange(32)
    images = image.repeat(60, axis=0)
    out = corrupt(images, "glass_blur", severity=1, rngs=generators(60))
    moved = ((images - out) // 8)[:, 2:, 2:, :2].reshape(-1, 2)
    assert set(np.unique(moved)) == {0, 1}
    counts = np.bincount(moved[:, 0] * 2 + moved[:, 1])
    assert np.abs(counts / len(moved) - 0.25).max() < 4 * (0.25 * 0.75 / len(moved)) ** 0.5
    along = np.corrcoef(moved[:-1, 0], moved[1:, 0])[0, 1]
    assert abs(along) < 4 / len(moved) ** 0.5


def test_the_same_seed_gives_the_same_noise_at_every_strength() -> None:
    images = np.full((1, 32, 32, 3), 128, np.uint8)
    weak, strong = (
        corrupt(images, "gaussian_noise", severity=s, rngs=generators(1)).astype(float)
        for s in (1, 5)
    )
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99


def test_white_noise_of_sigma_is_the_benchmarks_where_sigma_is() -> None:
    images = some_images(5)
    one = corrupt(images, "gaussian_noise", severity=5, rngs=generators(5))
    other = corrupt(images, "gaussian_noise_sigma", severity=0.1, rngs=generators(5))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(("radius", "sigma"), [(6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)])
def test_motion_is_imagemagicks_to_a_grey_level(radius: int, sigma: float) -> None:
    if not plain.has_magick():
        pytest.skip("Wand or ImageMagick is not installed")
    for image, angle in zip(some_images(10), np.linspace(-135, 45, 10), strict=True):
        one = plain.smear_by_magick(image, radius, sigma, angle)
        other = plain.smear_by_hand(image, radius, sigma, angle)
        assert np.abs(one.astype(int) - other).max() <= 1
