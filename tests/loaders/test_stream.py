"""Streaming: every sample exactly once, in any layout, and from any state."""

import multiprocessing
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quire.artifacts import pieces
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.loaders import batches as loading
from quire.loaders import stream as module
from quire.loaders.order import Blocks, Shuffle
from quire.loaders.reading import folder, mapped
from quire.loaders.reading.folder import Folder
from quire.loaders.stream import Stream, stream
from tests.bundles import image_bundle, random_images, write_bundle
from tests.loaders.streams import shards_of

N = 23


@pytest.fixture(scope="module")
def images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return random_images(N, (5, 4, 3))


@pytest.fixture(scope="module")
def bundle(
    tmp_path_factory: pytest.TempPathFactory, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> Path:
    folder = tmp_path_factory.mktemp("stream") / "bundle"
    image_bundle(folder, *images, samples_per_shard=6)
    return folder


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["row"].tolist()]


def test_batches_hold_the_images_and_labels_of_their_rows(
    bundle: Path, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    for batch in stream(bundle, batch_size=4, shuffle=True):
        wanted = batch["row"].numpy()
        assert batch["image"].dtype == torch.uint8
        assert batch["image"].shape == (len(wanted), 3, 5, 4)
        assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), images[0][wanted])
        assert np.array_equal(batch["label"].numpy(), images[1][wanted])


def test_keys_follow_from_rows(bundle: Path) -> None:
    batches = stream(bundle, batch_size=N, shuffle=True)
    batch = next(iter(batches))
    assert batches.keys(batch["row"]) == [f"{row:08d}" for row in batch["row"].tolist()]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("batch_size", [1, pytest.param(2, marks=pytest.mark.slow), 4, 30])
def test_an_epoch_gives_each_sample_once_and_each_rank_as_many_batches(
    bundle: Path, workers: int, world_size: int, batch_size: int
) -> None:
    ranks = [
        stream(
            bundle,
            batch_size=batch_size,
            shuffle=True,
            rank=rank,
            world_size=world_size,
            workers=workers,
        )
        for rank in range(world_size)
    ]
    for _ in range(2):
        epochs = [list(rank) for rank in ranks]
        assert sorted(row for epoch in epochs for row in rows(epoch)) == list(range(N))
        assert {len(epoch) for epoch in epochs} == {len(ranks[0])}
        assert all(len(batch["row"]) <= batch_size for epoch in epochs for batch in epoch)


def test_ranks_together_see_the_global_batches_of_one_rank(bundle: Path) -> None:
    alone = list(stream(bundle, batch_size=6, shuffle=True))
    pair = [stream(bundle, batch_size=3, shuffle=True, rank=r, world_size=2) for r in range(2)]
    for whole, first, second in zip(alone, *pair, strict=True):
        assert whole["row"].tolist() == first["row"].tolist() + second["row"].tolist()


def test_the_order_changes_with_epoch_and_seed_and_not_with_workers(bundle: Path) -> None:
    def epochs(**options: Any) -> list[list[int]]:
        batches = stream(bundle, batch_size=4, shuffle=True, **options)
        return [rows(batches) for _ in range(2)]

    first = epochs()
    assert first[0] != first[1]
    assert epochs(seed=1) != first
    assert epochs(workers=2) == first
    assert rows(stream(bundle, batch_size=4)) == list(range(N))
    fourth = stream(bundle, batch_size=4, shuffle=True)
    fourth.set_epoch(1)
    assert rows(fourth) == first[1]


def ranks_of(bundle: Path, world_size: int, workers: int, batch_size: int) -> list[Stream]:
    options: dict[str, Any] = {"shuffle": True, "world_size": world_size, "workers": workers}
    return [
        stream(bundle, batch_size=batch_size, rank=rank, **options) for rank in range(world_size)
    ]


def stopped_at_every_step(ranks: list[Stream]) -> Iterator[tuple[set[int], dict[str, Any]]]:
    """What all ranks together have used before each step of an epoch, and the state there."""
    used: set[int] = set()
    yield set(), ranks[0].state_dict()
    for batches in zip(*ranks, strict=True):
        used |= set(rows(batches))
        states = [rank.state_dict() for rank in ranks]
        assert all(state == states[0] for state in states)
        yield set(used), states[0]


