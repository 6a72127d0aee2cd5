"""Augmentation: torchvision's crops, and the same for a sample in whatever batch."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.transforms import v2

from quire.loaders.augment import (
    flip,
    random_boxes,
    random_flip,
    random_resized_crop,
    random_shift,
    resized_crop,
    shift,
    to_float,
)
from quire.loaders.draws import Draws

Augmentation = Callable[[Tensor, Draws], Tensor]

AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": lambda images, draws: random_flip(images, draws=draws),
    "crop": lambda images, draws: random_resized_crop(images, draws=draws),
    "shift": lambda images, draws: random_shift(images, draws=draws, most=3),
    "both": lambda images, draws: random_flip(
        random_resized_crop(to_float((images * 255).byte()), draws=draws, scale=(0.01, 1)),
        draws=draws,
    ),
}
FORMATS = [torch.contiguous_format, torch.channels_last]
SHAPES = [(0, 3, 8, 8), (1, 3, 8, 8), (5, 1, 7, 4), (3, 4, 3, 9), (4, 3, 1, 1), (2, 2, 1, 6)]

shapes = st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 19), st.integers(1, 19))
formats = st.sampled_from(FORMATS)


def images_of(shape: tuple[int, ...], layout: torch.memory_format, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator).contiguous(memory_format=layout)


def box_of(data: st.DataObject, rows: int, columns: int) -> list[int]:
    height, width = data.draw(st.integers(1, rows)), data.draw(st.integers(1, columns))
    top = data.draw(st.integers(0, rows - height))
    return [top, data.draw(st.integers(0, columns - width)), height, width]


def boxes_of(data: st.DataObject, shape: tuple[int, ...]) -> Tensor:
    boxes = [box_of(data, *shape[2:]) for _ in range(shape[0])]
    return torch.tensor(boxes, dtype=torch.int64).view(shape[0], 4)


def one_by_one(images: Tensor, boxes: Tensor) -> Tensor:
    """torchvision's crop of each image, in float64, where its coordinates are nearly exact."""
    size = list(images.shape[2:])
    made = torch.empty_like(images, dtype=torch.float64)
    for image, (top, left, height, width), out in zip(images, boxes.tolist(), made, strict=True):
        out[:] = v2.functional.resized_crop(
            image.double(), top, left, height, width, size, antialias=False
        )
    return made


@pytest.mark.parametrize("layout", FORMATS)
def test_bytes_become_fractions(layout: torch.memory_format) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).view(2, 3, 8, 16)
    images = images.contiguous(memory_format=layout)
    found = to_float(images)
    assert found.dtype == torch.float32 and found.stride() == images.stride()
    assert found.min() == 0 and found.max() == 1
    assert torch.equal(found, (images.double() / 255).float())
    assert torch.equal((found * 255).byte(), images)


@given(shapes, formats, st.data())
def test_crops_are_torchvisions(
    shape: tuple[int, ...], layout: torch.memory_format, data: st.DataObject
) -> None:
    images, boxes = images_of(shape, layout), boxes_of(data, shape)
    found = resized_crop(images, boxes)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), one_by_one(images, boxes), atol=3e-7, rtol=0)


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("shape", [(7, 3, 224, 224), (3, 3, 513, 300), (300, 3, 32, 32)], ids=str)
def test_crops_of_more_than_a_cache_holds_are_as_exact(
    shape: tuple[int, int, int, int], layout: torch.memory_format
) -> None:
    images = images_of(shape, layout)
    draws = Draws(0, 0, torch.arange(shape[0]))
    boxes = random_boxes(*shape[2:], draws=draws, scale=(0.05, 1.0))
    found, expected = resized_crop(images, boxes), one_by_one(images, boxes)
    assert found.is_contiguous(memory_format=layout)
    torch.testing.assert_close(found.double(), expected, atol=3e-7, rtol=0)


