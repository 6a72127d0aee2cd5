"""Scenes of different sizes as batches: each sample's crop is its own, in whatever batch."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from quire.artifacts.crop import VOID, cropped, cropped_mask
from quire.loaders.crops import centre_crops, crop_images, crop_masks, random_crops
from quire.loaders.draws import Draws
from quire.loaders.stream import stream
from tests.builders.real_data import real_data
from tests.bundles import write_bundle

SHAPES = [(30, 40), (41, 25), (8, 60), (33, 33), (1, 1)]


def scenes() -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(256, (*shape, 3), generator=generator, dtype=torch.uint8).movedim(-1, 0)
        for shape in SHAPES
    ]
    masks = [torch.randint(21, shape, generator=generator, dtype=torch.uint8) for shape in SHAPES]
    return images, masks


def batch_of(rows: list[int], seed: int = 3, epoch: int = 1) -> tuple[Tensor, Tensor]:
    images, masks = scenes()
    images, masks = [images[row] for row in rows], [masks[row] for row in rows]
    crops = random_crops(images, draws=Draws(seed, epoch, torch.tensor(rows)), size=32)
    return crop_images(images, crops), crop_masks(masks, crops)


def test_a_batch_has_each_sample_s_own_crop() -> None:
    images, masks = scenes()
    crops = random_crops(images, draws=Draws(0, 0, torch.arange(5)), size=32)
    batch, ids = crop_images(images, crops, fill=(1, 2, 3)), crop_masks(masks, crops)
    assert batch.shape == (5, 3, 32, 32) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert ids.shape == (5, 32, 32) and ids.dtype == torch.uint8
    for image, mask, crop, found, own in zip(images, masks, crops, batch, ids, strict=True):
        expected = cropped(image.movedim(0, -1).numpy(), crop, fill=(1, 2, 3))
        assert np.array_equal(found.movedim(0, -1), expected)
        assert np.array_equal(own, cropped_mask(mask.numpy(), crop))


def test_a_sample_is_cropped_the_same_in_any_batch_and_otherwise_in_another_epoch() -> None:
    images, masks = batch_of([0, 1, 2, 3])
    others, other_masks = batch_of([3, 1])
    assert torch.equal(images[[3, 1]], others) and torch.equal(masks[[3, 1]], other_masks)
    assert not torch.equal(images, batch_of([0, 1, 2, 3], epoch=2)[0])
    assert not torch.equal(images, batch_of([0, 1, 2, 3], seed=4)[0])


def test_threads_change_nothing() -> None:
    images, masks = scenes()
    crops = centre_crops(images, size=32)
    with ThreadPoolExecutor(3) as pool:
        assert torch.equal(crop_images(images, crops, pool=pool), crop_images(images, crops))
        assert torch.equal(crop_masks(masks, crops, pool=pool), crop_masks(masks, crops))


def test_draws_reach_every_factor_and_mirror_half() -> None:
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    crops = random_crops([image] * 4000, draws=Draws(0, 0, torch.arange(4000)), size=50)
    heights = torch.tensor([crop.height for crop in crops]).double()
    assert heights.min() == 50 and heights.max() == 199
    assert abs(heights.mean() - 124.5) < 2.5  # of [50, 200), whole rows: 3.6 standard errors
    assert abs(sum(crop.mirrored for crop in crops) / 4000 - 0.5) < 0.03
    exact = random_crops([image], draws=Draws(0, 0, torch.arange(1)), size=50, scale=(1, 1))
    assert (exact[0].height, exact[0].width) == (100, 100)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_a_scale_is_a_range_of_positive_numbers(scale: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="scale is"):
        random_crops([], draws=Draws(0, 0, torch.arange(0)), size=3, scale=scale)


def test_what_does_not_fit_is_refused() -> None:
    images, masks = scenes()
    with pytest.raises(ValueError, match="size is 0"):
        centre_crops(images, size=0)
    with pytest.raises(ValueError, match="size is -1"):
        random_crops(images, draws=Draws(0, 0, torch.arange(5)), size=-1)
    with pytest.raises(ValueError, match="there are 5 crops for 2 samples"):
        crop_masks(masks[:2], centre_crops(images, size=4))


def png(mask: Tensor) -> bytes:
    image = Image.fromarray(mask.numpy(), mode=None).convert("P")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def jpg(image: Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.movedim(0, -1).numpy()).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.mark.parametrize("shapes", [SHAPES, [(12, 10)] * 5])
def test_a_stream_of_photographs_and_masks_is_cropped(
    tmp_path: Path, shapes: list[tuple[int, int]]
) -> None:
    images = [torch.full((3, *shape), 60, dtype=torch.uint8) for shape in shapes]
    masks = [torch.full(shape, 5 + i, dtype=torch.uint8) for i, shape in enumerate(shapes)]
    members = {"jpg": list(map(jpg, images)), "mask.png": list(map(png, masks))}
    write_bundle(tmp_path / "b", [f"{i}" for i in range(5)], members, {}, samples_per_shard=2)
    batch = next(iter(stream(tmp_path / "b", columns=(), batch_size=5)))
    crops = centre_crops(batch["image"], size=9)
    found, ids = crop_images(batch["image"], crops), crop_masks(batch["mask"], crops)
    for i, (height, width) in enumerate(shapes):
        shown = ids[i] == 5 + i
        assert shown.sum() == min(height, 9) * min(width, 9)
        assert (ids[i][~shown] == VOID).all()
        assert (found[i].int() - 60).abs()[:, shown].max() <= 1


def test_real_scenes_keep_their_masks() -> None:
    folder = real_data("voc") / "VOCdevkit/VOC2012"
    paths = sorted((folder / "SegmentationClass").glob("*.png"))[:6]
    masks = [torch.from_numpy(np.array(Image.open(path))) for path in paths]
    photographs = [folder / f"JPEGImages/{path.stem}.jpg" for path in paths]
    images = [
        torch.from_numpy(np.array(Image.open(path).convert("RGB"))).movedim(-1, 0)
        for path in photographs
    ]
    crops = random_crops(images, draws=Draws(0, 0, torch.arange(6)), size=513)
    batch, ids = crop_images(images, crops), crop_masks(masks, crops)
    for mask, crop, own in zip(masks, crops, ids, strict=True):
        assert set(own.unique().tolist()) <= {*mask.unique().tolist(), VOID}
        inside = min(crop.height, 513) * min(crop.width, 513)
        assert (own != VOID).sum() <= inside
    assert batch.shape == (6, 3, 513, 513)
