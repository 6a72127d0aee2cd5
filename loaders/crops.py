"""Scenes of different sizes become batches of one size, masks with them.

What `quire.loaders.stream` gives of photographs are lists, for they differ in size. A crop of each
(see `quire.artifacts.crop`) makes them a batch: on the CPU, where they were decoded, and by a pool
of threads where one is given, which shares the work as decoding does. From there on everything
happens on whole batches on the device. What is random comes from `Draws`: a sample is cropped in
the same way whatever batch it is in.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.crop import FILL, Crop, Pixels, centre_crop, cropped, cropped_mask, random_crop
from quire.loaders.draws import Draws


def random_crops(
    images: Iterable[Tensor],
    *,
    draws: Draws,
    size: int,
    scale: tuple[float, float] = (0.5, 2.0),
    longest: int | None = None,
) -> list[Crop]:
    """A crop for each of B images, see `quire.artifacts.crop.random_crop`. B of (3, H, W) -> B.

    Raises:
        ValueError: `size` or `longest` is no number of pixels, or `scale` no range of positive
            numbers.
    """
    _check(size, longest)
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale}; it must be a range of positive numbers")
    numbers = draws.uniforms("scene_crop", 4).tolist()
    return [
        random_crop(image.shape[1], image.shape[2], own, size=size, scale=scale, longest=longest)
        for image, own in zip(images, numbers, strict=True)
    ]


def centre_crops(images: Iterable[Tensor], *, size: int, longest: int | None = None) -> list[Crop]:
    """The middle of each image, to be evaluated on. B of (3, H, W) -> B.

    Raises:
        ValueError: `size` or `longest` is no number of pixels.
    """
    _check(size, longest)
    return [centre_crop(*image.shape[1:], size=size, longest=longest) for image in images]


def crop_images(
    images: Iterable[Tensor],
    crops: Sequence[Crop],
    *,
    fill: tuple[int, int, int] = FILL,
    pool: ThreadPoolExecutor | None = None,
) -> Tensor:
    """Each image's crop, as one batch. B of (3, H, W) uint8 on the CPU -> (B, 3, S, S) uint8.

    The batch is in channels-last memory. All crops have one size, and there is at least one.
    """
    arrays = [image.movedim(0, -1).numpy() for image in images]
    made = _each(partial(cropped, fill=fill), arrays, crops, pool)
    return torch.from_numpy(np.stack(made)).movedim(-1, 1)


def crop_masks(
    masks: Iterable[Tensor], crops: Sequence[Crop], *, pool: ThreadPoolExecutor | None = None
) -> Tensor:
    """Each mask's crop, as one batch. B of (H, W) uint8 on the CPU -> (B, S, S) uint8."""
    arrays = [mask.numpy() for mask in masks]
    return torch.from_numpy(np.stack(_each(cropped_mask, arrays, crops, pool)))


def _each(
    one: Callable[[Pixels, Crop], Pixels],
    arrays: Sequence[Pixels],
    crops: Sequence[Crop],
    pool: ThreadPoolExecutor | None,
) -> list[Pixels]:
    if len(arrays) != len(crops):
        raise ValueError(f"there are {len(crops)} crops for {len(arrays)} samples")
    apply = map if pool is None else pool.map
    return list(apply(one, arrays, crops))


def _check(size: int, longest: int | None) -> None:
    for name, pixels in (("size", size), ("longest", longest)):
        if pixels is not None and pixels < 1:
            raise ValueError(f"{name} is {pixels}; it must be at least 1")
