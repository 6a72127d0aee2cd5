"""What was fetched once is not fetched again, and nothing that is broken is used."""

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import quire
from quire.artifacts.errors import BundleError
from quire.loaders.order import Shuffle
from quire.loaders.reading import remote
from quire.loaders.reading.cache import CACHE, LIMIT, Cache, cache_of, content, is_cache
from quire.loaders.stream import stream
from tests.loaders.conftest import N
from tests.loaders.served import Server
from tests.processes import started

BLOCKS = Shuffle(block=4096, window=16_384)


def rows(batches: Any) -> list[int]:
    return [row for batch in batches for row in batch["row"].tolist()]


def files(folder: Path) -> list[Path]:
    return sorted((folder / "sha256").glob("*/*"))


def shards(server: Server) -> list[str]:
    """Of what was asked for since the last time."""
    asked = [name for name in server.asked if name.endswith(".tar")]
    server.asked.clear()
    return asked


@pytest.mark.parametrize("shuffle", [False, BLOCKS])
def test_what_one_stream_fetched_another_takes_from_the_cache(
    server: Server, way: str, shuffle: Any, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = rows(stream(server.address, batch_size=4, shuffle=shuffle, cache=cache))
    assert shards(server)
    batches = stream(server.address, batch_size=4, shuffle=shuffle, cache=cache)
    assert rows(batches) == first
    assert not shards(server)
    assert len(files(cache)) == (4 if way == "whole" else 12)
    assert content(cache).bytes == sum(p.stat().st_size for p in server.folder.glob("*.tar"))


@pytest.mark.parametrize("change", ["cut", "changed"])
def test_what_is_damaged_in_the_cache_is_fetched_again(
    server: Server, way: str, change: str, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    assert rows(stream(server.address, batch_size=4, cache=cache)) == list(range(N))
    for path in files(cache):
        body = path.read_bytes()
        path.write_bytes(body[:700] + (b"?" + body[701:] if change == "changed" else b""))
    shards(server)
    assert rows(stream(server.address, batch_size=4, cache=cache)) == list(range(N))
    assert shards(server)
    sound = Cache(cache, None)
    assert all(sound.open(path.name, path.stat().st_size) is not None for path in files(cache))


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 10_000, 30_000])
def test_a_limit_is_kept_and_an_epoch_is_exact(
    server: Server, way: str, limit: int, tmp_path: Path
) -> None:
    """However little is kept: what is needed now is in memory."""
    batches = stream(
        server.address, batch_size=4, shuffle=BLOCKS, cache=tmp_path / "cache", cache_bytes=limit
    )
    for _ in range(2):
        assert sorted(rows(batches)) == list(range(N))
        assert content(tmp_path / "cache").bytes <= limit


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 3_000)
    names = [f"{number:064x}" for number in range(5)]
    for number, name in enumerate(names):
        cache.put(name, memoryview(bytes(700)))
        path = tmp_path / "cache" / "sha256" / name[:2] / name
        os.utime(path, (number, number if number else 100))  # the first was used since
    assert [path.name for path in files(tmp_path / "cache")] == [names[0], *names[3:]]


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_process_that_is_killed_leaves_nothing_broken(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    process = started(_fetch_slowly, server.address, cache)
    until = time.monotonic() + 60
    while len(files(cache)) < 3:
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    sound = Cache(cache, None)
    assert all(sound.open(path.name, path.stat().st_size) is not None for path in files(cache))
    assert rows(stream(server.address, batch_size=4, cache=cache)) == list(range(N))


def _fetch_slowly(address: str, cache: Path) -> None:
    remote._SMALL = 0
    put = Cache.put

    def slowly(self: Cache, digest: str, data: memoryview) -> None:
        put(self, digest, data)
        time.sleep(0.2)

    Cache.put = slowly  # type: ignore[method-assign]
    list(stream(address, batch_size=4, shuffle=BLOCKS, cache=cache))


def test_a_disk_that_is_full_ends_caching_and_no_epoch(
    server: Server, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match=r"nothing more is cached in .* \(.*No space left"):
        batches = stream(server.address, batch_size=4, cache=tmp_path / "cache")
        assert rows(batches) == list(range(N))
    assert rows(batches) == list(range(N))
    assert sorted(os.listdir(tmp_path / "cache")) == ["CACHEDIR.TAG", "sha256"]
    assert not files(tmp_path / "cache")


def test_a_folder_that_cannot_be_one_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no cache, and not empty"):
        stream(server.address, cache=server.folder)
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        stream(server.address, cache=tmp_path / "file" / "cache")
    with pytest.raises(BundleError, match="QUIRE_CACHE_BYTES is 'lots', and must be a number"):
        cache_of(tmp_path / "cache", None, {CACHE: "", LIMIT: "lots"})


def test_the_environment_says_what_nobody_else_does(tmp_path: Path) -> None:
    assert cache_of(None, None, {}) is None
    found = cache_of(None, None, {CACHE: str(tmp_path / "c"), LIMIT: "5"})
    assert found is not None and (found.folder, found.limit) == (tmp_path / "c", 5)
    found = cache_of(tmp_path / "d", 7, {CACHE: str(tmp_path / "c"), LIMIT: "5"})
    assert found is not None and (found.folder, found.limit) == (tmp_path / "d", 7)


def test_show_says_how_much_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Cache(tmp_path / "cache", None).put("ab" * 32, memoryview(bytes(1200)))
    assert is_cache(tmp_path / "cache")
    assert quire.main(["show", str(tmp_path / "cache")]) == 0
    assert capsys.readouterr().out.endswith("a cache of what was fetched: 1 files, 1,200 bytes\n")
