"""What the doctor says is true, is of use, and tells nobody where or whose it is."""

import fcntl
import getpass
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

import quire
from quire.artifacts.sharing.pull import pull
from quire.train.report import doctor as doctors
from quire.train.report.doctor import doctor
from tests.bundles import image_bundle, random_images
from tests.loaders.served import Server
from tests.serving import serving


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    image_bundle(tmp_path / "bundle", *random_images(23, (5, 4, 3)), samples_per_shard=6)
    return tmp_path / "bundle"


def told(bundle: str | Path | None) -> Sequence[str]:
    return [*doctor(bundle, seconds=0.05)]


def test_it_says_what_the_machine_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert quire.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert f"numpy {np.__version__}, torch {torch.__version__.partition('+')[0]}" in said
    assert f"Python {platform.python_version()}" in said and platform.machine() in said
    assert "GiB of memory" in said and "GPU" in said
    assert said.splitlines()[-1][0] in "n-"


def test_it_says_what_a_bundle_is_and_how_fast_it_is_read(bundle: Path) -> None:
    said = "\n".join(told(bundle))
    assert "plain, format 2, in a folder; each sample has .cls, .ppm" in said
    assert "23 samples in 4 shards" in said and "free on its disk" in said
    assert "samples/s; the first batch after" in said and "MB/s, one after the other" in said
    assert "its images are raw: nothing is decoded" in said


def test_it_names_no_path_user_or_host(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    pull(bundle, damaged)
    (damaged / "test-000001.tar").write_bytes(b"short")
    lines = [line for place in (bundle, damaged, tmp_path / "none") for line in told(place)]
    said = "\n".join(lines)
    assert "cannot be read: test-000001.tar has 5 bytes; the manifest says" in said
    assert "no such folder" in said and "`quire verify` names every file" in said
    for secret in (str(tmp_path), platform.node(), str(Path.home())):
        assert secret not in said
    if getpass.getuser() not in ("root", "user"):
        assert getpass.getuser() not in said


def test_a_bundle_at_an_address_is_not_named(bundle: Path) -> None:
    with serving(Server(bundle)) as server:
        said = "\n".join(told(f"{server.address}/"))
        assert "plain, format 2, at an address" in said and "samples/s" in said
        assert "127.0.0.1" not in said
        said = "\n".join(told(f"http://me:pw@127.0.0.1:{server.server_port}/none"))
        assert "cannot be read: manifest.json is missing" in said
        assert "127.0.0.1" not in said and "pw" not in said


@pytest.mark.parametrize(("work", "what"), [(".building", "build"), (".pulling", "pull")])
def test_what_was_stopped_is_told_from_what_runs(tmp_path: Path, work: str, what: str) -> None:
    folder = tmp_path / "b"
    (folder / work).mkdir(parents=True)
    with (folder / work / "lock").open("w") as lock:
        said = told(folder)
        assert f"- a {what} was stopped here; the same command again goes on with it" in said
        assert "no bundle: there is no manifest" in said
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = told(folder)
        assert f"{work}: another process works here now" in said
        assert not any("was stopped" in line for line in said)


def test_it_says_what_to_do(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctors, "processors", lambda: 64)
    monkeypatch.setattr(doctors, "memory", lambda: 1000)
    monkeypatch.setenv("OMP_NUM_THREADS", "128")
    advice = [line for line in told(bundle) if line.startswith("- ")]
    assert advice[0] == "- OMP_NUM_THREADS is 128, but there are 64 processors"
    assert any(line.startswith("- fewer shards (4) than processors (64)") for line in advice)
    assert any("larger than memory" in line for line in advice)


def test_a_part_is_said_to_be_one(bundle: Path, tmp_path: Path) -> None:
    pull(bundle, tmp_path / "part", choose=lambda index: [0])
    assert "a part: 3 shards are absent by intention" in told(tmp_path / "part")


def test_compressed_images_are_timed_alone(tmp_path: Path) -> None:
    assert (
        quire.main(
            [
                *("build", "scenes", "--source", "shapes:12?size=64x48"),
                *("--out", str(tmp_path / "scenes"), "--workers", "0"),
            ]
        )
        == 0
    )
    said = "\n".join(told(tmp_path / "scenes"))
    assert "decoding alone:" in said and "of that time" in said
    assert os.sep + "scenes" not in said
