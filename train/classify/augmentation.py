"""What a run does to its images before they are seen, as its configuration says."""

import torch
from torch import Tensor

from quire.loaders.augment import random_flip, random_resized_crop, random_shift, to_float
from quire.loaders.draws import Draws
from quire.loaders.jitter import random_grey, random_jitter
from quire.train.classify.run import Classify


def augmented(config: Classify, images: Tensor, draws: Draws) -> Tensor:
    """Crop, shift, flip and change the colours of each image at random, as far as is asked for.

    (B, channels, H, W) uint8 -> (B, channels, H, W) float32 in [0, 1], channels last.
    """
    images = to_float(images)
    if config.crop != (1, 1):
        images = random_resized_crop(images, draws=draws, scale=config.crop)
    if config.shift:
        images = random_shift(images, draws=draws, most=config.shift)
    if config.flip:
        images = random_flip(images, draws=draws)
    if any(config.jitter) or config.hue:
        images = random_jitter(
            images,
            draws=draws,
            strengths=config.jitter,
            hue=config.hue,
            probability=config.jittered,
        )
    if config.grey:
        images = random_grey(images, draws=draws, probability=config.grey)
    return images.contiguous(memory_format=torch.channels_last)