@given(shapes, formats, st.data())
def test_no_pixel_outside_a_crop_is_read(
    shape: tuple[int, ...], layout: torch.memory_format, data: st.DataObject
) -> None:
    images, boxes = images_of(shape, layout), boxes_of(data, shape)
    hostile = torch.full_like(images, math.nan)
    for ours, theirs, (top, left, height, width) in zip(
        hostile, images, boxes.tolist(), strict=True
    ):
        box = slice(None), slice(top, top + height), slice(left, left + width)
        ours[box] = theirs[box]
    found = resized_crop(hostile, boxes)
    assert torch.equal(found, resized_crop(images, boxes))
    if images.numel():
        assert found.min() >= images.min() and found.max() <= images.max()


@given(shapes, formats)
def test_a_crop_of_everything_changes_nothing(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    images = images_of(shape, layout)
    boxes = torch.tensor([0, 0, *shape[2:]]).expand(shape[0], 4)
    assert torch.equal(resized_crop(images, boxes), images)


@given(shapes, formats, st.data())
def test_flips_mirror_the_images_they_are_told_to(
    shape: tuple[int, ...], layout: torch.memory_format, data: st.DataObject
) -> None:
    images = images_of(shape, layout)
    chosen = data.draw(st.lists(st.booleans(), min_size=shape[0], max_size=shape[0]))
    mask = torch.tensor(chosen, dtype=torch.bool)
    found = flip(images, mask)
    for before, after, flipped in zip(images, found, chosen, strict=True):
        assert torch.equal(after, v2.functional.horizontal_flip(before) if flipped else before)
    assert torch.equal(flip(found, mask), images)
    assert torch.equal(flip(images.byte(), mask), found.byte())


@given(shapes, formats, st.data())
def test_shifts_are_crops_out_of_zeros(
    shape: tuple[int, ...], layout: torch.memory_format, data: st.DataObject
) -> None:
    images, far = images_of(shape, layout), st.integers(-25, 25)
    by = [(data.draw(far), data.draw(far)) for _ in range(shape[0])]
    found = shift(images, torch.tensor(by, dtype=torch.int64).view(shape[0], 2))
    assert found.is_contiguous(memory_format=layout)
    for before, after, (down, right) in zip(images, found, by, strict=True):
        padded = v2.functional.pad(before, [25, 25, 25, 25])
        assert torch.equal(after, v2.functional.crop(padded, 25 + down, 25 + right, *shape[2:]))


def test_every_shift_is_as_likely() -> None:
    images = torch.zeros(40_000, 1, 5, 5)
    images[:, :, 2, 2] = 1
    seen = random_shift(images, draws=Draws(0, 0, torch.arange(40_000)), most=1)[:, 0].sum(0)
    assert seen.sum() == 40_000  # one pixel is never lost by one step
    assert (seen[1:4, 1:4] - 40_000 / 9).abs().max() < 4 * math.sqrt(40_000 / 9)


def test_no_draw_shifts_further_than_the_most() -> None:
    class Last(Draws):
        def uniforms(self, purpose: str, count: int) -> Tensor:
            return torch.full((len(self.rows), count), 1 - 2.0**-24)

    image = torch.arange(1.0, 82).view(1, 1, 9, 9)
    found = random_shift(image, draws=Last(0, 0, torch.arange(1)), most=4)
    assert torch.equal(found[0, 0, :5, :5], image[0, 0, 4:, 4:])
    with pytest.raises(ValueError, match="most is -1"):
        random_shift(image, draws=Last(0, 0, torch.arange(1)), most=-1)


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("layout", FORMATS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_shape_keeps_its_size_layout_and_range(
    shape: tuple[int, ...], layout: torch.memory_format, augment: Augmentation
) -> None:
    images = images_of(shape, layout)
    before = images.clone()
    found = augment(images, Draws(1, 0, torch.arange(shape[0])))
    assert found.shape == images.shape and found.dtype == torch.float32
    assert found.is_contiguous(memory_format=layout)
    assert ((found >= 0) & (found <= 1)).all()
    assert torch.equal(images, before)


@settings(max_examples=30)
@given(st.sampled_from(sorted(AUGMENTATIONS)), formats, st.permutations(range(9)), st.data())
def test_a_sample_is_augmented_the_same_in_any_batch(
    name: str, layout: torch.memory_format, order: list[int], data: st.DataObject
) -> None:
    shape = (9, *data.draw(st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17))))
    images, rows = images_of(shape, layout), torch.arange(100, 109)
    whole = AUGMENTATIONS[name](images, Draws(0, 3, rows))
    cut = data.draw(st.integers(0, 9))
    for part in (order[:cut], order[cut:]):
        chosen = images[part].contiguous(memory_format=layout)
        found = AUGMENTATIONS[name](chosen, Draws(0, 3, rows[part]))
        assert torch.equal(found, whole[part])  # to the last bit


