"""The rows of several bundles as those of one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.later import Later, LaterColumns
from quire.artifacts.shards import Rows


def mixed_index(bundles: Sequence[Bundle]) -> Index:
    """The keys and columns of bundles, their rows laid end to end; of columns those that all have.

    Raises:
        BundleError: their labels are of other classes.
    """
    classes = [one.manifest.identity.source.get("class_names") for one in bundles]
    for one, names in zip(bundles, classes, strict=True):
        if names != classes[0]:
            raise BundleError(f"{one} has other classes than {bundles[0]}: they are not mixed")
    count = sum(len(one.index) for one in bundles)
    columns = [one.index.rows.columns for one in bundles]
    shared = [name for name in columns[0] if all(name in other for other in columns)]

    def joined(arrays: Sequence[Callable[[], Any]]) -> Later:
        return Later(count, lambda: np.concatenate([np.asarray(array()) for array in arrays]))

    return Index(
        np.zeros(count, np.int32),
        Rows(
            keys=joined([partial(getattr, one.index.rows, "keys") for one in bundles]),
            offsets={},
            lengths={},
            columns=LaterColumns(
                {
                    name: joined([partial(own.__getitem__, name) for own in columns])
                    for name in shared
                }
            ),
        ),
    )
