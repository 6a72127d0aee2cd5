"""Bundles at an address: exact like local ones, whatever the server does."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quire.artifacts.errors import BundleError
from quire.loaders.order import Shuffle
from quire.loaders.stream import stream
from tests.bundles import image_bundle, random_images

N = 23


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, badly where it is told to: `faults` maps a file to how, and how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, tuple[str, int]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        path = self.server.folder / name
        self.server.asked.append(name)
        if not path.is_file():
            self.send_error(404)
            return
        body = path.read_bytes()
        fault, times = self.server.faults.get(name, ("", 0))
        if times:
            self.server.faults[name] = fault, times - 1
        else:
            fault = ""
        if fault == "refused":
            self.send_error(503)
            return
        if fault == "flipped":
            body = bytes([body[0] ^ 1]) + body[1:]
        length = len(body)
        if fault == "short":  # an honest header for a body that ends early
            body = body[:1024]
            length = 1024
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body[:1024] if fault == "dropped" else body)
        if fault == "dropped":
            self.close_connection = True

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return random_images(N, (5, 4, 3))


@pytest.fixture
def server(tmp_path: Path, images: tuple[NDArray[np.uint8], NDArray[np.int64]]) -> Iterator[Server]:
    image_bundle(tmp_path / "bundle", *images, samples_per_shard=6)
    with Server(tmp_path / "bundle") as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["row"].tolist()]


def test_samples_are_those_of_the_folder(
    server: Server, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> None:
    seen = []
    for batch in stream(server.address, batch_size=4, shuffle=True):
        wanted = batch["row"].numpy()
        assert np.array_equal(batch["image"].permute(0, 2, 3, 1).numpy(), images[0][wanted])
        assert np.array_equal(batch["label"].numpy(), images[1][wanted])
        seen += wanted.tolist()
    assert sorted(seen) == list(range(N))
    assert rows(stream(server.address, batch_size=4)) == list(range(N))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 3])
def test_an_epoch_gives_each_sample_once_and_each_rank_as_many_batches(
    server: Server, workers: int, world_size: int
) -> None:
    epochs = [
        list(
            stream(
                server.address,
                batch_size=2,
                shuffle=True,
                rank=rank,
                world_size=world_size,
                workers=workers,
            )
        )
        for rank in range(world_size)
    ]
    assert sorted(row for epoch in epochs for row in rows(epoch)) == list(range(N))
    assert len({len(epoch) for epoch in epochs}) == 1


@pytest.mark.parametrize("shuffle", [False, True, "full", Shuffle(block=512, window=4096)])
@pytest.mark.parametrize("world_size", [1, 3])
def test_the_run_from_an_address_is_the_run_from_the_folder(
    server: Server, shuffle: Any, world_size: int
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


@pytest.mark.parametrize(
    ("world_size", "workers"), [(1, 0), (2, 0), pytest.param(1, 2, marks=pytest.mark.slow), (3, 2)]
)
def test_a_state_of_any_step_resumes_to_exactly_the_rest(
    server: Server, world_size: int, workers: int
) -> None:
    def ranks(count: int, worked_by: int) -> list[Any]:
        return [
            stream(
                server.address,
                batch_size=2,
                shuffle=True,
                rank=rank,
                world_size=count,
                workers=worked_by,
            )
            for rank in range(count)
        ]

    stopped = ranks(world_size, workers)
    used: set[int] = set()
    for step, batches in enumerate(zip(*stopped, strict=True)):
        used |= set(rows(batches))
        state = stopped[-1].state_dict()
        assert all(rank.state_dict() == state for rank in stopped)
        resumed = ranks(1 + step % 3, 0)
        for rank in resumed:
            rank.load_state_dict(state)
        left = set(range(N)) - used or set(range(N))  # nothing left: the next epoch
        assert sorted(row for rank in resumed for row in rows(rank)) == sorted(left)


@pytest.mark.parametrize("fault", ["short", "dropped", "flipped", "refused"])
@pytest.mark.parametrize("name", ["test-000001.tar", "index.h5"])
def test_a_fault_that_passes_is_mended_and_one_that_stays_names_the_file(
    server: Server, fault: str, name: str
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
