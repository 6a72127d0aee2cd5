"""Who gets which sample: every sample exactly once, whatever the layout."""

from hypothesis import given
from hypothesis import strategies as st

from quire.loaders.sampler import global_batches, part, slice_ranges, total

samples = st.integers(0, 200)
batch = st.integers(1, 9)
world = st.integers(1, 5)


@given(samples, batch, world)
def test_global_batches_cover_every_position_once_and_leave_no_rank_without(
    n: int, batch_size: int, world_size: int
) -> None:
    spans = list(
        global_batches(0, n, batch_size=batch_size, world_size=world_size, drop_last=False)
    )
    assert [i for start, stop in spans for i in range(start, stop)] == list(range(n))
    assert len(spans) == -(-n // (batch_size * world_size))
    for number, (start, stop) in enumerate(spans):
        assert stop - start <= batch_size * world_size
        parts = [part(start, stop, number=r, parts=world_size) for r in range(world_size)]
        assert [i for a, b in parts for i in range(a, b)] == list(range(start, stop))
        assert max(b - a for a, b in parts) <= batch_size
        lonely = len(spans) == 1 or batch_size == 1
        if not (number == len(spans) - 1 and lonely):
            assert min(b - a for a, b in parts) >= 1


@given(samples, batch, world)
def test_dropping_the_last_leaves_only_full_batches(
    n: int, batch_size: int, world_size: int
) -> None:
    spans = list(global_batches(0, n, batch_size=batch_size, world_size=world_size, drop_last=True))
    full = batch_size * world_size
    assert spans == [(i * full, (i + 1) * full) for i in range(n // full)]


@given(samples, batch, world, st.data())
def test_what_is_left_after_any_batch_is_cut_as_before(
    n: int, batch_size: int, world_size: int, data: st.DataObject
) -> None:
    spans = list(
        global_batches(0, n, batch_size=batch_size, world_size=world_size, drop_last=False)
    )
    used = data.draw(st.integers(0, len(spans)))
    start = spans[used - 1][1] if used else 0
    again = global_batches(start, n, batch_size=batch_size, world_size=world_size, drop_last=False)
    assert list(again) == spans[used:]


ranges = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5).map(
    lambda pairs: [(start, start + length) for start, length in pairs]
)


@given(ranges, st.integers(0, 60), st.integers(0, 60))
def test_slicing_ranges_is_slicing_their_positions(
    spans: list[tuple[int, int]], start: int, length: int
) -> None:
    laid_out = [i for a, b in spans for i in range(a, b)]
    found = slice_ranges(spans, start, start + length)
    assert [i for a, b in found for i in range(a, b)] == laid_out[start : start + length]
    assert total(found) == len(laid_out[start : start + length])
