"""Changes of brightness, contrast and saturation, on batches of images where they are.

Images are (B, C, H, W) float32 in [0, 1] and stay in that range. The three are torchvision's: each
mixes an image with another one, black, its mean grey or its own greys, and what leaves [0, 1] is
clipped after each. As in `quire.loaders.augment`, what is random comes from `Draws`.
"""

import torch
from torch import Tensor

from quire.loaders.draws import Draws

CHANGES = ("brightness", "contrast", "saturation")
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, to the digits that torchvision has


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Change each image's brightness, contrast and saturation, in an order of its own.

    (B, C, H, W), (B, 3) float32, (B, 3) int64 -> (B, C, H, W). A factor of 0 gives black, the mean
    grey or a grey image, 1 the image itself, more exaggerates; `order` has the number in `CHANGES`
    of what comes first, second and third. Images of one channel have no saturation to change. The
    mean grey is that of the image as it then is.
    """
    for change in order.view(len(images), 3).unbind(1):
        ours = factors.gather(1, change[:, None])[:, :, None, None]
        change = change[:, None, None, None]
        greys = _greys(images)
        mean = greys.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).to(images.dtype)
        other = torch.where(change == 0, 0, torch.where(change == 1, mean, greys))
        images = (ours * images + (1 - ours) * other).clamp(0, 1)
    return images


def random_jitter(images: Tensor, *, draws: Draws, strengths: tuple[float, float, float]) -> Tensor:
    """Change brightness, contrast and saturation at random, in random order. -> (B, C, H, W).

    Each factor is uniform in [max(0, 1 - strength), 1 + strength]; `strengths` are in the order of
    `CHANGES`, 0 changes nothing.

    Raises:
        ValueError: a strength is negative.
    """
    if not min(strengths) >= 0:
        raise ValueError(f"strengths are {strengths}; they must be at least 0")
    numbers = draws.uniforms("jitter", 6)
    factors = [
        max(0, 1 - strength) + (1 + strength - max(0, 1 - strength)) * numbers[:, place]
        for place, strength in enumerate(strengths)
    ]
    order = numbers[:, 3:].argsort(dim=1, stable=True)
    return jitter(images, torch.stack(factors, dim=1), order)


def _greys(images: Tensor) -> Tensor:
    """How light each pixel is. (B, C, H, W) -> (B, 1, H, W); of three channels, else it is refused.

    An image of one channel is its own greys.

    Raises:
        ValueError: there are neither three channels nor one.
    """
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ValueError(f"images have {images.shape[1]} channels; colours are of 3, greys of 1")
    weighted: Tensor = _LUMA[0] * images[:, 0:1] + _LUMA[1] * images[:, 1:2]
    return weighted + _LUMA[2] * images[:, 2:3]