@pytest.mark.parametrize("workers", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
@pytest.mark.parametrize(
    "world_size", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3))]
)
def test_a_state_of_any_step_resumes_to_exactly_the_rest(
    bundle: Path, world_size: int, workers: int
) -> None:
    stopped = stopped_at_every_step(ranks_of(bundle, world_size, workers, 2))
    for step, (used, state) in enumerate(stopped):
        for others in (1, 2, 3):
            resumed = ranks_of(bundle, others, int(others == 1 + step % 3), 2)
            for rank in resumed:
                rank.load_state_dict(state)
            first = [rows(rank) for rank in resumed]
            left = set(range(N)) - used or set(range(N))  # nothing left: the next epoch
            assert sorted(row for found in first for row in found) == sorted(left)


def test_a_stopped_stream_and_one_that_ran_through_agree_on_every_later_batch(bundle: Path) -> None:
    through = stream(bundle, batch_size=4, shuffle=True, seed=3)
    expected = [rows([batch]) for _ in range(3) for batch in through]
    for stop in range(len(expected)):
        first = stream(bundle, batch_size=4, shuffle=True, seed=3)
        taken = 0
        while taken <= stop:
            for _ in first:
                taken += 1
                if taken > stop:
                    break
        second = stream(bundle, batch_size=4, shuffle=True, seed=3)
        second.load_state_dict(first.state_dict())
        rest = [rows([batch]) for _ in range(3) for batch in second]
        assert rest[: len(expected) - taken] == expected[taken:]


def test_a_state_of_something_else_is_refused_by_name(bundle: Path, tmp_path: Path) -> None:
    image_bundle(tmp_path / "other", *random_images(N, (5, 4, 3), seed=1), samples_per_shard=6)
    state = stream(bundle, shuffle=True).state_dict()
    for field, other in {
        "bundle": stream(tmp_path / "other", shuffle=True),
        "seed": stream(bundle, shuffle=True, seed=1),
        "order": stream(bundle),
        "rows": stream(bundle, shuffle=True, select={"label": [1, 2, 3]}),
    }.items():
        with pytest.raises(ValueError, match=f"the state has {field}"):
            other.load_state_dict(state)


def test_drop_last_gives_full_batches_alone(bundle: Path) -> None:
    batches = stream(bundle, batch_size=5, shuffle=True, drop_last=True)
    assert [len(batch["row"]) for batch in batches] == [5] * 4
    assert len(batches) == 4