def test_epochs_and_seeds_augment_differently() -> None:
    images, rows = images_of((64, 1, 8, 8), torch.contiguous_format), torch.arange(64)
    for augment in AUGMENTATIONS.values():
        keys = [(0, 0), (0, 1), (1, 0), (1, 1)]
        made = [augment(images, Draws(*key, rows)) for key in keys]
        assert all(not torch.equal(a, b) for a in made for b in made if a is not b)
        assert torch.equal(augment(images, Draws(0, 1, rows)), made[1])


def test_half_of_all_images_are_flipped() -> None:
    images = torch.tensor([0.0, 1.0]).expand(40_000, 1, 1, 2)
    flipped = random_flip(images, draws=Draws(0, 0, torch.arange(40_000)))[:, 0, 0, 0].sum()
    assert abs(flipped - 20_000) < 4 * math.sqrt(10_000)


def test_golden_boxes() -> None:
    # A published seed must mean the same crops under every release, and so must a resumed run.
    boxes = random_boxes(32, 32, draws=Draws(3, 1, torch.arange(4)))
    assert boxes.tolist() == [[0, 1, 31, 29], [2, 4, 30, 25], [2, 0, 21, 25], [6, 7, 23, 18]]


SETTINGS = [
    ((32, 32), (0.2, 1.0), (3 / 4, 4 / 3)),
    ((32, 32), (0.08, 1.0), (0.5, 2.0)),
    ((48, 20), (0.2, 1.0), (3 / 4, 4 / 3)),
    ((9, 30), (0.3, 0.7), (3 / 4, 4 / 3)),  # many tries fail, and some samples fail ten times
]


def torchvisions_boxes(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], count: int
) -> Tensor:
    transform = v2.RandomResizedCrop(size, scale, ratio)
    image = torch.empty(1, *size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = [transform.make_params([image]) for _ in range(count)]
    return torch.tensor([[box["top"], box["left"], box["height"], box["width"]] for box in made])


def binned(values: Tensor, edges: Tensor) -> Tensor:
    return torch.bincount(torch.bucketize(values.contiguous(), edges), minlength=len(edges) + 1)


@pytest.mark.parametrize(
    ("size", "scale", "ratio"),
    [*SETTINGS[:1], *(pytest.param(*one, marks=pytest.mark.slow) for one in SETTINGS[1:])],
)
def test_boxes_are_distributed_as_torchvisions(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    """A two-sample chi-square for each of what torchvision draws, over some 12 bins."""
    count = 12_000
    theirs = torchvisions_boxes(size, scale, ratio, count).double()
    draws = Draws(0, 0, torch.arange(4 * count))
    ours = random_boxes(*size, draws=draws, scale=scale, ratio=ratio).double()
    assert ((ours[:, :2] >= 0) & (ours[:, 2:] >= 1)).all()
    assert (ours[:, :2] + ours[:, 2:] <= torch.tensor(size)).all()
    seen: dict[str, Callable[[Tensor], Tensor]] = {
        "area": lambda box: box[:, 2] * box[:, 3],
        "ratio": lambda box: box[:, 3] / box[:, 2],
        "height": lambda box: box[:, 2],
        "width": lambda box: box[:, 3],
        "top": lambda box: box[:, 0],
        "left": lambda box: box[:, 1],
        "place in the spare rows": lambda box: box[:, 0] / (size[0] - box[:, 2] + 1),
        "place in the spare columns": lambda box: box[:, 1] / (size[1] - box[:, 3] + 1),
    }
    chances = {}
    for name, measure in seen.items():
        edges = measure(theirs).quantile(torch.linspace(0, 1, 13).double()[1:-1]).unique()
        table = torch.stack([binned(measure(boxes), edges) for boxes in (ours, theirs)])
        chances[name] = stats.chi2_contingency(table[:, table.sum(0) > 0].numpy()).pvalue
    assert {name: chance for name, chance in chances.items() if chance < 1e-4} == {}


@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (1.0, 1.0), (0.6, 0.9)])
@pytest.mark.parametrize("size", [(4, 40), (41, 4), (7, 90), (90, 8), (1, 50), (50, 1)])
def test_where_no_try_can_fit_the_largest_central_box_is_taken(
    size: tuple[int, int], ratio: tuple[float, float]
) -> None:
    boxes = random_boxes(*size, draws=Draws(0, 0, torch.arange(5)), scale=(1.0, 1.0), ratio=ratio)
    expected = torchvisions_boxes(size, (1.0, 1.0), ratio, 1)
    assert torch.equal(boxes, expected.expand(5, 4))


