"""The order of an epoch: every sample once, in blocks, well mixed, and cheap for every rank."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.index import Index
from quire.artifacts.later import Even
from quire.loaders import order as module
from quire.loaders.batches import Layout, shares
from quire.loaders.order import (
    Blocks,
    Epoch,
    Order,
    Rows,
    Sequential,
    Shuffle,
    Uniform,
    extents,
    shuffled,
    stored_bytes,
)
from quire.loaders.reading.reads import reads_of
from quire.loaders.sampler import global_batches
from tests.loaders.indexes import made_index

KIB = 1 << 10


def raw_index(samples: int, per_shard: int = 4000) -> Index:
    """Images of 32 x 32: 3,600 bytes, 4,608 in a tar."""
    counts = [min(per_shard, samples - i) for i in range(0, samples, per_shard)]
    return made_index(counts, np.full(samples, 3600))


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    counts = draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    lengths = draw(
        st.lists(st.integers(0, 5000), min_size=sum(counts), max_size=sum(counts)).map(np.array)
    )
    return made_index(counts, lengths.astype(np.int64))


@given(indexes(), st.data())
def test_every_row_comes_once_whatever_the_shuffle(index: Index, data: st.DataObject) -> None:
    rows = np.array(data.draw(st.lists(st.integers(0, len(index) - 1), min_size=1, unique=True)))
    block = data.draw(st.integers(1, 20_000))
    shuffle = Shuffle(block=block, window=data.draw(st.integers(block, 100_000)))
    orders: list[Order] = [
        Sequential(index, rows),
        Uniform(index, rows, 5),
        Blocks(index, rows, shuffle, 5),
    ]
    for order in orders:
        for number in (0, 1):
            epoch = order(number)
            assert sorted(epoch.rows.tolist()) == sorted(rows.tolist())
            assert epoch.windows[0] == 0 and epoch.windows[-1] == len(rows)
            assert (np.diff(epoch.windows) > 0).all()
            again = order(number)
            assert np.array_equal(epoch.rows, again.rows)
    assert np.array_equal(orders[0](3).rows, rows)


@given(indexes(), st.data())
def test_a_window_is_of_whole_blocks_and_no_larger_than_it_says(
    index: Index, data: st.DataObject
) -> None:
    block = data.draw(st.integers(1, 20_000))
    shuffle = Shuffle(block=block, window=data.draw(st.integers(block, 60_000)))
    rows = np.arange(len(index))
    starts, ends = extents(index, rows)
    of_row = list(zip(index.shard.tolist(), (starts // block).tolist(), strict=True))
    epoch = Blocks(index, rows, shuffle, 0)(0)
    largest = max(
        sum(int(ends[r] - starts[r]) for r in group)
        for _, group in itertools.groupby(rows.tolist(), key=lambda row: of_row[row])
    )
    seen: set[tuple[int, int]] = set()
    for start, stop in itertools.pairwise(epoch.windows.tolist()):
        window = epoch.rows[start:stop]
        blocks = {of_row[row] for row in window.tolist()}
        assert not blocks & seen
        seen |= blocks
        assert stored_bytes(index, window) < shuffle.window + largest


def test_orders_change_with_epoch_and_seed() -> None:
    index = raw_index(300)
    for make in (
        lambda seed: Uniform(index, np.arange(300), seed),
        lambda seed: Blocks(index, np.arange(300), Shuffle(block=9 * KIB, window=200 * KIB), seed),
    ):
        orders = {tuple(make(seed)(epoch).rows.tolist()) for seed in (0, 1) for epoch in (0, 1)}
        assert len(orders) == 4


def test_what_fits_a_window_is_uniform_and_what_does_not_is_in_blocks() -> None:
    """By the bundle's own bytes: no machine has a say."""
    index, rows = raw_index(100), np.arange(100)
    size = stored_bytes(index, rows)
    assert isinstance(shuffled(index, rows, Shuffle(block=KIB, window=size), 0), Uniform)
    assert isinstance(shuffled(index, rows, Shuffle(block=KIB, window=size - 1), 0), Blocks)
    assert isinstance(shuffled(index, rows[:99], Shuffle(block=KIB, window=size - 1), 0), Uniform)
    assert isinstance(shuffled(index, rows, None, 0), Uniform)
    assert Shuffle().block == 1 << 20 and Shuffle().window == 1 << 28


def test_blocks_are_those_of_the_rows_however_they_are_named() -> None:
    index, shuffle = raw_index(200), Shuffle(block=9 * KIB, window=100 * KIB)
    rows = np.arange(0, 200, 3)
    mixed = np.random.default_rng(0).permutation(rows)
    one, other = (Blocks(index, some, shuffle, 0)(0).rows for some in (rows, mixed))
    assert np.array_equal(one, other)