def test_a_selection_holds_the_rows_with_these_values(
    bundle: Path, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    labels = images[1]
    some = rows(stream(bundle, select={"label": [2, 5]}, batch_size=3, shuffle=True))
    assert sorted(some) == np.flatnonzero(np.isin(labels, [2, 5])).tolist()
    one = rows(stream(bundle, select={"label": int(labels[0])}, batch_size=3))
    assert one == np.flatnonzero(labels == labels[0]).tolist()
    with pytest.raises(BundleError, match="no sample of the bundle fits"):
        stream(bundle, select={"label": 77})
    with pytest.raises(BundleError, match="there is no column 'sigma' here; there are: label"):
        stream(bundle, select={"sigma": 1})
    with pytest.raises(BundleError, match="there is no column 'key'"):
        stream(bundle, columns=["key"])


def test_named_rows_come_in_their_order_and_no_others(bundle: Path) -> None:
    wanted = [7, 3, 22, 0, 11]
    assert rows(stream(bundle, rows=wanted, batch_size=2)) == wanted
    mixed = stream(bundle, rows=wanted, batch_size=2, shuffle=True)
    assert sorted(rows(mixed)) == sorted(wanted)
    with pytest.raises(ValueError, match="has rows"):
        stream(bundle, rows=[7, 3]).load_state_dict(mixed.state_dict())
    for wrong in ([], [-1], [N]):
        with pytest.raises(ValueError, match=r"some of 0\.\.22"):
            stream(bundle, rows=wrong)
    with pytest.raises(ValueError, match="without select"):
        stream(bundle, rows=[1], select={"label": 1})


def test_what_makes_no_sense_is_refused(bundle: Path) -> None:
    with pytest.raises(ValueError, match="rank is 2"):
        stream(bundle, rank=2, world_size=2)
    with pytest.raises(ValueError, match="batch_size is 0"):
        stream(bundle, batch_size=0)
    with pytest.raises(BundleError, match="of split 'test', not 'train'"):
        stream(bundle, split="train")


def test_fewer_samples_than_ranks_give_the_others_an_empty_batch(tmp_path: Path) -> None:
    image_bundle(tmp_path / "b", *random_images(2, (5, 4, 1)), samples_per_shard=6)
    epochs = [list(rank) for rank in ranks_of(tmp_path / "b", 3, 0, 4)]
    assert [len(epoch) for epoch in epochs] == [1, 1, 1]
    assert sorted(row for epoch in epochs for row in rows(epoch)) == [0, 1]
    empty = next(epoch[0] for epoch in epochs if not len(epoch[0]["row"]))
    assert empty["image"].shape == (0, 1, 5, 4)


def test_images_that_differ_in_size_come_as_a_list(tmp_path: Path) -> None:
    sizes = [(2, 3), (4, 1), (3, 2)]  # the first and the last have as many bytes
    files = [b"P6\n%d %d\n255\n" % (w, h) + bytes(range(h * w * 3)) for h, w in sizes]
    columns = {"label": np.arange(3)}
    write_bundle(tmp_path / "b", list("abc"), {"ppm": files}, columns, samples_per_shard=3)
    (batch,) = stream(tmp_path / "b")
    assert [tuple(image.shape) for image in batch["image"]] == [(3, h, w) for h, w in sizes]
    assert batch["image"][1].permute(1, 2, 0).reshape(-1).tolist() == list(range(12))


def test_equal_byte_sizes_with_other_shapes_are_an_error_and_not_garbage(tmp_path: Path) -> None:
    files = [b"P6\n%d %d\n255\n" % (w, h) + bytes(18) for h, w in [(2, 3), (3, 2)]]
    columns = {"label": np.arange(2)}
    write_bundle(tmp_path / "b", list("ab"), {"ppm": files}, columns, samples_per_shard=2)
    with pytest.raises(BundleError, match=r"b\.ppm has another size than other images"):
        list(stream(tmp_path / "b"))


def test_the_batches_arrive_on_the_device(bundle: Path) -> None:
    for batch in stream(bundle, batch_size=4, device="cpu", shuffle=True):
        assert batch["image"].device.type == "cpu"
    assert rows(stream(bundle, batch_size=4, device="cpu")) == list(range(N))
    assert rows(stream(bundle, batch_size=4, device="cpu", workers=2)) == list(range(N))


BLOCKS = Shuffle(block=512, window=4096)  # 1,536 bytes a sample: the samples of a window are few


def test_the_batches_of_blocks_are_those_of_their_order(bundle: Path) -> None:
    index = open_bundle(bundle).index
    order = Blocks(index, np.arange(N), BLOCKS, 4)
    batches = stream(bundle, batch_size=4, shuffle=BLOCKS, seed=4)
    for epoch in range(2):
        assert rows(batches) == order(epoch).rows.tolist()
    assert len(order(0).windows) > 5
    with pytest.raises(ValueError, match="the state has order 'shuffled'"):
        batches.load_state_dict(stream(bundle, shuffle=True, seed=4).state_dict())
    with pytest.raises(ValueError, match="shuffle is 'blocks'; it must be True, False, \"full\""):
        stream(bundle, shuffle="blocks")  # type: ignore[arg-type]


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is in the page cache, as far as the loaders know."""
    monkeypatch.setattr(folder, "in_memory", lambda addresses: False)


@pytest.mark.usefixtures("cold")
def test_what_is_read_in_windows_is_checked_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in another piece than the damage is delivered, and what is in it is not."""
    monkeypatch.setattr(pieces, "PIECE", 4096)
    image_bundle(tmp_path / "b", *random_images(30, (5, 4, 3)), samples_per_shard=30)
    (shard,) = (tmp_path / "b").glob("*.tar")
    whole = bytearray(shard.read_bytes())
    whole[15 * 2048 + 600] ^= 1
    shard.write_bytes(whole)
    batches = stream(tmp_path / "b", batch_size=1, shuffle=Shuffle(block=512, window=2048))
    assert len(rows(batches)) == 30  # as nobody looked
    checked = stream(
        tmp_path / "b",
        batch_size=1,
        shuffle=Shuffle(block=512, window=2048),
        verify=True,
    )
    seen: list[int] = []
    with pytest.raises(BundleError, match=r"test-000000\.tar is damaged in bytes [\d,]+ to [\d,]+"):
        seen += (int(batch["row"]) for batch in checked)
    assert 15 not in seen
    assert len(rows(stream(tmp_path / "b", rows=[0, 1, 29], shuffle=True, verify=True))) == 3


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("shuffle", [True, "full", BLOCKS])
@pytest.mark.parametrize("world_size", [1, 3])
def test_what_is_not_in_memory_is_read_to_the_same_batches(
    bundle: Path,
    images: tuple[NDArray[np.uint8], NDArray[np.int64]],
    shuffle: Any,
    world_size: int,
    direct: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder, "_CACHED", 0 if direct else 0.75)
    seen = []
    for rank in range(world_size):
        batches = stream(
            bundle, batch_size=4, shuffle=shuffle, seed=1, rank=rank, world_size=world_size
        )
        shards = shards_of(batches)
        assert isinstance(shards, Folder) and shards.direct == direct
        for _ in range(2):
            for batch in batches:
                wanted = batch["row"].numpy()
                assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), images[0][wanted])
                seen += wanted.tolist()
            assert shards._windows is not None and not shards._windows.open
    assert sorted(seen) == sorted([*range(N)] * 2)


