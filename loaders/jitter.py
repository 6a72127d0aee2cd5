"""Changes of brightness, contrast, saturation and hue, on batches of images where they are.

Images are (B, C, H, W) float32 in [0, 1] and stay in that range. The changes are torchvision's: the
first three mix an image with another one, black, its mean grey or its own greys, and what leaves
[0, 1] is clipped after each; hue turns the colours of each pixel. As in `quire.loaders.augment`,
what is random comes from `Draws`.
"""

import torch
from torch import Tensor

from quire.loaders.draws import Draws

CHANGES = ("brightness", "contrast", "saturation", "hue")
_HUE = 3
_LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, to the digits that torchvision has


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Change each image's brightness, contrast, saturation and hue, in an order of its own.

    (B, C, H, W), (B, n) float32, (B, n) int64 -> (B, C, H, W), where n is 3 without hue, or 4. A
    factor of 0 gives black, the mean grey or a grey image, 1 the image itself, more exaggerates; of
    hue it is the part of a whole turn. `order` has the number in `CHANGES` of what comes first,
    second and so on. Images of one channel have no saturation and no hue to change. The mean grey
    is that of the image as it then is.
    """
    for change in order.view(len(images), factors.shape[1]).unbind(1):
        ours = factors.gather(1, change[:, None])[:, :, None, None]
        change = change[:, None, None, None]
        greys = _greys(images)
        mean = greys.mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64).to(images.dtype)
        other = torch.where(change == 0, 0, torch.where(change == 1, mean, greys))
        mixed = (ours * images + (1 - ours) * other).clamp(0, 1)
        if factors.shape[1] > _HUE:
            mixed = torch.where(change == _HUE, turn_hue(images, ours), mixed)
        images = mixed
    return images


def random_jitter(
    images: Tensor,
    *,
    draws: Draws,
    strengths: tuple[float, float, float],
    hue: float = 0.0,
    probability: float = 1.0,
) -> Tensor:
    """Change brightness, contrast, saturation and hue at random, in random order. -> (B, C, H, W).

    Each factor is uniform in [max(0, 1 - strength), 1 + strength], that of hue in [-hue, hue];
    `strengths` are in the order of `CHANGES`, 0 changes nothing. With a probability below 1 only so
    many of the images are changed.

    Raises:
        ValueError: a strength is negative, hue is not in [0, 0.5], probability not in [0, 1].
    """
    if not min(strengths) >= 0:
        raise ValueError(f"strengths are {strengths}; they must be at least 0")
    if not (0 <= hue <= 0.5 and 0 <= probability <= 1):
        raise ValueError(f"hue is {hue}, probability {probability}; at most .5 and 1, at least 0")
    changes = 4 if hue else 3  # without hue the draws are those that they were before it
    numbers = draws.uniforms("jitter with hue" if hue else "jitter", 2 * changes)
    factors = [
        max(0, 1 - strength) + (1 + strength - max(0, 1 - strength)) * numbers[:, place]
        for place, strength in enumerate(strengths)
    ]
    if hue:
        factors.append(hue * (2 * numbers[:, _HUE] - 1))
    order = numbers[:, changes:].argsort(dim=1, stable=True)
    changed = jitter(images, torch.stack(factors, dim=1), order)
    if probability == 1:
        return changed
    some = draws.uniforms("jittered", 1) < probability
    return torch.where(some[:, :, None, None], changed, images)


def random_grey(images: Tensor, *, draws: Draws, probability: float) -> Tensor:
    """Take the colours of so many of the images. (B, C, H, W) -> the same."""
    some = draws.uniforms("grey", 1) < probability
    return torch.where(some[:, :, None, None], _greys(images).expand_as(images), images)


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of every pixel by a part of the circle. (B, C, H, W), (B, 1, 1, 1) -> the same.

    By way of hue, saturation and value, as torchvision's `adjust_hue`; images of one channel stay
    as they are.
    """
    if images.shape[1] == 1:
        return images
    value, most = images.max(dim=1, keepdim=True)
    least = images.amin(dim=1, keepdim=True)
    chroma = value - least
    # of the six parts of the circle: 0 is red, 2 green, 4 blue
    between = torch.roll(images, -1, 1) - torch.roll(images, -2, 1)
    place = (between / torch.where(chroma == 0, 1, chroma)).gather(1, most) + 2 * most
    place = (place / 6 + turns) % 1 * 6
    turned = torch.empty_like(images)
    for channel, number in enumerate((5, 3, 1)):
        turned[:, channel] = (value - chroma * _clamped((number + place) % 6)).squeeze(1)
    return turned


def _clamped(place: Tensor) -> Tensor:
    """How much of its chroma a channel lacks there, in [0, 1]."""
    return torch.minimum(place, 4 - place).clamp(0, 1)


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
