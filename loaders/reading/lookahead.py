"""Reads that begin before they are needed."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from quire.loaders.order import Positions, Rows
from quire.loaders.reading.held import Ahead


def ahead_of(batches: Sequence[Rows], windows: Sequence[Positions], ahead: Ahead) -> Iterator[Rows]:
    """The same batches, while the reads of the window after theirs are under way.

    When a window is entered, the reads of the next one begin. So there is always something to read,
    and at most two windows are in memory.

    Args:
        batches: the rows of each.
        windows: of each row of each batch, the number of its window.
        ahead: begins the reads of a window's rows.
    """
    groups = _groups(np.concatenate(batches), np.concatenate(windows), ahead)
    group = next(groups)
    ahead.begin(group)
    used, end = 0, 0  # of the window that was entered last
    for batch in batches:
        used += len(batch)
        while used > end and len(group):
            end += len(group)
            group = next(groups, group[:0])
            if len(group):
                ahead.begin(group)
        yield batch


def _groups(rows: Rows, windows: Positions, ahead: Ahead) -> Iterator[Rows]:
    """The rows of each window in the order of their use, cut where they would take too much."""
    by_window = np.argsort(windows, kind="stable")
    cuts = np.flatnonzero(np.diff(windows[by_window])) + 1
    for start, stop in itertools.pairwise([0, *cuts.tolist(), len(rows)]):
        whole = rows[by_window[start:stop]]
        yield from np.array_split(whole, max(1, min(ahead.parts(whole), len(whole))))
