"""Every command takes a bundle at an address, and tells nobody the secrets of one."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import quire
from quire.artifacts import address
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.verify import verify
from quire.train.classify.evaluate import Measured, evaluate
from quire.train.classify.training import train
from tests.feature_bundles import features_of
from tests.loaders.served import Server
from tests.serving import serving
from tests.train.learnable import PROXY, QUICK, RUNNING, learnable_bundle
from tests.train.segmentation import small as segmentation
from tests.train.sparse import small as sparse

PASSWORD, SIGNATURE = "p4ssw0rd", "s1gn4ture"
SPARSE = ["--epochs", "1", "--batch-size", "8", "--initialisations", "he_normal"]
ATTACK = ["--population", "5", "--generations", "1", "--pixel-images", "2", "--step", "0.3"]
SMALL = ["--corruptions", "contrast", "--severities", "2", "--workers", "0"]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A folder `served`, which wants a password and a signature."""
    monkeypatch.setattr(address, "_PAUSE", 0)
    (tmp_path / "served").mkdir()
    with serving(Server(tmp_path / "served")) as running:
        running.user, running.query = f"me:{PASSWORD}", f"sig={SIGNATURE}"
        yield running


def at(server: Server, name: str) -> str:
    """The address of a bundle in the served folder, with all that it takes to read it."""
    return f"http://me:{PASSWORD}@127.0.0.1:{server.server_port}/{name}?sig={SIGNATURE}"


def ran(capfd: pytest.CaptureFixture[str], *command: str, status: int = 0) -> str:
    """What a command prints, which holds no secret."""
    assert quire.main([*command]) == status
    said = "".join(capfd.readouterr())
    assert not holds_secret(said.encode())
    return said


def holds_secret(text: bytes) -> bool:
    return PASSWORD.encode() in text or SIGNATURE.encode() in text


@pytest.fixture
def digits(served: Server) -> Path:
    """A served bundle of corrupted digits."""
    folder = served.folder / "digits"
    assert (
        quire.main(["build", "corrupted", "--source", "digits:", "--out", str(folder), *SMALL]) == 0
    )
    return folder


