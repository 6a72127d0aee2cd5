"""Reads begin before they are needed, and not much before."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quire.loaders.lookahead import ahead_of


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 9))
def test_all_of_a_batch_has_begun_and_at_most_two_windows_more(
    batch_sizes: list[int], window: int
) -> None:
    rows = np.arange(sum(batch_sizes))
    ends = np.cumsum([0, *batch_sizes]).tolist()
    batches = [rows[start:stop] for start, stop in itertools.pairwise(ends)]
    seen: list[int] = []
    begun: list[int] = []
    windows = [batch // window for batch in batches]
    for batch in ahead_of(batches, windows, lambda rows: begun.extend(rows.tolist())):
        seen += batch.tolist()
        assert {*seen} <= {*begun}
        last = max(0, len(seen) - 1) // window
        assert len(begun) <= (last + 2) * window
    assert seen == begun == rows.tolist()
