"""A part of a bundle: the samples of so many images, chosen at random but always the same."""

import numpy as np
from numpy.typing import NDArray

from artifacts.errors import RunError
from loaders.stream import Stream

_IMAGE = "source_index"  # the column that tells which image a sample shows


def rows_of(whole: Stream, images: int) -> NDArray[np.int64]:
    """The rows of every sample that shows one of `images` images, in rising order. -> (M,).

    More images are a superset of fewer; all, where there are not as many.

    Raises:
        RunError: nothing tells which image a sample shows.
    """
    column = whole.index.rows.columns.get(_IMAGE)
    if column is None:
        raise RunError(f"the bundle has no column {_IMAGE} to choose {images} images by")
    numbers = np.random.default_rng(0).permutation(np.unique(column))
    return np.flatnonzero(np.isin(column, numbers[:images]))
