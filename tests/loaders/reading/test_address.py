"""Bundles at an address: exact like local ones, whatever the server does."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quire.artifacts.errors import BundleError
from quire.loaders.order import Shuffle
from quire.loaders.reading import remote
from quire.loaders.stream import Stream, stream
from quire.train.engine.runs import absolute
from tests.loaders.conftest import N
from tests.loaders.served import Server
from tests.loaders.streams import shards_of


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["row"].tolist()]


def ranks_of(server: Server, world_size: int, workers: int, batch_size: int) -> list[Stream]:
    options: dict[str, Any] = {"shuffle": True, "world_size": world_size, "workers": workers}
    return [
        stream(server.address, batch_size=batch_size, rank=rank, **options)
        for rank in range(world_size)
    ]


def test_samples_are_those_of_the_folder(
    server: Server, way: str, served_images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    seen = []
    for batch in stream(server.address, batch_size=4, shuffle=True):
        wanted = batch["row"].numpy()
        assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), served_images[0][wanted])
        assert np.array_equal(batch["label"].numpy(), served_images[1][wanted])
        seen += wanted.tolist()
    assert sorted(seen) == list(range(N))
    assert rows(stream(server.address, batch_size=4)) == list(range(N))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 3])
def test_an_epoch_gives_each_sample_once_and_each_rank_as_many_batches(
    server: Server, way: str, workers: int, world_size: int
) -> None:
    epochs = [list(rank) for rank in ranks_of(server, world_size, workers, 2)]
    assert sorted(row for epoch in epochs for row in rows(epoch)) == list(range(N))
    assert len({len(epoch) for epoch in epochs}) == 1


@pytest.mark.parametrize("shuffle", [False, True, "full", Shuffle(block=512, window=4096)])
@pytest.mark.parametrize("world_size", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_the_run_from_an_address_is_the_run_from_the_folder(
    server: Server, way: str, shuffle: Any, world_size: int
) -> None:
    """The same batches, and the state of one goes on in the other."""
    for rank in range(world_size):
        options: dict[str, Any] = {"batch_size": 2, "shuffle": shuffle, "seed": 3}
        options |= {"rank": rank, "world_size": world_size}
        here, there = (stream(place, **options) for place in (server.folder, server.address))
        pairs = [*zip(here, there, strict=True)]
        for one, other in pairs:
            assert torch.equal(one["row"], other["row"])
            assert torch.equal(one["image"], other["image"])
        first = iter(there)
        next(first)
        here.load_state_dict(there.state_dict())
        assert rows(first) == rows(here)


def test_a_bundle_is_fetched_once_for_all_epochs(server: Server) -> None:
    batches = stream(server.address, batch_size=4, shuffle=True)
    server.asked.clear()
    for _ in range(3):
        assert sorted(rows(batches)) == list(range(N))
    assert sorted(server.asked) == [f"test-{i:06d}.tar" for i in range(4)]


BLOCKS = Shuffle(block=4096, window=16_384)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("world_size", [1, 2])
def test_a_rank_fetches_the_pieces_of_its_share_and_little_more(
    server: Server, world_size: int
) -> None:
    """A piece that two ranks have a part of comes twice."""
    sent = []
    for rank in range(world_size):
        batches = stream(
            server.address, batch_size=2, shuffle=BLOCKS, rank=rank, world_size=world_size
        )
        server.sent = 0
        list(batches)
        sent.append(server.sent)
    whole = sum(path.stat().st_size for path in server.folder.glob("*.tar"))
    assert sum(sent) <= (1 if world_size == 1 else 1.9) * whole
    assert max(sent) < whole or world_size == 1


@pytest.mark.usefixtures("large")
def test_a_server_without_parts_sends_whole_shards_once(server: Server) -> None:
    server.ranges = False
    batches = stream(server.address, batch_size=4, shuffle=BLOCKS)
    assert isinstance(shards_of(batches), remote.WholeShards)
    server.asked.clear()
    for _ in range(2):
        assert sorted(rows(batches)) == list(range(N))
    assert sorted(server.asked) == [f"test-{i:06d}.tar" for i in range(4)]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("fault", ["other bytes", "too much", "more than it says"])
def test_other_bytes_than_were_asked_for_are_an_error_and_not_used(
    server: Server, fault: str
) -> None:
    name = "test-000001.tar"
    batches = stream(server.address, batch_size=4)
    server.faults[name] = fault, 2
    assert rows(batches) == list(range(N))
    server.faults[name] = fault, 1000
    with pytest.raises(BundleError, match=rf"{name} cannot be fetched \(the server sends"):
        list(batches)
    server.faults.clear()
    assert rows(batches) == list(range(N))


@pytest.mark.usefixtures("large")
def test_a_shard_that_changes_in_the_midst_of_an_epoch_is_an_error(server: Server) -> None:
    batches = stream(server.address, batch_size=2, shuffle=BLOCKS)
    running = iter(batches)
    seen = rows([next(running)])
    server.faults = {f"test-{i:06d}.tar": ("flipped", 1000) for i in range(4)}
    with pytest.raises(BundleError, match=r"tar is damaged in bytes 0 to 4,096"):
        for _ in range(2):
            seen += rows(running)
            running = iter(batches)


@pytest.mark.parametrize(
    "make",
    [
        lambda s: s.address.replace("http", "HTTP"),
        lambda s: s.address + "/",
        lambda s: s.address + "/moved",
        lambda s: f"simplecache::{s.address}",
    ],
    ids=["capitals", "a slash", "redirected", "chained"],
)
@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_addresses_as_people_have_them(server: Server, make: Any, way: str) -> None:
    assert rows(stream(make(server), batch_size=4)) == list(range(N))


def test_names_with_spaces(server: Server, way: str) -> None:
    server.folder.rename(server.folder.parent / "my bundle")
    server.folder = server.folder.parent
    assert rows(stream(f"{server.address}/my bundle", batch_size=4)) == list(range(N))
    assert rows(stream(f"{server.address}/my%20bundle", batch_size=4)) == list(range(N))


def test_a_query_goes_with_every_file_and_is_shown_to_nobody(server: Server, way: str) -> None:
    server.query = "sv=2026&sig=s3cret"
    signed = f"{server.address}?{server.query}"
    batches = stream(signed, batch_size=4)
    assert rows(batches) == list(range(N))
    assert "s3cret" not in json.dumps(batches.state_dict())
    with pytest.raises(BundleError) as caught:
        stream(server.address)
    assert str(caught.value) == (
        f"{server.address}/manifest.json cannot be had: the server answers 403 Forbidden"
    )
    (server.folder / "test-000001.tar").unlink()
    with pytest.raises(BundleError) as caught:
        list(stream(signed, batch_size=4))
    assert str(caught.value) == f"{server.address}/test-000001.tar is missing"


def test_a_password_is_sent_and_shown_to_nobody(server: Server, way: str) -> None:
    server.user = "me:p@ss w0rd"
    place = server.address.removeprefix("http://")
    secret = f"http://me:{quote('p@ss w0rd')}@{place}"
    assert rows(stream(secret, batch_size=4)) == list(range(N))
    server.faults = {"test-000001.tar": ("refused", 1000)}
    for wrong in (secret, secret.replace("w0rd", "wrong")):
        with pytest.raises(BundleError) as caught:
            list(stream(wrong, batch_size=4))
        assert "me:" not in str(caught.value) and "w0rd" not in str(caught.value)
        assert "wrong" not in str(caught.value)
    assert "401 Unauthorized" in str(caught.value)


def test_where_data_was_is_recorded_without_secrets() -> None:
    assert absolute("https://me:pw@host/bundle?sig=1") == "https://host/bundle"


@pytest.mark.parametrize(
    ("world_size", "workers"),
    [(2, 0), *(pytest.param(*one, marks=pytest.mark.slow) for one in ((1, 0), (1, 2), (3, 2)))],
)
def test_a_state_of_any_step_resumes_to_exactly_the_rest(
    server: Server, way: str, world_size: int, workers: int
) -> None:
    stopped = ranks_of(server, world_size, workers, 4)
    used: set[int] = set()
    for step, batches in enumerate(zip(*stopped, strict=True)):
        used |= set(rows(batches))
        state = stopped[-1].state_dict()
        assert all(rank.state_dict() == state for rank in stopped)
        resumed = ranks_of(server, 1 + step % 3, 0, 4)
        for rank in resumed:
            rank.load_state_dict(state)
        left = set(range(N)) - used or set(range(N))  # nothing left: the next epoch
        assert sorted(row for rank in resumed for row in rows(rank)) == sorted(left)


@pytest.mark.parametrize("fault", ["short", "dropped", "flipped", "refused"])
@pytest.mark.parametrize("name", ["test-000001.tar", "index.h5"])
def test_a_fault_that_passes_is_mended_and_one_that_stays_names_the_file(
    server: Server, way: str, fault: str, name: str
) -> None:
    server.faults[name] = fault, 2
    assert rows(stream(server.address, batch_size=4)) == list(range(N))
    server.faults[name] = fault, 100
    with pytest.raises(BundleError, match=name):
        list(stream(server.address, batch_size=4))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_missing_shard_is_an_error_and_not_a_shorter_epoch(server: Server, workers: int) -> None:
    (server.folder / "test-000002.tar").unlink()
    with pytest.raises(BundleError, match=r"test-000002\.tar is missing"):
        list(stream(server.address, batch_size=4, workers=workers))


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be fetched"):
        stream("http://127.0.0.1:9/bundle")
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        stream(f"file://{tmp_path}/none")
    with pytest.raises(BundleError, match="no-such-protocol"):
        stream("no-such-protocol://bundle")


def test_another_fsspec_address_reads_as_well(server: Server) -> None:
    assert rows(stream(f"file://{server.folder}", batch_size=4)) == list(range(N))
