"""Corruptions: one convention, results that depend on the image alone, and clear refusals."""

import importlib.metadata
import inspect
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError
from quire.builders.corruptions.catalogue import (
    CORRUPTIONS,
    LIBRARIES,
    SIGMA_CORRUPTIONS,
    corrupt,
    load_frost,
    refusal,
)
from quire.builders.corruptions.images import constant
from quire.builders.corruptions.weather import Frames
from tests.builders.corruptions.corruption_images import generators, some_images, write_frost

NAMES = list(CORRUPTIONS)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    return load_frost(write_frost(tmp_path_factory.mktemp("frost")))


def of_all_severities(
    images: NDArray[np.uint8], name: str, frames: Frames
) -> list[NDArray[np.uint8]]:
    severities = (0, 0.3, 2) if name in SIGMA_CORRUPTIONS else (1, 2, 3, 4, 5)
    return [
        corrupt(images, name, severity=s, rngs=generators(len(images)), frames=frames)
        for s in severities
    ]


def test_the_catalogue_has_the_benchmark_in_its_order() -> None:
    assert len(NAMES) == 15 + 4 + 2
    assert NAMES[:4] == ["gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur"]
    assert NAMES[15:19] == ["speckle_noise", "gaussian_blur", "spatter", "saturate"]
    assert set(NAMES[19:]) == SIGMA_CORRUPTIONS


def test_the_libraries_that_decide_bytes_are_installed_under_these_names() -> None:
    for library in LIBRARIES:
        assert importlib.metadata.version(library)


@pytest.mark.parametrize("name", NAMES)
def test_a_corruption_keeps_the_convention(name: str) -> None:
    corruption = CORRUPTIONS[name]
    first, *others = inspect.signature(corruption).parameters.values()
    assert first.name == "images"
    assert {p.name for p in others} == {"severity", "rngs"} | (
        {"frames"} & {p.name for p in others}
    )
    assert ("frames" in {p.name for p in others}) == (name == "frost")
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in others)
    assert "(N, " in (corruption.__doc__ or "") and "->" in (corruption.__doc__ or "")
    assert "CIFAR-10-C" in (corruption.__doc__ or "") or name in SIGMA_CORRUPTIONS


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_left_alone_and_the_output_is_like_it(name: str, frames: Frames) -> None:
    images = some_images(5)
    before = images.copy()
    extra = {"frames": frames} if name == "frost" else {}
    out = CORRUPTIONS[name](images, severity=3, rngs=generators(5), **extra)
    assert out.dtype == np.uint8 and out.shape == images.shape
    assert not np.shares_memory(out, images)
    assert np.array_equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_each_severity_does_something_of_its_own(name: str, frames: Frames) -> None:
    images = some_images(25)[1::5]  # the waves
    results = [images, *of_all_severities(images, name, frames)[name in SIGMA_CORRUPTIONS :]]
    if name == "motion_blur":
        del results[4]  # it is longer than 3, but of the same sigma: to a byte, the same
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert np.abs(one.astype(int) - other).mean() > 0.1


# The severities of these two are different distortions rather than degrees of one.
@pytest.mark.parametrize("name", sorted(set(NAMES) - {"elastic_transform", "saturate"}))
def test_a_higher_severity_is_further_from_the_image(name: str, frames: Frames) -> None:
    images = some_images(25)[1::5]
    first, *_, last = of_all_severities(images, name, frames)
    near, far = (np.abs(out.astype(int) - images).mean() for out in (first, last))
    assert far > near


@pytest.mark.parametrize("name", NAMES)
def test_any_cut_of_a_block_gives_the_same_bytes(name: str, frames: Frames) -> None:
    images = some_images(50)  # more than are corrupted at once
    whole = corrupt(images, name, severity=3, rngs=generators(50), frames=frames)
    for step in (1, 7):
        parts = [
            corrupt(
                images[i : i + step],
                name,
                severity=3,
                rngs=generators(50)[i : i + step],
                frames=frames,
            )
            for i in range(0, 50, step)
        ]
        assert np.array_equal(np.concatenate(parts), whole)
    backwards = corrupt(images[::-1], name, severity=3, rngs=generators(50)[::-1], frames=frames)
    assert np.array_equal(backwards[::-1], whole)


