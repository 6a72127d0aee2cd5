"""Labelled images as members of samples: raw pixels, and the class id beside them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.members import RAW_IMAGE, class_ids, raw_header, raw_images
from quire.artifacts.shards import Payloads, stored_bytes
from quire.builders.sources.source import Image


def members(
    images: NDArray[np.uint8] | Iterable[Image], labels: NDArray[np.int64]
) -> dict[str, Payloads]:
    """The members of N samples, by extension.

    `images` is one (N, H, W, C) uint8 array, or N arrays (H, W, C) of any sizes, which are taken
    one at a time; labels are (N,).
    """
    files: Payloads
    if isinstance(images, np.ndarray):
        files, channels = raw_images(images), images.shape[-1]
    else:
        files, channels = [], 3
        for image in images:
            files.append(raw_images(image[None]).tobytes())
            channels = image.shape[-1]
    return {RAW_IMAGE[channels]: files, "cls": class_ids(labels)}


def sample_bytes(shape: tuple[int, int, int] | None) -> int | None:
    """What one sample takes in a shard: class id and image (H, W, C), each with its header.

    None where images differ in size.

    >>> sample_bytes((32, 32, 3))
    5120
    """
    if shape is None:
        return None
    height, width, channels = shape
    return stored_bytes(1) + stored_bytes(
        len(raw_header(height, width, channels)) + height * width * channels
    )