@pytest.mark.usefixtures("cold")
def test_an_epoch_that_is_left_and_one_beside_it_take_nothing_from_the_next(
    bundle: Path, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    batches = stream(bundle, batch_size=3, shuffle=BLOCKS)
    left = iter(batches)
    next(left)
    for batch in [*batches, *left, *batches]:
        pixels = batch["image"].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(pixels, images[0][batch["row"].numpy()])


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_shard_that_is_gone_is_named_and_no_epoch_is_shorter(
    damage: str, tmp_path: Path, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    image_bundle(tmp_path / "b", *images, samples_per_shard=6)
    batches = stream(tmp_path / "b", batch_size=4, shuffle=BLOCKS)
    shard = tmp_path / "b" / "test-000002.tar"
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(BundleError, match=r"test-000002\.tar (is missing|has \d+ bytes)"):
        list(batches)


def test_raw_images_start_no_worker_processes(bundle: Path) -> None:
    """They would take sixteen times as long through them."""
    before = {process.pid for process in multiprocessing.active_children()}
    batches = stream(bundle, batch_size=4, shuffle=True, workers=8)
    list(batches)
    assert batches._batches._loader is None
    assert {process.pid for process in multiprocessing.active_children()} <= before


def test_more_shards_than_a_process_may_open_files(tmp_path: Path) -> None:
    count = 300
    image_bundle(tmp_path / "b", *random_images(count, (5, 4, 1)), samples_per_shard=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/dev/fd"))
    batches = stream(tmp_path / "b", batch_size=50, shuffle=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        kept = [batch["image"] for batch in batches]
        assert sum(len(images) for images in kept) == count
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_shards_than_may_be_mapped_at_a_time(
    bundle: Path,
    images: tuple[NDArray[np.uint8], NDArray[np.int64]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mapped, "_MOST", 2)
    for batch in stream(bundle, batch_size=2, shuffle=True):
        pixels = batch["image"].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(pixels, images[0][batch["row"].numpy()])


def test_a_window_that_does_not_fit_in_memory_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "memory_in_use", lambda: 1000)
    monkeypatch.setattr(module, "memory", lambda: 3 * 4096 + 1000)
    list(stream(bundle, shuffle=BLOCKS))
    monkeypatch.setattr(module, "memory", lambda: 3 * 4096 + 999)
    list(stream(bundle, shuffle=BLOCKS, rank=1, world_size=2))  # of which a rank has half
    list(stream(bundle, shuffle=True))  # which is in one window
    with pytest.raises(BundleError, match=r"windows of 4,096 bytes needs 12,288 bytes of memory"):
        stream(bundle, shuffle=BLOCKS)


def encoded(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """The images as PNG files, which have to be decoded."""
    files = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images]
    keys = [f"{i:08d}" for i in range(len(files))]
    write_bundle(folder, keys, {"png": files}, {"label": labels}, samples_per_shard=6)


@pytest.mark.parametrize("free", [1 << 40, 1 << 10])
def test_where_shared_memory_is_small_threads_decode(
    tmp_path: Path,
    images: tuple[NDArray[np.uint8], NDArray[np.int64]],
    free: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded(tmp_path / "b", *images)
    monkeypatch.setattr(loading, "free_shared_memory", lambda: free)
    batches = stream(tmp_path / "b", batch_size=4, shuffle=True, workers=2)
    for _ in range(2):
        for batch in batches:
            pixels = batch["image"].permute(0, 2, 3, 1).numpy()
            assert np.array_equal(pixels, images[0][batch["row"].numpy()])
    assert (batches._batches._loader is None) == (free < 1 << 20)
    assert batches._batches.reader.threads == (2 if free < 1 << 20 else 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_give_the_same_batches(
    tmp_path: Path, images: tuple[NDArray[np.uint8], NDArray[np.int64]], workers: int
) -> None:
    encoded(tmp_path / "b", *images)
    here = stream(tmp_path / "b", batch_size=4, shuffle=BLOCKS)
    there = stream(tmp_path / "b", batch_size=4, shuffle=BLOCKS, workers=workers)
    for _ in range(2):
        for one, other in zip(here, there, strict=True):
            assert torch.equal(one["row"], other["row"])
            assert torch.equal(one["image"], other["image"])
            assert here.state_dict() == there.state_dict()
