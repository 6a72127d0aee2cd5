"""Augmentation of whole batches of images, on the device where they are.

Images are (B, C, H, W) float32 in [0, 1], as `to_float` makes them, and stay in that range; a
batch in channels-last memory stays in it. Nothing waits for the device. What is random comes from
`Draws`, on the same device as the images: a sample is augmented in the same way, to the last bit,
whatever batch it is in. The functions that draw nothing can be compiled whole, which may round a
pixel's last bit otherwise.

Random resized crops are those of Szegedy et al. (2015), "Going deeper with convolutions", in the
form that torchvision gave them. Random shifts are the older habit of padding an image and cropping
it to its size again. How colours are changed is in `quire.loaders.jitter`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.loaders.draws import Draws

_TRIES = 10  # at a crop that fits into the image, before the largest central one is taken
_AT_ONCE = 1 << 18  # pixels cropped at a time on a CPU: what is in between stays in its cache


def to_float(images: Tensor) -> Tensor:
    """Bytes as fractions. (B, C, H, W) uint8, 0..255 -> (B, C, H, W) float32 in [0, 1]."""
    return images.to(torch.float32) / 255


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror left and right where the mask is true. (B, C, H, W), (B,) bool -> (B, C, H, W)."""
    return torch.where(mask.view(len(images), 1, 1, 1), images.flip(3), images)


def random_flip(images: Tensor, *, draws: Draws) -> Tensor:
    """Mirror left and right with probability 1/2. (B, C, H, W) -> (B, C, H, W)."""
    return flip(images, draws.uniforms("flip", 1)[:, 0] < 0.5)


def shift(images: Tensor, by: Tensor) -> Tensor:
    """Move each image's frame down and to the right; what it shows from outside is 0.

    (B, C, H, W), (B, 2) int64, rows and columns, of either sign -> (B, C, H, W). What a frame shows
    at (0, 0) was at `by`.
    """
    _, _, rows, columns = images.shape
    down, right = by.view(len(images), 2).unbind(1)
    above, within_rows = _moved(down, rows)
    before, within_columns = _moved(right, columns)
    tall = images.gather(2, above[:, None, :, None].expand(images.shape))
    both = tall.gather(3, before[:, None, None].expand(images.shape))
    inside = within_rows[:, None, :, None] & within_columns[:, None, None]
    return torch.where(inside, both, 0).contiguous(memory_format=_layout(images))


