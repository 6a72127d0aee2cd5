"""Bundles at an address: exact like local ones, whatever the server does."""

import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quire.artifacts import pieces
from quire.artifacts.errors import BundleError
from quire.loaders import address, remote
from quire.loaders.order import Shuffle
from quire.loaders.stream import stream
from quire.train.engine.runs import absolute
from tests.bundles import image_bundle, random_images

N = 23


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, badly where it is told to: `faults` maps a file to how, and how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, tuple[str, int]] = {}
        self.asked: list[str] = []
        self.sent = 0  # bytes of shards
        self.ranges = True  # whether parts of files are sent
        self.query = ""  # without which nothing is sent
        self.user = ""  # with a password
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.removeprefix("/").partition("?")
        name = unquote(path)
        file = self.server.folder / name
        self.server.asked.append(name)
        allowed = f"Basic {base64.b64encode(self.server.user.encode()).decode()}"
        if self.server.user and self.headers.get("Authorization") != allowed:
            self.answer(401, b"")
        elif query != self.server.query:
            self.answer(403, b"<html>" + b"no " * 500)
        elif name.startswith("moved/"):
            place = f"/{name.removeprefix('moved/')}"
            self.answer(302, b"", {"Location": place})
        elif not file.is_file():
            self.answer(404, b"")
        else:
            self.send(name, file.read_bytes())

    def send(self, name: str, body: bytes) -> None:
        fault, times = self.server.faults.get(name, ("", 0))
        if times:
            self.server.faults[name] = fault, times - 1
        else:
            fault = ""
        if fault == "refused":
            self.answer(503, b"")
            return
        if fault == "flipped":
            body = body[:600] + bytes([body[600] ^ 1]) + body[601:]
        status, headers = 200, {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            first, last = map(int, asked.groups())
            if fault == "other bytes":
                first, last = first + 1, last + 1
            if fault == "too much":
                last += 5
            status, headers = 206, {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
            body = body[first : last + 1] + b"more!" * (fault == "more than it says")
        if name.endswith(".tar"):
            self.server.sent += len(body)
        if fault == "short":  # an honest header for a body that ends early
            body = body[:1024]
        self.answer(status, body, headers, dropped=fault == "dropped")

    def answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        dropped: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1024] if dropped else body)
        self.close_connection = self.close_connection or dropped

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return random_images(N, (5, 4, 3))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "_PAUSE", 0)


@pytest.fixture
def server(
    tmp_path: Path,
    images: tuple[NDArray[np.uint8], NDArray[np.int64]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Server]:
    """Of 23 images in 4 shards, of pieces of two."""
    monkeypatch.setattr(pieces, "PIECE", 4096)
    image_bundle(tmp_path / "bundle", *images, samples_per_shard=6)
    with Server(tmp_path / "bundle") as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bundle is small, so all are fetched in pieces."""
    monkeypatch.setattr(remote, "_SMALL", 0)


PLACES = ["whole", "pieces"]


@pytest.fixture(params=PLACES)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How shards are fetched."""
    if request.param == "pieces":
        monkeypatch.setattr(remote, "_SMALL", 0)
    return str(request.param)


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["row"].tolist()]


def test_samples_are_those_of_the_folder(
    server: Server, way: str, images: tuple[NDArray[np.uint8], NDArray[np.int64]]
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
    server: Server, way: str, workers: int, world_size: int
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
    assert isinstance(batches._batches.shards, remote.WholeShards)
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
    ("world_size", "workers"), [(1, 0), (2, 0), pytest.param(1, 2, marks=pytest.mark.slow), (3, 2)]
)
def test_a_state_of_any_step_resumes_to_exactly_the_rest(
    server: Server, way: str, world_size: int, workers: int
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
