"""The source that needs no download: scikit-learn's 1,797 handwritten digits.

They are the test part of the UCI set "Optical recognition of handwritten digits" (E. Alpaydin and
C. Kaynak, 1998): 8x8 counts of pixels, 0 to 16. The first 1,437 are the training split here, the
last 360 the test split: four fifths and one fifth, with every class in both.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.source import Block

_SPLITS = {"train": slice(0, 1_437), "test": slice(1_437, 1_797)}
_SIDE = 8
_MAX_SIDE = 1_024


@dataclass(frozen=True, slots=True)
class Digits:
    """One split of the digits: gray as they are, or RGB of `side` x `side`."""

    split: str
    side: int | None = None

    @property
    def kind(self) -> str:
        """`digits`."""
        return "digits"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The digits."""
        return tuple(map(str, range(10)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(8, 8, 1), or (side, side, 3)."""
        return (self.side, self.side, 3) if self.side else (_SIDE, _SIDE, 1)

    def __len__(self) -> int:
        part = _SPLITS[self.split]
        return part.stop - part.start

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop), uint8: (N, 8, 8, 1), or (N, side, side, 3). None is bad.

        Counts of 0..16 become 0..255 by multiplying with 255/16 and rounding half up. Enlarging is
        Pillow's bicubic filter; the three channels are equal.
        """
        layout.check_range(start, stop, len(self))
        gray, labels = _digits(self.split)
        wanted = gray[start:stop]
        # copies: what a caller does to a block must not reach the next one
        images = _enlarged(wanted, self.side) if self.side else wanted[..., np.newaxis].copy()
        return Block(np.arange(start, stop), images, labels[start:stop].copy())

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample. -> (N,)."""
        return _digits(self.split)[1].copy()

    def fingerprint(self) -> str:
        """sha256 over the split's pixels, labels and size, wherever scikit-learn keeps them."""
        gray, labels = _digits(self.split)
        images = sha256(gray.tobytes()).hexdigest()
        classes = sha256(labels.astype(np.uint8).tobytes()).hexdigest()
        return layout.combined(
            [("images", images), ("labels", classes), (f"?side={self.side}", "")]
        )


def open_digits(where: str, split: str) -> Digits:
    """Open the digits: as they are when nothing follows the colon, or as wide as the number there.

    Raises:
        SourceError: an unknown split, or something other than a number of 8 to 1,024.
    """
    layout.check_split("digits", split, _SPLITS)
    if not where:
        return Digits(split)
    if not (where.isascii() and where.isdigit() and _SIDE <= int(where[:9]) <= _MAX_SIDE):
        raise SourceError(f"digits: the side {where!r} is not a number of {_SIDE} to {_MAX_SIDE}")
    return Digits(split, int(where))


@cache
def _digits(split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A split's images (N, 8, 8) and labels (N,)."""
    counts, labels = np.split(_records(), [_SIDE * _SIDE], axis=1)
    images = ((counts * 255 + 8) // 16).astype(np.uint8).reshape(-1, _SIDE, _SIDE)
    return images[_SPLITS[split]], labels[_SPLITS[split], 0]


def _records() -> NDArray[np.int64]:
    """Counts and label of each digit. -> (1797, 65)."""
    package = find_spec("sklearn")  # which is found without the seconds that importing it takes
    if package and package.origin:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, np.int64, delimiter=",")
    from sklearn.datasets import load_digits  # wherever it has them

    return np.column_stack(load_digits(return_X_y=True)).astype(np.int64)


def _enlarged(gray: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(N, 8, 8) -> (N, side, side, 3)."""
    large = np.empty((len(gray), side, side, 3), np.uint8)
    for image, place in zip(gray, large, strict=True):
        resized = Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)
        place[...] = np.asarray(resized)[..., np.newaxis]
    return large
