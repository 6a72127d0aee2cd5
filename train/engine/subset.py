"""A part of a bundle: the samples of so many images, chosen at random but always the same."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream, stream
from quire.train.engine.mixture import Data

_IMAGE = "source_index"  # the column that tells which image a sample shows


def stream_of(data: Data, images: int | None, **options: Any) -> Stream:
    """The stream of a bundle, or of so many of its images; `options` are those of `stream`.

    Raises:
        RunError: nothing tells which image a sample shows, or images are chosen of several bundles.
    """
    try:
        whole = stream(data, **options)
    except ValueError as error:  # of what a user has a hand in, the shares
        raise RunError(str(error)) from None
    if images is None:
        return whole
    if not isinstance(data, str):
        raise RunError("images are chosen of one bundle, and several are mixed")
    return stream(data, rows=rows_of(whole, images).tolist(), **options)


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
