"""Changes of colour: torchvision's on each image, and the same for a sample in whatever batch."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torchvision.transforms import functional as theirs

from quire.loaders.draws import Draws
from quire.loaders.jitter import CHANGES, jitter, random_grey, random_jitter, turn_hue
from tests.loaders.test_augment import FORMATS, OnDevice, formats, images_of

ORDERS = list(itertools.permutations(range(3)))


def one_by_one(images: Tensor, factors: Tensor, orders: Tensor) -> Tensor:
    """torchvision's changes of each image, one after the other."""
    adjust = {
        "brightness": theirs.adjust_brightness,
        "contrast": theirs.adjust_contrast,
        "saturation": theirs.adjust_saturation,
    }
    made = []
    for image, own, order in zip(images, factors.tolist(), orders.tolist(), strict=True):
        image = image.double()  # its range, 0..1, is known by its type alone
        for change in order:
            image = adjust[CHANGES[change]](image, own[change])
        made.append(image)
    return torch.stack(made)


@pytest.mark.parametrize("channels", [1, 3])
@settings(max_examples=50)  # six images, one after the other
@given(st.integers(1, 12), st.integers(1, 12), formats, st.integers(0, 99))
def test_changes_are_torchvisions(
    channels: int, rows: int, columns: int, layout: torch.memory_format, seed: int
) -> None:
    images = images_of((len(ORDERS), channels, rows, columns), layout, seed)
    generator = torch.Generator().manual_seed(seed)
    factors = 2.5 * torch.rand(len(ORDERS), 3, generator=generator)
    orders = torch.tensor(ORDERS)
    found = jitter(images, factors, orders)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=layout)
    expected = one_by_one(images, factors, orders)
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=0)


def test_the_order_matters() -> None:
    images = images_of((1, 3, 8, 8), torch.contiguous_format).expand(6, 3, 8, 8)
    factors = torch.tensor([1.7, 1.6, 1.9]).expand(6, 3)  # without clipping some would commute
    made = jitter(images, factors, torch.tensor(ORDERS))
    for one, other in itertools.combinations(made, 2):
        assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("channels", [1, 3])
def test_a_factor_of_1_changes_nothing(channels: int) -> None:
    images = images_of((4, channels, 8, 8), torch.contiguous_format)
    found = jitter(images, torch.ones(4, 3), torch.tensor(ORDERS[:4]))
    assert torch.equal(found, images)
    draws = Draws(0, 0, torch.arange(4))
    assert torch.equal(random_jitter(images, draws=draws, strengths=(0, 0, 0)), images)


def greys(images: Tensor) -> Tensor:
    made: Tensor = theirs.rgb_to_grayscale(images)
    return made


def test_strengths_are_in_the_order_of_the_changes() -> None:
    images = 0.25 + images_of((50, 3, 8, 8), torch.contiguous_format) / 2  # nothing is clipped
    draws = Draws(0, 0, torch.arange(50))
    bright = random_jitter(images, draws=draws, strengths=(0.3, 0, 0))
    assert (bright / images).flatten(1).std(dim=1).max() < 1e-6
    contrast = random_jitter(images, draws=draws, strengths=(0, 0.3, 0))
    lightness = [greys(made).mean((1, 2, 3)) for made in (contrast, images)]
    torch.testing.assert_close(*lightness, atol=1e-4, rtol=0)
    saturation = random_jitter(images, draws=draws, strengths=(0, 0, 0.3))
    torch.testing.assert_close(greys(saturation), greys(images), atol=1e-4, rtol=0)
    assert (contrast - images).abs().max() > 0.05 and (saturation - images).abs().max() > 0.05


@pytest.mark.parametrize("strength", [0.4, 1.5])
def test_factors_are_uniform_around_1_and_not_below_0(strength: float) -> None:
    images = torch.full((20_000, 1, 1, 1), 1 / 4)
    draws = Draws(0, 0, torch.arange(20_000))
    found = 4 * random_jitter(images, draws=draws, strengths=(strength, 0, 0)).flatten()
    low = max(0.0, 1 - strength)
    assert stats.kstest(found.numpy(), stats.uniform(low, 1 + strength - low).cdf).pvalue > 1e-3


