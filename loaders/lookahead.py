"""Reads that begin before they are needed."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from quire.loaders.order import Positions, Rows


def ahead_of(
    batches: Sequence[Rows], windows: Sequence[Positions], begin: Callable[[Rows], None]
) -> Iterator[Rows]:
    """The same batches, while the reads of the window after theirs are under way.

    When a window is entered, the reads of the next one begin. So there is always something to read,
    and at most two windows are in memory.

    Args:
        batches: the rows of each.
        windows: of each row of each batch, the number of its window.
        begin: begins the reads of a window's rows, and does not wait for them.
    """
    rows, numbers = np.concatenate(batches), np.concatenate(windows)
    by_window = np.argsort(numbers, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(numbers[by_window])) + 1, len(rows)).tolist()
    groups = iter(np.split(rows[by_window], ends[:-1]))
    begin(next(groups))
    used, end = 0, 0  # of the window that was entered last
    for batch in batches:
        used += len(batch)
        while used > end and ends:
            end = ends.pop(0)
            following = next(groups, None)
            if following is not None:
                begin(following)
        yield batch
