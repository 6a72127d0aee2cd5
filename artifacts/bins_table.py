"""bins.h5: how a dataset spreads over the cells of a k-means clustering of its images.

K bins, the largest first, over images of (H, W, C) pixels, whose values are numbered row by row,
pixel by pixel, channel by channel: P = H W C in all.

centres       (K, H, W, C) float64 in 0..255: the mean of the images of each bin, over all values
counts        (K,) int64, at least 1, falling: images in each bin
proportions   (K,) float64: the same as parts of 1
dimensions    (D,) int64 in [0, P), rising: the values by which images are held against centres
scale         (P,) float64, above 0: what these are divided by before; 1 without whitening
source_index  (N,) int64, rising: the number in the split of each image that was clustered
bin           (N,) int64 in [0, K): and its bin

An image belongs to the bin whose centre is nearest: least sum over `dimensions` of the squared
differences, each divided by its `scale`.
"""

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError

BINS = "bins.h5"

_SAID = {
    "centres": (
        "grey levels, 0 to 255",
        "mean of the images of each bin; (bin, row, column, channel)",
    ),
    "counts": ("images", "images of each bin, the largest bin first"),
    "proportions": ("parts of 1", "counts over their sum"),
    "dimensions": (
        "numbers of values",
        "values of an image that are held against those of centres",
    ),
    "scale": ("grey levels", "what the differences of each value are divided by"),
    "source_index": ("numbers of images", "number in the split of each image that was clustered"),
    "bin": ("numbers of bins", "bin of each image that was clustered"),
}
_AXES = {"centres": 4}


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """A dataset's bins; the module says what each array is."""

    centres: NDArray[np.float64]  # (K, H, W, C)
    counts: NDArray[np.int64]  # (K,)
    dimensions: NDArray[np.int64]  # (D,)
    scale: NDArray[np.float64]  # (P,)
    source_index: NDArray[np.int64]  # (N,)
    bin: NDArray[np.int64]  # (N,)

    def __len__(self) -> int:
        return len(self.centres)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        _, height, width, channels = self.centres.shape
        return height, width, channels

    @property
    def proportions(self) -> NDArray[np.float64]:
        """The part of the images that is in each bin. -> (K,)."""
        found: NDArray[np.float64] = self.counts / self.counts.sum()
        return found


def write_bins(file: h5py.File, bins: Bins) -> None:
    """Write the table."""
    for name, (unit, definition) in _SAID.items():
        tables.put(file, name, getattr(bins, name), unit=unit, definition=definition)


def read_bins(bundle: Bundle) -> Bins:
    """Read the bins of a bundle.

    Raises:
        BundleError: there are none, or they are damaged or cannot be what they say.
    """
    with tables.open_table(bundle.table(BINS, "bins")) as file:
        arrays = {name: _array(file, name) for name in _SAID if name != "proportions"}
    bins = Bins(**arrays)
    for reason, is_wrong in _wrong(bins).items():
        if is_wrong:
            raise BundleError(f"{BINS}: {reason}")
    return bins


def _array(file: h5py.File, name: str) -> NDArray[Any]:
    found = tables.get(file, name)
    wanted = np.float64 if name in ("centres", "scale") else np.int64
    if found.dtype != wanted or found.ndim != _AXES.get(name, 1) or not found.size:
        raise BundleError(f"{BINS}: {name} is {found.dtype} of shape {found.shape}")
    return found


def _wrong(bins: Bins) -> dict[str, bool]:
    """What no bins can be."""
    values = bins.centres[0].size
    sizes = [len(bins.counts) != len(bins), len(bins.scale) != values]
    if any([*sizes, len(bins.bin) != len(bins.source_index)]):
        return {"its arrays are of different lengths": True}
    in_range = _within(bins.bin, len(bins))
    return {
        "centres are not in 0..255": not ((bins.centres >= 0) & (bins.centres <= 255)).all(),
        "scale is not above 0": not ((bins.scale > 0) & (bins.scale < np.inf)).all(),
        "dimensions are not some of an image's, in order": not _rises(bins.dimensions, values),
        "source_index does not rise": not _rises(bins.source_index, None),
        "counts are not those of its bins": not in_range
        or (np.bincount(bins.bin, minlength=len(bins)) != bins.counts).any()
        or bool((np.diff(bins.counts) > 0).any())
        or int(bins.counts.min()) < 1,
    }


def _within(numbers: NDArray[np.int64], limit: int) -> bool:
    return bool(numbers.min() >= 0 and numbers.max() < limit)


def _rises(numbers: NDArray[np.int64], limit: int | None) -> bool:
    """Whether numbers rise from 0 at least, and stay below a limit."""
    below = limit is None or numbers[-1] < limit
    return bool(numbers[0] >= 0 and below and (np.diff(numbers) > 0).all())