@given(indexes(), st.integers(1, 20_000), st.integers(1, 9))
def test_rows_that_are_looked_at_in_parts_have_the_same_blocks(
    index: Index, block: int, part: int
) -> None:
    rows = np.arange(len(index))
    whole = module._blocks(index, rows, block)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_PART", part)
        parts = module._blocks(index, rows, block)
    assert all(np.array_equal(one, other) for one, other in zip(whole, parts, strict=True))
    starts, ends = extents(index, rows)
    keys = zip(index.shard.tolist(), (starts // block).tolist(), strict=True)
    groups = [[*group] for _, group in itertools.groupby(enumerate(keys), lambda pair: pair[1])]
    assert whole[0].tolist() == [*(group[0][0] for group in groups), len(rows)]
    assert whole[1].tolist() == [
        sum(int(ends[row] - starts[row]) for row, _ in group) for group in groups
    ]


def test_even_places_give_the_orders_that_arrays_of_them_give() -> None:
    index = raw_index(200, 60)
    name, offsets = next(iter(index.rows.offsets.items()))
    begins = np.searchsorted(index.shard, np.arange(index.shard[-1] + 1))
    first = int(offsets[0])
    stride = int(offsets[1]) - first
    even = Index(
        index.shard,
        replace(index.rows, offsets={name: Even(first, stride, index.shard, begins)}),
    )
    rows, shuffle = np.arange(0, 200, 3), Shuffle(block=9 * KIB, window=100 * KIB)
    assert np.array_equal(extents(index, rows), extents(even, rows))
    assert stored_bytes(index, rows) == stored_bytes(even, rows)
    one, other = (Blocks(some, rows, shuffle, 0)(0) for some in (index, even))
    assert np.array_equal(one.rows, other.rows) and np.array_equal(one.windows, other.windows)


@pytest.mark.parametrize("fields", [{"block": 0}, {"block": 2, "window": 1}, {"window": 0}])
def test_a_shuffle_that_makes_no_sense_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"block is \d+; it must be 1 to the window, \d"):
        Shuffle(**fields)


def batches_of(epoch: Epoch, batch_size: int, world_size: int) -> list[list[Rows]]:
    """The rows of every batch, of every rank."""
    spans = list(
        global_batches(
            0, len(epoch.rows), batch_size=batch_size, world_size=world_size, drop_last=False
        )
    )
    ranks = []
    for rank in range(world_size):
        left = np.arange(len(epoch.rows))
        own = shares(left, spans, epoch, Layout(batch_size, rank, world_size, 0, False))
        ranks.append([epoch.rows[left[slice(*span)]] for span in own])
    return ranks


@pytest.mark.parametrize(
    "world_size", [3, 63, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 7, 16, 48, 64))]
)
def test_a_rank_needs_little_more_than_its_own_share(world_size: int) -> None:
    """Counted in 256 KiB, as they are fetched: a fifth more at most, of windows of 256 MiB."""
    index, piece = raw_index(300_000), 1 << 18
    epoch = Blocks(index, np.arange(300_000), Shuffle(), 0)(0)
    starts, _ = extents(index, np.arange(len(index)))
    pieces = index.shard.astype(np.int64) * (1 << 20) + starts // piece
    everything = len(np.unique(pieces))
    window = np.searchsorted(epoch.windows, np.arange(len(index)), "right")
    in_window = np.empty(len(index), np.int64)
    in_window[epoch.rows] = window
    ranks = batches_of(epoch, 64, world_size)
    assert sorted(np.concatenate([np.concatenate(own) for own in ranks]).tolist()) == list(
        range(len(index))
    )
    assert {len(own) for own in ranks} == {len(ranks[0])}
    needed = []
    for own in ranks:
        rows = np.concatenate(own)
        needed.append(len(np.unique(pieces[rows] * 100 + in_window[rows])))
    assert max(needed) <= 1.2 * everything / world_size
    assert sum(needed) <= 1.2 * everything


def classes_in(batches: Sequence[Rows], labels: Rows) -> float:
    return float(np.mean([len(np.unique(labels[batch])) for batch in batches if len(batch) == 64]))


def test_batches_of_shards_sorted_by_class_are_as_mixed_as_at_random() -> None:
    """Of 100 classes, 64 images have 47.4 at random; all of one shard have one or two."""
    index = raw_index(200_000)
    labels = np.arange(200_000) * 100 // 200_000
    rows = np.arange(200_000)
    shuffle = Shuffle(block=1 << 18, window=1 << 26)  # a small window of 256 blocks
    means = {}
    orders: Mapping[str, Order] = {
        "blocks": Blocks(index, rows, shuffle, 0),
        "uniform": Uniform(index, rows, 0),
        "sequential": Sequential(index, rows),
    }
    for name, order in orders.items():
        means[name] = classes_in(batches_of(order(0), 64, 1)[0], labels)
    assert means["sequential"] < 1.1
    assert means["uniform"] == pytest.approx(47.4, abs=0.3)
    assert means["blocks"] > 45


def test_reads_are_few_and_long() -> None:
    """Of each window its blocks, and of a batch no more than its samples."""
    index = raw_index(100_000)
    shuffle = Shuffle(block=1 << 18, window=1 << 24)
    epoch = Blocks(index, np.arange(100_000), shuffle, 0)(0)
    start, stop = epoch.windows[3:5]
    reads = reads_of(index, epoch.rows[start:stop])
    assert len(reads) <= 66
    assert sum(read.stop - read.start for read in reads) == stored_bytes(
        index, epoch.rows[start:stop]
    )


def test_golden_orders() -> None:
    # Runs that were stopped under one release must resume to the same samples under the next.
    index = made_index([5, 7], np.full(12, 700))
    assert Uniform(index, np.arange(8), 3)(1).rows.tolist() == [3, 7, 2, 0, 6, 5, 1, 4]
    epoch = Blocks(index, np.arange(12), Shuffle(block=3 * KIB, window=9 * KIB), 3)(1)
    assert epoch.rows.tolist() == [0, 6, 11, 4, 1, 5, 10, 9, 3, 7, 8, 2]
    assert epoch.windows.tolist() == [0, 6, 12]
    index = raw_index(6000)
    epoch = Blocks(index, np.arange(6000), Shuffle(block=64 * KIB, window=4096 * KIB), 3)(1)
    digest = hashlib.sha256(epoch.rows.astype("<i8").tobytes()).hexdigest()
    assert digest == "09aa27c1a41fdaf2d49eafe151bf9cbbff0408581cce5596eb764d444abe35d0"
