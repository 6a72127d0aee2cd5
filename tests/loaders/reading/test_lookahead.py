"""Reads begin before they are needed, and not much before."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.loaders.order import Rows, Shuffle
from quire.loaders.reading.lookahead import ahead_of
from quire.loaders.reading.windows import Windows
from quire.loaders.stream import stream
from tests.loaders.indexes import made_index
from tests.loaders.served import Server


class Reads:
    """What has begun."""

    def __init__(self, parts: int) -> None:
        self.begun: list[int] = []
        self.cut = parts

    def begin(self, rows: Rows) -> None:
        self.begun += rows.tolist()

    def parts(self, rows: Rows) -> int:
        return self.cut


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 9), st.integers(1, 3))
def test_all_of_a_batch_has_begun_and_at_most_two_windows_more(
    batch_sizes: list[int], window: int, parts: int
) -> None:
    rows = np.arange(sum(batch_sizes))
    ends = np.cumsum([0, *batch_sizes]).tolist()
    batches = [rows[start:stop] for start, stop in itertools.pairwise(ends)]
    seen: list[int] = []
    reads = Reads(parts)
    for batch in ahead_of(batches, [batch // window for batch in batches], reads):
        seen += batch.tolist()
        assert {*seen} <= {*reads.begun}
        last = max(0, len(seen) - 1) // window
        assert len(reads.begun) <= (last + 2) * window
    assert seen == reads.begun == rows.tolist()


def test_samples_that_lie_apart_take_no_more_memory_than_neighbours() -> None:
    """Each takes whole pages; their window is cut in so many parts."""
    index = made_index([40_000], np.full(40_000, 700))
    windows = Windows(index, [], lambda read, slot: None, threads=1)
    assert windows.parts(np.arange(10_000)) == 1
    assert windows.parts(np.arange(0, 40_000, 4)) == 2


@pytest.mark.usefixtures("large")
def test_of_few_samples_at_an_address_few_pieces_are_in_memory(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wanted sample is half of its piece, and takes a page more: windows are cut in two."""
    wanted = range(0, 23, 4)
    shuffle = Shuffle(block=4096, window=4 * 2048)
    batches = stream(server.address, rows=wanted, shuffle=shuffle, batch_size=1)
    sizes = []
    begin = Windows.begin

    def noted(self: Windows, rows: Rows) -> None:
        sizes.append(len(rows))
        begin(self, rows)

    monkeypatch.setattr(Windows, "begin", noted)
    assert sorted(row for batch in batches for row in batch["row"].tolist()) == [*wanted]
    assert len(batches._batches.order(0).windows) == 3 and max(sizes) <= 2