@pytest.mark.parametrize("name", NAMES)
def test_how_the_array_lies_in_memory_does_not_matter(name: str, frames: Frames) -> None:
    images = some_images(3)
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    planes.setflags(write=False)
    for one, other in zip(
        of_all_severities(images, name, frames),
        of_all_severities(planes, name, frames),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_threads_do_not_change_a_byte(frames: Frames) -> None:
    images = some_images(30)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    alone = {name: of_all_severities(images, name, frames) for name in NAMES}
    cv2.setNumThreads(max(threads, 4))
    try:
        with ThreadPoolExecutor(4) as pool:
            together = pool.map(lambda name: of_all_severities(images, name, frames), NAMES)
            for name, results in zip(NAMES, together, strict=True):
                assert np.array_equal(results, alone[name]), name
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("name", sorted(SIGMA_CORRUPTIONS))
def test_no_sigma_changes_nothing(name: str) -> None:
    images = some_images(5, 9, 14, 1)
    assert np.array_equal(corrupt(images, name, severity=0, rngs=generators(5)), images)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", sorted(SIGMA_CORRUPTIONS))
def test_a_sigma_that_is_none_is_refused(name: str, sigma: float) -> None:
    with pytest.raises(RecipeError, match=f"sigma is {sigma}"):
        corrupt(some_images(1), name, severity=sigma, rngs=generators(1))


def test_a_blur_wider_than_the_image_is_refused() -> None:
    with pytest.raises(RecipeError, match="33 pixels; an image of 32 allows 32"):
        corrupt(some_images(1), "gaussian_blur_sigma", severity=33, rngs=generators(1))


@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, float("nan")])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in SIGMA_CORRUPTIONS])
def test_a_severity_out_of_range_is_refused(name: str, severity: float, frames: Frames) -> None:
    with pytest.raises(RecipeError, match=f"severity is {severity}; .* 1, 2, 3, 4, 5"):
        corrupt(some_images(1), name, severity=severity, rngs=generators(1), frames=frames)


def test_a_whole_severity_may_come_as_a_float() -> None:
    assert constant({1: "weak", 2: "strong"}, 2.0) == "strong"


def test_other_misuse_is_refused_in_a_sentence() -> None:
    images = some_images(2)
    with pytest.raises(RecipeError, match="no corruption is called 'rain'; known: gaussian_noise"):
        corrupt(images, "rain", severity=1, rngs=generators(2))
    with pytest.raises(RecipeError, match="frost needs the pictures"):
        corrupt(images, "frost", severity=1, rngs=generators(2))
    with pytest.raises(ValueError, match="2 images and 1 generators"):
        corrupt(images, "contrast", severity=1, rngs=generators(1))


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("fog", (28, 28, 1), "fog is defined for images of 32 x 32 pixels, not 28 x 28"),
        ("snow", (32, 32, 1), "snow is defined for images in colour, not in grey"),
        ("zoom_blur", (32, 30, 3), "zoom_blur is defined for square images, not for 32 x 30"),
        ("pixelate", (1, 9, 3), "pixelate is defined for images of 2 pixels a side or more"),
        ("contrast", (9, 9, 4), "contrast is defined for images of 1 or 3 channels, not 4"),
        ("frost", None, "of 32 x 32 pixels, not for images of several sizes"),
        ("zoom_blur", None, "that are square, not for images of several sizes"),
    ],
)
def test_what_is_not_defined_is_said(
    name: str, shape: tuple[int, int, int] | None, sentence: str
) -> None:
    assert sentence in (refusal(name, shape) or "")


def test_every_corruption_is_defined_for_cifar_and_many_for_any_size() -> None:
    assert not any(refusal(name, (32, 32, 3)) for name in NAMES)
    anywhere = {name for name in NAMES if not refusal(name, None)}
    assert anywhere == set(NAMES) - {"zoom_blur", "snow", "frost", "fog", "elastic_transform"}


@settings(max_examples=40)
@given(
    name=st.sampled_from(NAMES),
    height=st.one_of(st.just(32), st.integers(1, 40)),
    width=st.one_of(st.just(32), st.integers(1, 40)),
    channels=st.sampled_from([1, 3]),
)
def test_what_is_not_refused_works(
    name: str, height: int, width: int, channels: int, frames: Frames
) -> None:
    images = some_images(2, height, width, channels)
    reason = refusal(name, (height, width, channels))
    if reason is None:
        out = corrupt(images, name, severity=1, rngs=generators(2), frames=frames)
        assert out.shape == images.shape
    else:
        with pytest.raises(RecipeError) as error:
            corrupt(images, name, severity=1, rngs=generators(2), frames=frames)
        assert str(error.value) == reason


@pytest.mark.parametrize("name", NAMES)
def test_no_images_are_no_images(name: str, frames: Frames) -> None:
    images = some_images(0)
    assert corrupt(images, name, severity=1, rngs=[], frames=frames).shape == (0, 32, 32, 3)
