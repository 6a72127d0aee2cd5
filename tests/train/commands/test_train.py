"""Training and measuring as a user types it."""

from pathlib import Path

import pytest

import quire
from tests.train.learnable import learnable_bundle

TRAIN = ["--encoder", "resnet8", "--epochs", "1", "--batch-size", "8", "--k", "3", "--width", "16"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    learnable_bundle(tmp_path / "train")
    learnable_bundle(tmp_path / "test", seed=1)
    return tmp_path


def train(place: Path, name: str, *options: str) -> int:
    where = ["--data", str(place / "train"), "--out", str(place / name), "--no-tensorboard"]
    return quire.main(["train", "classify", *where, *TRAIN, *options])


def test_two_seeds_are_trained_and_measured(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in ("0", "1"):
        assert train(place, seed, "--seed", seed, "--combine", "sum", "--attention") == 0
    assert train(place, "1", "--seed", "1", "--combine", "sum", "--attention") == 0
    said = capsys.readouterr().out
    assert said.count(": trained; 5 steps") == 2 and said.count("was trained before") == 1
    runs = [str(place / "0"), str(place / "1")]
    table = place / "table.csv"
    command = ["evaluate", *runs, "--data", str(place / "test"), "--csv", str(table)]
    assert quire.main(command) == 0
    said = capsys.readouterr().out
    assert "20 images a cell" in said and "over 2 seeds" in said
    assert "inductive" in said and "transductive" in said and "noise 2" in said
    assert len(table.read_text().splitlines()) == 5  # two cells in two settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--data", "x"], "no run is named"),
        (["evaluate", "nothing", "--data", "x"], "nothing is no run: it has no run.json"),
        (["train", "classify", "--data", "nothing", "--out", "run"], "nothing"),
        (["study", "mbsg-table3", "--sources", "cifar10"], "'cifar10' is not KIND:PATH"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert quire.main(arguments) == 1
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and not said.out
    assert not list(tmp_path.iterdir())


def test_a_field_out_of_range_is_told_in_a_sentence(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(place, "run", "--epochs", "0") == 1
    assert capsys.readouterr().err == "quire: epochs is 0; it must be at least 1\n"
    with pytest.raises(SystemExit) as left:  # as for a value that is no number
        train(place, "run", "--k", "-1")
    assert left.value.code == 2
    assert "k is -1; it must be at least 0" in " ".join(capsys.readouterr().err.split())
    assert not (place / "run").exists()
