"""A bundle reaches other people and machines: the commands as one types them, on real stores."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

import quire
from quire.artifacts import address as addresses
from tests.artifacts.sharing.hub_server import REPOSITORY, TOKEN, HubServer
from tests.builders.engine.test_source_read_once import write_images
from tests.loaders.served import Server
from tests.same_folder import assert_same
from tests.serving import serving

BUILD = ("build", "corrupted", "--source", "digits:", "--workers", "0")
FEW = ("--corruptions", "contrast", "gaussian_noise", "--severities", "1", "3")
SECRETS = ("hidden-key-id", "hidden-secret")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharing") / "bundle"
    assert quire.main([*BUILD, "--out", str(folder), *FEW]) == 0
    return folder


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A store of the S3 protocol on this machine, and the user's environment for it."""
    server_of = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    told = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": SECRETS[0],
        "AWS_SECRET_ACCESS_KEY": SECRETS[1],
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in told.items():
            patched.setenv(name, value)
        patched.setattr(addresses, "_PAUSE", 0)
        fsspec.filesystem("s3").mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture
def served(built: Path) -> Iterator[str]:
    """The bundle by HTTP."""
    with serving(Server(built)) as running:
        yield running.address


def ran(capfd: pytest.CaptureFixture[str], *command: str, status: int = 0) -> str:
    """What a command prints, which holds no secret."""
    capfd.readouterr()
    assert quire.main([*command]) == status
    said = "".join(capfd.readouterr())
    assert not any(secret in said for secret in SECRETS)
    return said


