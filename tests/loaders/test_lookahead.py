"""Reads begin before they are needed, and not much before."""

import itertools
from collections.abc import Sequence
from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quire.loaders.held import Start
from quire.loaders.lookahead import ahead_of
from quire.loaders.order import Rows


class Reads:
    """Counts what has begun; a sample is a read."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.planned: list[int] = []

    def plan(self, rows: Rows) -> Sequence[Start]:
        self.planned += rows.tolist()
        return [partial(self.begun.append, row) for row in rows.tolist()]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 9))
def test_all_of_a_batch_has_begun_and_at_most_two_windows_more(
    batch_sizes: list[int], window: int
) -> None:
    rows = np.arange(sum(batch_sizes))
    ends = np.cumsum([0, *batch_sizes]).tolist()
    batches = [rows[start:stop] for start, stop in itertools.pairwise(ends)]
    reads = Reads()
    seen: list[int] = []
    for batch in ahead_of(batches, [batch // window for batch in batches], reads.plan):
        seen += batch.tolist()
        assert {*seen} <= {*reads.begun}
        last = max(0, len(seen) - 1) // window
        assert len(reads.begun) <= len(reads.planned) <= (last + 2) * window
    assert seen == rows.tolist()
    assert sorted(reads.begun) == rows.tolist()