def test_all_orders_are_as_likely() -> None:
    count = 12_000
    image = torch.tensor([0.9, 0.2, 0.1]).view(1, 3, 1, 1) * torch.tensor([1.0, 0.5])
    images = image.expand(count, 3, 1, 2)
    draws = Draws(0, 0, torch.arange(count))
    found = random_jitter(images, draws=draws, strengths=(0.9, 0.9, 0.9))
    numbers = draws.uniforms("jitter", 3)
    factors = 0.1 + 1.8 * numbers
    every = [jitter(images, factors, torch.tensor(order).expand(count, 3)) for order in ORDERS]
    same = torch.stack([(one == found).flatten(1).all(dim=1) for one in every])
    assert same.any(dim=0).all()
    told = same[:, same.sum(dim=0) == 1]  # where only one order gives these pixels
    assert told.shape[1] > count / 2
    shares = told.sum(dim=1) / told.shape[1]
    assert (shares - 1 / 6).abs().max() < 0.03


def test_golden_pixels() -> None:
    # A published seed must mean the same images under every release, and so must a resumed run.
    images = torch.tensor([0.2, 0.5, 0.7]).view(1, 3, 1, 1).expand(3, 3, 1, 1)
    found = random_jitter(images, draws=Draws(3, 1, torch.arange(3)), strengths=(0.4, 0.4, 0.4))
    assert (found.flatten(1) * 1_000_000).round().int().tolist() == [
        [140949, 489147, 721279],
        [326755, 548864, 696937],
        [162939, 701206, 1000000],
    ]


@settings(max_examples=30)
@given(formats, st.permutations(range(9)), st.data())
def test_a_sample_is_changed_the_same_in_any_batch(
    layout: torch.memory_format, order: list[int], data: st.DataObject
) -> None:
    shape = (9, data.draw(st.sampled_from([1, 3])), 17, data.draw(st.integers(1, 17)))
    images, rows = images_of(shape, layout), torch.arange(100, 109)
    strengths = (0.4, 0.4, 0.4)
    whole = random_jitter(images, draws=Draws(0, 3, rows), strengths=strengths)
    assert ((whole >= 0) & (whole <= 1)).all()
    cut = data.draw(st.integers(0, 9))
    for part in (order[:cut], order[cut:]):
        chosen = images[part].contiguous(memory_format=layout)
        found = random_jitter(chosen, draws=Draws(0, 3, rows[part]), strengths=strengths)
        assert torch.equal(found, whole[part])  # to the last bit


def test_a_large_image_is_changed_the_same_alone() -> None:
    images, rows = images_of((3, 3, 300, 400), torch.channels_last), torch.arange(3)
    whole = random_jitter(images, draws=Draws(0, 0, rows), strengths=(0, 0.9, 0))
    for row in range(3):
        alone = random_jitter(
            images[row : row + 1], draws=Draws(0, 0, rows[row : row + 1]), strengths=(0, 0.9, 0)
        )
        assert torch.equal(alone[0], whole[row])


def test_nothing_waits_for_the_device() -> None:
    images = torch.empty(4, 3, 8, 8, device="meta")
    draws = Draws(0, 0, torch.empty(4, dtype=torch.int64, device="meta"))
    with OnDevice():  # type: ignore[no-untyped-call]
        assert random_jitter(images, draws=draws, strengths=(0.4, 0.4, 0.4)).is_meta


@pytest.mark.parametrize("layout", FORMATS)
def test_no_images_are_none(layout: torch.memory_format) -> None:
    images = images_of((0, 3, 4, 4), layout)
    draws = Draws(0, 0, torch.arange(0))
    assert random_jitter(images, draws=draws, strengths=(0.4, 0.4, 0.4)).shape == images.shape


def test_what_makes_no_sense_is_refused() -> None:
    draws = Draws(0, 0, torch.arange(2))
    with pytest.raises(ValueError, match="strengths are"):
        random_jitter(torch.zeros(2, 3, 4, 4), draws=draws, strengths=(0.4, -0.1, 0))
    with pytest.raises(ValueError, match="strengths are"):
        random_jitter(torch.zeros(2, 3, 4, 4), draws=draws, strengths=(math.nan, 0, 0))
    with pytest.raises(ValueError, match="images have 4 channels"):
        random_jitter(torch.zeros(2, 4, 4, 4), draws=draws, strengths=(0.4, 0.4, 0.4))
    with pytest.raises(RuntimeError, match="shape"):
        random_jitter(torch.zeros(4, 3, 4, 4), draws=draws, strengths=(0.4, 0.4, 0.4))


