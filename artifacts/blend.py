"""What it means to blend two images, to the last bit.

A sample that was blended when a bundle was built and one that is blended when it is read must be
the same bytes, on any device. So the weight of an image is a whole number of parts of `PARTS`, and
a blend is arithmetic of integers. A weight of 0.9 becomes 922 parts, which is 0.9004: half a part
moves no pixel by more than an eighth of a level.
"""

import numpy as np
from numpy.typing import NDArray

BITS = 10
PARTS = 1 << BITS  # that the weights of two images add up to


def blended(image: NDArray[np.uint8], other: NDArray[np.uint8], parts: int) -> NDArray[np.uint8]:
    """`parts` of an image and the rest of another, rounded to nearest, halves up.

    (H, W, C) uint8 twice, 0..PARTS -> (H, W, C) uint8.

    >>> blended(np.array([10, 10], np.uint8), np.array([20, 11], np.uint8), 512).tolist()
    [15, 11]
    """
    total = image.astype(np.int32)
    total -= other
    total *= parts
    total += PARTS // 2
    total >>= BITS  # rounds down, below 0 too
    total += other
    return total.astype(np.uint8)