def _moved(by: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pixel that is seen at each of `size` places, and whether there is one. (B,) -> (B, size).

    Where there is none, another stands for it.
    """
    place = torch.arange(size, device=by.device) + by[:, None]
    there = place.clamp(0, size - 1)
    return there, there == place


def random_shift(images: Tensor, *, draws: Draws, most: int) -> Tensor:
    """Pad with `most` zeros on every side and cut the size out anywhere. (B, C, H, W) -> the same.

    Raises:
        ValueError: `most` is negative.
    """
    if most < 0:
        raise ValueError(f"most is {most}; it must be at least 0")
    places = draws.uniforms("shift", 2) * (2 * most + 1)  # below that, in float32 too
    return shift(images, places.floor().long() - most)


def resized_crop(images: Tensor, boxes: Tensor) -> Tensor:
    """Cut a box out of each image and stretch it to the size the image had, bilinearly.

    (B, C, H, W), (B, 4) int64 -> (B, C, H, W). A box is its top row, left column, height and width;
    it lies in the image, which is not checked, and no pixel from outside it is read. Pixels are
    areas, not points (`align_corners=False`), without antialiasing: there is none to suppress,
    for a crop only grows.
    """
    many = max(1, len(images))
    if images.is_cpu and not torch.compiler.is_compiling():
        many = max(1, _AT_ONCE // max(1, images.shape[1:].numel()))
    parts = zip(images.split(many), boxes.view(len(images), 4).split(many), strict=True)
    made = [_stretched(*part) for part in parts]
    return made[0] if len(made) == 1 else torch.cat(made)


def _stretched(images: Tensor, boxes: Tensor) -> Tensor:
    samples, channels, rows, columns = images.shape
    top, left, height, width = boxes.unbind(1)
    above, below, down = _neighbours(top, height, rows)
    before, after, right = _neighbours(left, width, columns)

    # Whole rows are copied by their number in the batch, which is faster than by `gather`.
    lines = images.reshape(samples * channels * rows, columns)
    first = torch.arange(samples * channels, device=images.device).view(samples, channels, 1) * rows
    upper = lines.index_select(0, (first + above[:, None]).flatten()).view(images.shape)
    lower = lines.index_select(0, (first + below[:, None]).flatten()).view(images.shape)
    tall = _between(upper, lower, down[:, None, :, None])

    before = before[:, None, None].expand(images.shape)
    after = after[:, None, None].expand(images.shape)
    both = _between(tall.gather(3, before), tall.gather(3, after), right[:, None, None])
    return both.contiguous(memory_format=_layout(images))


def random_resized_crop(
    images: Tensor,
    *,
    draws: Draws,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Stretch a random box of each image to the image's size. (B, C, H, W) -> (B, C, H, W).

    See `random_boxes`.
    """
    _, _, rows, columns = images.shape
    return resized_crop(images, random_boxes(rows, columns, draws=draws, scale=scale, ratio=ratio))


def random_boxes(
    rows: int,
    columns: int,
    *,
    draws: Draws,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """A box for each sample in an image of some size: top, left, height, width. -> (B, 4) int64.

    Its share of the image's area is uniform in `scale` and the logarithm of width / height is
    uniform in `ratio`'s, unless that box does not fit into the image; then another is tried, and
    after ten the largest central box of a permitted ratio is taken.

    Raises:
        ValueError: `scale` or `ratio` is not a range of positive numbers.
    """
    _check("scale", scale)
    _check("ratio", ratio)
    numbers = draws.uniforms("resized_crop", 2 * _TRIES + 2)
    # In float64, devices whose roots differ in the last bit all but never round to other pixels.
    sizes, shapes, places = numbers.double().split([_TRIES, _TRIES, 2], dim=1)
    areas = rows * columns * _within(scale, sizes)
    ratios = _within((math.log(ratio[0]), math.log(ratio[1])), shapes).exp()
    tall, wide = _central(rows, columns, ratio)
    heights = F.pad((areas / ratios).sqrt().round(), (0, 1), value=tall)
    widths = F.pad((areas * ratios).sqrt().round(), (0, 1), value=wide)

    fits = (heights > 0) & (heights <= rows) & (widths > 0) & (widths <= columns)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    height, width = heights.gather(1, first), widths.gather(1, first)
    spare = torch.cat([rows - height, columns - width], 1)
    corner = torch.where(first == _TRIES, spare / 2, places * (spare + 1)).floor()
    return torch.cat([corner, height, width], 1).long()


def _within(limits: tuple[float, float], uniforms: Tensor) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * uniforms


def _central(rows: int, columns: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box whose width / height is in a range, nearly."""
    if columns / rows < ratio[0]:
        return max(1, round(columns / ratio[0])), columns
    if columns / rows > ratio[1]:
        return rows, max(1, round(rows * ratio[1]))
    return rows, columns


def _neighbours(start: Tensor, length: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two pixels between which each of `size` stretched ones lies, and how far along.

    (B,), (B,) int64 -> (B, size) int64 twice, (B, size) float32 in [0, 1). The centre of pixel i
    lies at (i + 1/2) * length / size - 1/2 in the crop, and in it even at its border. As a
    fraction over 2 * size that is exact, on any device.
    """
    odd = torch.arange(1, 2 * size, 2, device=start.device)
    place = (odd * length[:, None] - size).clamp(min=0)
    before = place // (2 * size)
    along = (place - before * (2 * size)).to(torch.float32) / (2 * size)
    after = torch.minimum(before + 1, length[:, None] - 1)
    return start[:, None] + before, start[:, None] + after, along


def _between(one: Tensor, other: Tensor, along: Tensor) -> Tensor:
    """one + (other - one) * along, in the memory of `other`; product and sum are rounded apart."""
    return other.sub_(one).mul_(along).add_(one)


def _layout(images: Tensor) -> torch.memory_format:
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


def _check(name: str, limits: tuple[float, float]) -> None:
    if not 0 < limits[0] <= limits[1] < math.inf:
        raise ValueError(f"{name} is {limits}; it must be a range of positive numbers")