# ---- hue, and what is done to some images alone


@pytest.mark.parametrize("channels", [1, 3])
@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 12), formats, st.integers(0, 99))
def test_changes_with_hue_are_torchvisions(
    channels: int, rows: int, columns: int, layout: torch.memory_format, seed: int
) -> None:
    orders = torch.tensor([*itertools.permutations(range(4))])
    images = images_of((24, channels, rows, columns), layout, seed)
    images[:, :, 0, 0] = images[:, :1, 0, 0]  # greys, which have no hue
    generator = torch.Generator().manual_seed(seed)
    factors = 2.5 * torch.rand(24, 4, generator=generator)
    factors[:, 3] = factors[:, 3] / 2.5 - 0.5
    found = jitter(images, factors, orders)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=layout)
    made = []
    for image, own, order in zip(images, factors.tolist(), orders.tolist(), strict=True):
        image = image.double()
        for change in order:
            if CHANGES[change] == "hue":
                image = theirs.adjust_hue(image, own[change])
            else:
                image = getattr(theirs, f"adjust_{CHANGES[change]}")(image, own[change])
        made.append(image)
    # a hue is a quotient: where a pixel is nearly grey, rounding can turn it
    assert (found.double() - torch.stack(made)).abs().median() < 1e-6
    assert ((found.double() - torch.stack(made)).abs() < 1e-4).double().mean() > 0.99


def test_hue_leaves_value_and_chroma() -> None:
    images = images_of((8, 3, 6, 6), torch.contiguous_format)
    turned = turn_hue(images, torch.full((8, 1, 1, 1), 0.21))
    torch.testing.assert_close(turned.amax(1), images.amax(1))
    torch.testing.assert_close(turned.amin(1), images.amin(1), atol=1e-6, rtol=0)
    whole = turn_hue(turned, torch.full((8, 1, 1, 1), 0.79))
    torch.testing.assert_close(whole, images, atol=1e-5, rtol=0)


def test_without_hue_the_draws_are_what_they_were() -> None:
    images, draws = images_of((8, 3, 6, 6), torch.contiguous_format), Draws(0, 1, torch.arange(8))
    plain = random_jitter(images, draws=draws, strengths=(0.4, 0.4, 0.4))
    numbers = draws.uniforms("jitter", 6)
    order = numbers[:, 3:].argsort(dim=1, stable=True)
    assert torch.equal(plain, jitter(images, 0.6 + 0.8 * numbers[:, :3], order))


def test_some_images_are_changed_and_some_lose_their_colours() -> None:
    images, draws = (
        images_of((4000, 3, 2, 2), torch.contiguous_format),
        Draws(0, 1, torch.arange(4000)),
    )
    changed = random_jitter(
        images, draws=draws, strengths=(0.4, 0.4, 0.4), hue=0.1, probability=0.8
    )
    share = (changed != images).flatten(1).any(1).double().mean().item()
    assert stats.binomtest(round(share * 4000), 4000, 0.8).pvalue > 1e-6
    grey = random_grey(images, draws=draws, probability=0.2)
    without = (grey == grey[:, :1]).flatten(1).all(1)
    assert stats.binomtest(int(without.sum()), 4000, 0.2).pvalue > 1e-6
    assert torch.equal(grey[~without], images[~without])
    expected = theirs.rgb_to_grayscale(images[without], 3)
    torch.testing.assert_close(grey[without], expected, atol=1e-6, rtol=0)
    one = images[:, :1]
    assert torch.equal(random_grey(one, draws=draws, probability=0.2), one)


@pytest.mark.parametrize("wrong", [{"hue": 0.6}, {"hue": -0.1}, {"probability": 1.1}])
def test_a_hue_beyond_half_the_circle_is_refused(wrong: dict[str, float]) -> None:
    images, draws = images_of((2, 3, 2, 2), torch.contiguous_format), Draws(0, 1, torch.arange(2))
    with pytest.raises(ValueError, match="hue is"):
        random_jitter(images, draws=draws, strengths=(0, 0, 0), **wrong)
