"""What it means to blend two images, to the last bit.

A sample that was blended when a bundle was built and one that is blended when it is read must be
the same bytes, on any device. So the weight of an image is a whole number of parts of `PARTS`, and
a blend is what integers make of it. A weight of 0.9 becomes 922 parts, which is 0.9004: half a part
moves no pixel by more than an eighth of a level.

Here OpenCV does that in single precision, twice as fast as numpy in integers: levels times parts
over PARTS, a power of two, are exact there, and so is their sum.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

BITS = 10
PARTS = 1 << BITS  # that the weights of two images add up to

_UP = 0.25 / PARTS  # less than lies between two sums: brings halves, and nothing else, to round up


def blended(image: NDArray[np.uint8], other: NDArray[np.uint8], parts: int) -> NDArray[np.uint8]:
    """`parts` of an image and the rest of another, rounded to nearest, halves up.

    (H, W, C) uint8 twice, 0..PARTS -> (H, W, C) uint8.

    >>> blended(np.array([10, 10], np.uint8), np.array([20, 11], np.uint8), 512).tolist()
    [15, 11]
    """
    made = cv2.addWeighted(image, parts / PARTS, other, (PARTS - parts) / PARTS, _UP)
    return np.asarray(made, np.uint8).reshape(image.shape)
