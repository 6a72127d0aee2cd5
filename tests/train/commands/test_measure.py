"""Training, measuring and attacking many networks as a user types it."""

import csv
from pathlib import Path

import pytest

import quire
from tests.train.learnable import learnable_bundle
from tests.train.sparse.small import bundles
from tests.train.sparse.small_pruning import bundles as pruned_bundles

QUICK = ["--epochs", "2", "--batch-size", "8", "--initialisations", "he_normal", "uniform"]
SMALL = ["--population", "5", "--generations", "1", "--pixel-images", "3", "--step", "0.3"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    bundles(folder)
    assert train(folder, "run") == 0
    return folder


def train(place: Path, run: str, *options: str) -> int:
    where = ["--data", str(place / "train"), "--graphs", str(place / "graphs")]
    out = ["--out", str(place / run), "--no-tensorboard"]
    return quire.main(["train", "sparse", *where, *out, *QUICK, *options])


def test_networks_are_trained_measured_and_attacked(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = str(place / "test")
    assert train(place, "new", "--together", "4", "--test", test) == 0
    said = capsys.readouterr().out
    assert ": trained; 20 steps, " in said and "classified correctly" in said
    assert "macro-F1 (%)" in said and "he_normal" in said and "n networks" in said
    assert train(place, "new", "--together", "4") == 0
    assert "was trained before" in capsys.readouterr().out
    table = place / "table.csv"
    command = ["attack", str(place / "new"), "--data", test, *SMALL, "--csv", str(table)]
    assert quire.main(command) == 0
    said = capsys.readouterr().out
    assert "epsilon" in said and "pixel:" in said and "FGSM:" in said
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [line["number"] for line in lines] == list("012345")
    assert {line["initialisation"] for line in lines} == {"he_normal", "uniform"}


def test_evaluate_knows_a_run_of_many_networks(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = place / "measured.csv"
    command = ["evaluate", str(place / "run"), "--data", str(place / "test"), "--images", "5"]
    assert quire.main([*command, "--csv", str(table)]) == 0
    said = capsys.readouterr().out
    assert "10 images" in said and "macro-F1 (%)" in said
    assert [line["images"] for line in csv.DictReader(table.read_text().splitlines())] == ["10"] * 6


@pytest.mark.slow
def test_prunings_are_trained_measured_and_attacked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, prunings = pruned_bundles(tmp_path)
    run, test, table = str(tmp_path / "run"), str(tmp_path / "test"), tmp_path / "table.csv"
    command = ["train", "prune", "--data", data, "--prunings", str(prunings), "--out", run]
    quick = ["--epochs", "2", "--retrain", "1", "--batch-size", "8", "--no-tensorboard"]
    assert quire.main([*command, *quick, "--test", test]) == 0
    said = capsys.readouterr().out
    assert ": trained; 25 steps, " in said and "macro-F1 (%)" in said
    assert quire.main([*command, *quick]) == 0
    assert "was trained before" in capsys.readouterr().out
    assert quire.main(["attack", run, "--data", test, *SMALL, "--csv", str(table)]) == 0
    said = capsys.readouterr().out
    assert "initialisation" not in said
    assert [line.split()[0] for line in said.splitlines() if line[:1].isdigit()][:4] == list("0123")
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert [int(line["number"]) for line in lines] == list(range(12))
    assert {line["initialisation"] for line in lines} == {"he_normal"}
    assert quire.main(["evaluate", run, "--data", test, "--images", "5"]) == 0
    said = capsys.readouterr().out
    assert "10 images" in said and "step" in said
    assert quire.main([*command, *quick, "--retrain", "0"]) == 1
    assert capsys.readouterr().err == "quire: retrain is 0; it must be at least 1\n"


def test_what_is_wrong_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, test = str(place / "run"), str(place / "test")
    colour = str(learnable_bundle(place / "colour", channels=3))
    for arguments, message in (
        (["evaluate", run, run, "--data", test], "name one run"),
        (["evaluate", run, "--data", test, "--batch-size", "3"], "sparse networks know images"),
        (["evaluate", run, "--data", test, "--context", test], "no context and no anchors"),
        (["evaluate", run, "--data", colour], "images of 3 channels; the run's have 1"),
        (["attack", run, "--data", colour], "images of 3 channels; the run's have 1"),
        (["attack", str(place), "--data", test], "is no run: it has no run.json"),
        (["attack", run, "--data", test, "--step", "0"], "they must go up"),
        (["attack", run, "--data", str(place / "none")], "does not exist"),
        (["attack", run, "--data", test, "--images", "0"], "images is 0"),
    ):
        assert quire.main(arguments) == 1, arguments
        said = capsys.readouterr()
        assert message in said.err and said.err.count("\n") == 1 and not said.out
    assert train(place, "other", "--together", "0") == 1
    assert capsys.readouterr().err == "quire: together is 0; it must be at least 1\n"
    assert train(place, "train") == 1
    assert "holds no run of ours" in capsys.readouterr().err


def test_each_kind_of_run_has_its_attacks(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", str(place / "train"), "--out", str(place / "classifier")]
    small = ["--encoder", "resnet8", "--head", "linear", "--epochs", "1", "--batch-size", "40"]
    assert quire.main(["train", "classify", *command, *small, "--no-tensorboard"]) == 0
    capsys.readouterr()
    for run, kind in (("classifier", "networks"), ("run", "classifier")):
        words = ["attack", kind, str(place / run), "--data", str(place / "test")]
        assert quire.main(words) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "is a run of" in error, error


def test_help_has_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    for command, options in (
        (["train", "sparse"], ("graphs", "first", "together", "seeds", "test", "betas")),
        (["train", "prune"], ("prunings", "retrain", "betas", "test", "seed")),
        (
            ["attack", "networks"],
            ("attacks", "epsilon", "cap", "population", "pixel-images", "mutation"),
        ),
        (
            ["attack", "classifier"],
            ("images", "context", "simba.step", "simba.basis", "bandits.norm", "bandits.tile"),
        ),
    ):
        with pytest.raises(SystemExit) as end:
            quire.main([*command, "--help"])
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert all(f"--{option}" in said for option in options)
