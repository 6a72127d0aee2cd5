"""Intersection over union, from counts of pixels.

Every image has a matrix of counts of its own. They add up: over a data set, or over any part of it
(`counts[chosen].sum(0)`), which is why one pass over the data measures all subsets.
"""

import torch
from torch import Tensor


def confusion(predicted: Tensor, masks: Tensor, *, classes: int) -> Tensor:
    """How many pixels of each image have a true class and a predicted one.

    Pixels whose mask names no class, such as 255, do not count; predictions all do.

    Args:
        predicted: (B, H, W) class ids, integers in 0..C-1.
        masks: (B, H, W) class ids, integers of 0..255.
        classes: C.

    Returns:
        (B, C, C) int64, [image, true, predicted], on the device of the images. They add up.
    """
    pairs = masks.long() * classes + predicted
    cells = classes * classes + 1  # of an image; the last is for the pixels that do not count
    pairs = torch.where(masks < classes, pairs, cells - 1).flatten(1)
    images = torch.arange(len(pairs), device=pairs.device)[:, None] * cells
    counts = torch.bincount((pairs + images).flatten(), minlength=len(pairs) * cells)
    return counts.view(len(pairs), cells)[:, :-1].reshape(len(pairs), classes, classes)


def iou(counts: Tensor) -> Tensor:
    """Each class's share of correct pixels among those that are, or were said to be, of it.

    (C, C) counts -> (C,) float64 in [0, 1]. A class that was predicted but never occurs has 0; one
    that neither occurs nor was predicted has NaN.
    """
    hits = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hits
    return hits.double() / union


def mean_iou(counts: Tensor) -> float:
    """The mean of `iou` over the classes that occur or were predicted; NaN without a pixel.

    (C, C) counts -> [0, 1].

    >>> mean_iou(torch.tensor([[2, 0, 0], [1, 1, 0], [0, 0, 0]]))
    0.5833...
    """
    return iou(counts).nanmean().item()