def test_a_bundle_goes_to_a_store_and_comes_back(
    built: Path, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = f"{bucket}/there/and/back"
    size = sum(path.stat().st_size for path in built.glob("*.[thR]*[!n]"))
    assert "would send 7 files" in ran(capfd, "push", str(built), there, "--dry-run")
    assert "sent 7 files" in ran(capfd, "push", str(built), there)
    assert "sent 0 files, 0 bytes; 7 files" in ran(capfd, "push", str(built), there)
    assert ran(capfd, "verify", there) == f"{there}: sound\n"
    assert "fetched 7 files" in ran(capfd, "pull", there, "--out", str(tmp_path / "here"))
    assert_same(built, tmp_path / "here")
    assert size > 0
    batches = quire.stream(there, select={"corruption": "contrast"}, batch_size=100)
    assert sum(len(batch["label"]) for batch in batches) == 720


def test_a_bundle_is_built_in_a_store(
    built: Path, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = f"{bucket}/built"
    build = ("build", "corrupted", "--source", "digits:", *FEW, "--out", there)
    assert "already there: 0 shards" in ran(capfd, *build, "--dry-run")
    assert f"{there}: 1,800 samples, 5 shards" in ran(capfd, *build, "--workers", "0")
    assert "already there: 5 shards" in ran(capfd, *build, "--dry-run")
    ran(capfd, "pull", there, "--out", str(tmp_path / "here"))
    assert_same(built, tmp_path / "here")
    assert not fsspec.filesystem("s3").find("bucket/built/.building")


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_source_in_a_store_is_built_into_it(
    workers: str, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing lies on a disk: neither the images, nor the bundle."""
    images = write_images(tmp_path / "images")
    fsspec.filesystem("s3").put(str(images), f"bucket/images{workers}", recursive=True)
    build = ("build", "corrupted", "--split", "all", *FEW)
    source, there = f"folder:{bucket}/images{workers}", f"{bucket}/from-images{workers}"
    ran(
        capfd,
        *build,
        "--source",
        f"folder:{images}",
        "--workers",
        "0",
        "--out",
        str(tmp_path / "here"),
    )
    ran(capfd, *build, "--source", source, "--workers", workers, "--out", there)
    ran(capfd, "pull", there, "--out", str(tmp_path / "back"))
    assert_same(tmp_path / "here", tmp_path / "back")
    assert "DIFFERENT" not in ran(capfd, "rebuild", there, "--source", source, "--shards", "99")
    said = ran(capfd, *build, "--source", f"{source}-none", "--out", f"{there}2", status=1)
    assert (
        said.count("\n") == 1 and f"in {bucket}/images{workers}-none; found no such folder" in said
    )


def test_nothing_of_a_store_is_in_what_was_shared(
    built: Path, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran(capfd, "push", str(built), f"{bucket}/plain")
    names = {path.rpartition("/")[2] for path in fsspec.filesystem("s3").find("bucket/plain")}
    assert names == set(os.listdir(built))
    for path in built.iterdir():
        stored = fsspec.filesystem("s3").cat_file(f"bucket/plain/{path.name}")
        assert stored == path.read_bytes()


def test_a_store_that_is_not_there_is_one_line(
    built: Path, bucket: str, capfd: pytest.CaptureFixture[str]
) -> None:
    said = ran(capfd, "push", str(built), "s3://no-such-bucket/b", status=1)
    assert said.startswith("quire: s3://no-such-bucket/b") and said.count("\n") == 1
    said = ran(capfd, "pull", f"{bucket}/nothing", "--out", "/nowhere", status=1)
    assert said == f"quire: {bucket}/nothing/manifest.json is missing\n"


def test_a_part_is_pulled_by_what_it_holds(
    built: Path, served: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = str(tmp_path / "here")
    said = ran(
        capfd, "pull", served, "--out", here, "--select", "corruption=contrast", "severity=1,3"
    )
    assert "fetched 4 files" in said and "absent by intention: test-clean-000000.tar" in said
    assert ran(capfd, "verify", here).splitlines()[0] == f"{here}: sound"
    streamed = quire.stream(here, select={"corruption": "contrast", "severity": [1, 3]})
    assert sum(len(batch["label"]) for batch in streamed) == 720
    with pytest.raises(quire.QuireError, match=r"lacks test-clean-000000\.tar"):
        quire.stream(here, select={"corruption": "clean"})
    assert "fetched 3 files" in ran(capfd, "pull", served, "--out", here)
    assert_same(built, tmp_path / "here")


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (["corruption"], "'corruption' selects nothing: NAME=VALUE, or NAME=VALUE,VALUE"),
        (["corruption=fog"], "no sample of the bundle fits {'corruption': ['fog']}"),
        (["weather=fog"], "there is no column 'weather' here"),
        (["severity=high"], "the column 'severity' has numbers, and no 'high'"),
    ],
)
def test_a_selection_that_makes_no_sense_is_one_line(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], select: list[str], said: str
) -> None:
    here = str(tmp_path / "here")
    printed = ran(capfd, "pull", str(built), "--out", here, "--select", *select, status=1)
    assert printed.startswith(f"quire: {said}") and printed.count("\n") == 1


def test_a_gigabyte_travels_as_a_recipe(
    built: Path, served: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here, like = str(tmp_path / "here"), str(tmp_path / "like")
    said = ran(capfd, "pull", served, "--out", here, "--derive", "digits:", "--workers", "0")
    assert "made 5 shards here" in said and "fetched 2 files" in said
    assert_same(built, tmp_path / "here")
    shutil.copyfile(built / "manifest.json", tmp_path / "supplement.json")
    alone = ("--like", str(tmp_path / "supplement.json"), "--source", "digits:")
    assert "5 shards" in ran(capfd, "build", *alone, "--out", like, "--workers", "0")
    assert_same(built, tmp_path / "like")
    said = ran(capfd, "build", "--like", str(tmp_path), "--out", like, status=1)
    assert said.startswith("quire: ") and said.count("\n") == 1


def test_a_signed_bundle_is_checked_wherever_it_goes(
    built: Path, bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH here")
    key, mine = tmp_path / "key", tmp_path / "bundle"
    shutil.copytree(built, mine)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "allowed").write_text(f"me@example.org {key.with_suffix('.pub').read_text()}")
    ran(capfd, "push", str(mine), f"{bucket}/signed")
    ran(capfd, "sign", str(mine), "--key", str(key))
    ran(capfd, "push", str(mine), f"{bucket}/signed")
    allowed = ("--allowed-signers", str(tmp_path / "allowed"))
    said = ran(capfd, "verify", f"{bucket}/signed", *allowed)
    assert said == f"{bucket}/signed: sound, signed by me@example.org\n"
    ran(capfd, "pull", f"{bucket}/signed", "--out", str(tmp_path / "here"))
    assert_same(mine, tmp_path / "here")
    said = ran(capfd, "verify", str(mine), *allowed, "--signer", "you@example.org", status=1)
    assert said == "manifest.json.sig: the manifest is not signed by you@example.org\n"
    said = ran(capfd, "verify", str(mine), "--signer", "me@example.org", status=1)
    assert said.startswith("quire: --signer wants --allowed-signers")


@pytest.mark.parametrize("command", ["push", "pull", "sign", "build"])
def test_help_says_how(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        quire.main([command, "--help"])
    assert end.value.code == 0
    wanted: dict[str, Any] = {
        "push": "--dry-run",
        "pull": "--derive",
        "sign": "--key",
        "build": "like",
    }
    assert wanted[command] in capfd.readouterr().out


def test_push_and_pull_need_none_of_the_heavy_imports(built: Path, tmp_path: Path) -> None:
    code = (
        "import sys, quire\n"
        "here, far, back = sys.argv[1:]\n"
        "assert quire.main(['push', here, far]) == 0\n"
        "assert quire.main(['pull', far, '--out', back]) == 0\n"
        "heavy = {'torch', 'dask', 'distributed', 'numba', 'cv2', 'scipy', 'matplotlib'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    places = (str(built), str(tmp_path / "far"), str(tmp_path / "back"))
    done = subprocess.run([sys.executable, "-c", code, *places], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # quiet when piped


def test_a_bundle_goes_to_the_hub_in_few_commits(built: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    with serving(HubServer()) as hub:
        told = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}

        def ran(*commands: Sequence[str]) -> list[str]:
            """What commands print, in one process that knows the stand-in as the Hub."""
            code = "import json, sys, quire\nfor one in json.loads(sys.argv[1]): quire.main(one)"
            done = subprocess.run(
                [sys.executable, "-c", code, json.dumps(commands)],
                env={**os.environ, **told},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert TOKEN not in done.stdout
            return done.stdout.splitlines()

        there = f"hf://datasets/{REPOSITORY}"
        push = ("push", str(built), there)
        (first,) = ran(push)
        assert "sent 7 files" in first
        assert {n: d for n, d in hub.files.items() if n != ".gitattributes"} == {
            path.name: path.read_bytes() for path in built.iterdir()
        }
        assert len(hub.commits) == 5  # the note, the files, SHA256SUMS, the manifest, no note
        assert hub.commits[3] == ["manifest.json"]
        elsewhere = (*push[:2], "hf://datasets/someone/else")
        again, back, refused = ran(
            push, ("pull", there, "--out", str(tmp_path / "here")), elsewhere
        )
        assert "sent 0 files" in again and "fetched 7 files" in back
        assert_same(built, tmp_path / "here")
        assert "there is no such repository for you; create it first" in refused
