"""Reads that begin before they are needed."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from quire.loaders.held import Start
from quire.loaders.order import Positions, Rows


def ahead_of(
    batches: Sequence[Rows],
    windows: Sequence[Positions],
    plan: Callable[[Rows], Sequence[Start]],
) -> Iterator[Rows]:
    """The same batches, each once reads have begun of what comes up to a window later.

    The reads of the first window begin at the start, and those of every other in step with the use
    of the one before it. So two windows are under way at a time.

    Args:
        batches: the rows of each.
        windows: of each row of each batch, the number of its window.
        plan: how the reads of a window are begun.
    """
    rows, numbers = np.concatenate(batches), np.concatenate(windows)
    by_window = np.argsort(numbers, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(numbers[by_window])) + 1, len(rows)).tolist()
    groups = iter(np.split(rows[by_window], ends[:-1]))
    starts = plan(next(groups))  # of the window that follows the current one
    coming = deque(starts)  # of these, what has not begun
    used, begin, end = 0, 0, 0  # of the current window
    for batch in batches:
        used += len(batch)
        while used > end and ends:  # the window that follows is needed now
            while coming:
                coming.popleft()()
            begin, end = end, ends.pop(0)
            group = next(groups, None)
            starts = [] if group is None else plan(group)
            coming = deque(starts)
        due = len(starts) * (used - begin) // max(1, end - begin)
        while coming and len(starts) - len(coming) < due:
            coming.popleft()()
        yield batch