def test_a_bundle_is_looked_at_as_in_its_folder(
    served: Server, digits: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    there = at(served, "digits")
    capfd.readouterr()
    assert ran(capfd, "verify", there) == f"http://127.0.0.1:{served.server_port}/digits: sound\n"
    shown = ran(capfd, "show", there, "--png", str(tmp_path / "a.png"))
    assert shown == ran(capfd, "show", str(digits), "--png", str(tmp_path / "b.png"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    audit = ("--source", "digits:", "--shards", "9")
    assert ran(capfd, "rebuild", there, *audit) == ran(capfd, "rebuild", str(digits), *audit)
    ran(capfd, "show", there, "--html", str(tmp_path / "page.html"))
    assert not holds_secret((tmp_path / "page.html").read_bytes())


def test_samples_are_read_from_pieces_or_else_from_whole_shards(
    served: Server, digits: Path
) -> None:
    near, far = open_bundle(digits), open_bundle(at(served, "digits"))
    served.asked.clear()
    rows = (0, 400, len(near.index) - 1)
    assert [far.read(row) for row in rows] == [near.read(row) for row in rows]
    assert served.sent < sum(shard.bytes for shard in near.manifest.shards)
    served.ranges = False
    assert [far.read(row) for row in rows] == [near.read(row) for row in rows]


def test_what_is_wrong_at_an_address_is_named(
    served: Server, digits: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shard = digits / "test-contrast-2-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"x")
    capfd.readouterr()
    there = at(served, "digits")
    said = ran(capfd, "verify", there, status=1)
    where = f"bytes 524,288 to {len(whole):,}"
    assert said == f"{shard.name}: damaged: its digest is not the recorded one; in {where}\n"
    assert [str(one) for one in verify(digits)] == said.splitlines()
    shard.write_bytes(whole[:-512])
    assert {one.file for one in verify(there)} == {shard.name}
    shard.unlink()
    assert [str(one) for one in verify(there)] == [f"{shard.name}: missing"]
    (digits / MANIFEST).unlink()
    assert str(verify(there)[0]) == f"{MANIFEST}: missing: the bundle is not complete"
    for command in ("verify", "show"):
        assert MANIFEST in ran(capfd, command, there, status=1)
    assert "nothing/manifest.json is missing" in ran(capfd, "show", at(served, "nothing"), status=1)


def test_a_build_reads_further_bundles_from_an_address(
    served: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = quire.open_source("digits:", split="test")
    features_of(served.folder / "features", source)
    command = ["build", "anchors", "--source", "digits:", "--split", "test", "--per-class", "2"]
    command += ["--strategy", "nearest", "--workers", "0"]
    for out, features in (
        ("near", str(served.folder / "features")),
        ("far", at(served, "features")),
    ):
        ran(capfd, *command, "--features", features, "--out", str(tmp_path / out))
    near, far = (
        {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}
        for out in ("near", "far")
    )
    assert near == far and not any(map(holds_secret, far.values()))
    audit = ("rebuild", str(tmp_path / "far"), "--source", "digits:")
    assert "DIFFERENT" not in ran(capfd, *audit, "--features", at(served, "features"))
    wrong = ["build", "anchors", "--source", "digits:", "--split", "train", "--per-class", "2"]
    wrong += ["--strategy", "nearest", "--workers", "0", "--out", str(tmp_path / "wrong")]
    assert "features has features of" in ran(
        capfd, *wrong, "--features", at(served, "features"), status=1
    )


@pytest.mark.slow
def test_networks_are_trained_and_attacked_from_addresses(
    served: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sparse.bundles(served.folder)
    given = ["--data", at(served, "train"), "--graphs", at(served, "graphs")]
    command = ["train", "sparse", *given, *SPARSE, "--test", at(served, "test")]
    run = tmp_path / "run"
    assert "macro-F1 (%)" in ran(capfd, *command, "--out", str(run), "--no-tensorboard")
    attack = ["attack", str(run), "--data", at(served, "test"), *ATTACK]
    assert "epsilon" in ran(capfd, *attack)
    assert not any(holds_secret(path.read_bytes()) for path in run.rglob("*") if path.is_file())
    sparse.bundles(tmp_path / "others")
    other = ["train", "sparse", *given, *SPARSE, "--out", str(tmp_path / "other")]
    assert "is missing" in ran(capfd, *other, "--test", at(served, "none"), status=1)


@pytest.mark.slow
def test_contexts_and_anchors_are_read_from_addresses(served: Server, tmp_path: Path) -> None:
    """What was measured with them is what is measured with the folders."""
    for name, seed in (("train", 0), ("test", 1), ("anchors", 2)):
        learnable_bundle(served.folder / name, images=40, seed=seed)

    def measured(run: Path, further: dict[str, Any]) -> list[Measured]:
        there: Any = {name: at(served, place) for name, place in further.items()}
        far = evaluate(run, at(served, "test"), **there)
        shutil.rmtree(run / "evaluations")
        near: Any = {name: str(served.folder / place) for name, place in further.items()}
        assert far == evaluate(run, str(served.folder / "test"), **near)
        assert not any(holds_secret(path.read_bytes()) for path in run.rglob("*.json"))
        return far

    graph, proxies = tmp_path / "graph", tmp_path / "proxies"
    train(QUICK, at(served, "train"), graph, running=RUNNING)
    assert len(measured(graph, {"context": "train"})) == 4
    given = at(served, "anchors")
    train(PROXY, at(served, "train"), proxies, anchors=given, running=RUNNING)
    assert measured(proxies, {"anchors": "anchors"})
    with pytest.raises(RunError, match=r"127\.0\.0\.1:\d+/test is not the bundle"):
        evaluate(graph, at(served, "train"), context=at(served, "test"))


def test_scenes_and_what_goes_with_them_are_read_from_addresses(
    served: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    segmentation.scenes(served.folder / "scenes")
    segmentation.cooccurrence(served.folder / "counts")
    command = ["train", "segment", "--trunk", "small", "--variant", "binding-cm", "--crop", "32"]
    command += ["--epochs", "1", "--denoising-epochs", "0", "--batch-size", "4", "--no-tensorboard"]
    given = ["--data", at(served, "scenes"), "--cooccurrence", at(served, "counts")]
    run = tmp_path / "run"
    ran(capfd, *command, *given, "--out", str(run))
    assert "mean IoU" in ran(capfd, "evaluate", str(run), "--data", at(served, "scenes"))
    assert not any(holds_secret(path.read_bytes()) for path in run.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_study_reads_bundles_that_others_built(
    served: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It builds what it was not given, and finds the same as if it had built all."""
    study = ["study", "mbsg-table3", "--no-tensorboard", "--seeds", "1"]
    built = ran(capfd, *study, "--out", str(tmp_path / "built"))
    made = sorted((tmp_path / "built" / "bundles").iterdir())
    for folder in made:
        shutil.copytree(folder, served.folder / folder.name)
    given = [at(served, folder.name) for folder in made]
    read = ran(capfd, *study, "--out", str(tmp_path / "read"), "--data", *given)
    assert not (tmp_path / "read" / "bundles").exists() and len(made) > 1
    tables = [tmp_path / name / "mbsg-table3-smoke" / "table.csv" for name in ("built", "read")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    files = (path for path in (tmp_path / "read").rglob("*") if path.is_file())
    assert not any(holds_secret(path.read_bytes()) for path in files)
    assert built.count("seed 0") == read.count("seed 0") > 0
    one = ran(capfd, *study, "--out", str(tmp_path / "one"), "--data", f"digits={given[0]}")
    assert "seed 0" in one and len(list((tmp_path / "one" / "bundles").iterdir())) == len(made) - 1
