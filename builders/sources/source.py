"""What a recipe may ask of a source of labelled images.

A source is a small frozen record (a path, a split): it travels to a worker as it is and reads
there only what a block needs. Everything that can be wrong with the folder as a whole is found
when the source is opened; what is wrong with one image is found when that image is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from artifacts.manifest import LeftOut

Image: TypeAlias = NDArray[np.uint8]  # (height, width, channel), 0..255, RGB or gray


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples of a source, in order.

    `images` is one (N, H, W, C) uint8 array when all have the same size, else a list of (H, W, C)
    arrays.
    """

    indices: NDArray[np.int64]  # (N,): each sample's number in its split
    images: NDArray[np.uint8] | Sequence[Image]
    labels: NDArray[np.int64]  # (N,)
    bad: tuple[LeftOut, ...] = ()  # samples of the range that are not in the block


class ImageSource(Protocol):
    """Labelled images of one split, by number."""

    @property
    def kind(self) -> str:
        """The name before the colon: `cifar10`."""

    @property
    def split(self) -> str:
        """`train`, `test` or whatever the layout has."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels 0, 1, ..."""

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) where every image has it, None where they differ."""

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop); those that cannot be read are listed as bad."""

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of every file that the split is read from."""