@pytest.mark.parametrize("ratio", [(8.0, 9.0), (0.1, 0.2)])
def test_a_box_has_a_pixel_even_of_an_impossible_shape(ratio: tuple[float, float]) -> None:
    boxes = random_boxes(1, 1, draws=Draws(0, 0, torch.arange(3)), ratio=ratio)
    assert boxes.tolist() == [[0, 0, 1, 1]] * 3


@pytest.mark.parametrize("limits", [(0.0, 1.0), (1.0, 0.5), (-1.0, 1.0), (0.5, math.inf)])
def test_ranges_that_are_none_are_refused(limits: tuple[float, float]) -> None:
    images, draws = torch.zeros(2, 3, 4, 4), Draws(0, 0, torch.arange(2))
    for name in ("scale", "ratio"):
        crop = partial(random_resized_crop, images, draws=draws)
        with pytest.raises(ValueError, match=rf"{name} is \({limits[0]}, {limits[1]}\); it must"):
            crop(scale=limits) if name == "scale" else crop(ratio=limits)


def test_draws_of_another_batch_are_refused() -> None:
    images = torch.zeros(4, 3, 5, 5)
    for augment in AUGMENTATIONS.values():
        for wrong in (1, 3):
            with pytest.raises(RuntimeError, match="shape"):
                augment(images, Draws(0, 0, torch.arange(wrong)))


class OnDevice(TorchDispatchMode):
    """Refuses what brings numbers of the host to the device, for which the host would wait."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        assert func is not torch.ops.aten.lift_fresh.default, "a tensor made of the host's numbers"
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, made)):
            assert not isinstance(tensor, Tensor) or tensor.is_meta, func
        return made


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_nothing_waits_for_the_device(augment: Augmentation) -> None:
    # On the meta device there are no values: whatever needs one on the host fails.
    images = torch.empty(4, 3, 8, 8, device="meta")
    draws = Draws(0, 0, torch.empty(4, dtype=torch.int64, device="meta"))
    with OnDevice():  # type: ignore[no-untyped-call]
        assert augment(images, draws).is_meta


@pytest.mark.slow
def test_crops_and_flips_can_be_compiled_whole() -> None:
    def both(images: Tensor, boxes: Tensor, mask: Tensor) -> Tensor:
        return flip(resized_crop(to_float(images), boxes), mask)

    compiled = torch.compile(both, backend="aot_eager", fullgraph=True)
    for count in (4, 7):
        images = (images_of((count, 3, 6, 9), torch.channels_last) * 255).byte()
        draws = Draws(0, 0, torch.arange(count))
        boxes, mask = random_boxes(6, 9, draws=draws), draws.uniforms("flip", 1)[:, 0] < 0.5
        torch.testing.assert_close(compiled(images, boxes, mask), both(images, boxes, mask))


@pytest.mark.cuda
@pytest.mark.parametrize("layout", FORMATS)
def test_devices_augment_the_same(layout: torch.memory_format) -> None:
    images, rows = images_of((500, 3, 32, 32), layout), torch.arange(500)
    boxes = random_boxes(32, 32, draws=Draws(0, 0, rows))
    assert torch.equal(random_boxes(32, 32, draws=Draws(0, 0, rows.cuda())).cpu(), boxes)
    for augment in AUGMENTATIONS.values():
        there = augment(images.cuda(), Draws(0, 0, rows.cuda())).cpu()
        here = augment(images, Draws(0, 0, rows))
        torch.testing.assert_close(there, here, atol=1e-6, rtol=0)
