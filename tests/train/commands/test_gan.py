"""GANs as a user types it: images, their bins, a run, and what comes of it."""

from pathlib import Path

import pytest

import quire
from quire.train.engine.metrics import read_metrics
from tests.train.engine.test_ranks import torchrun

TRAIN = [
    *("--width", "2", "--latent", "4", "--iterations", "4", "--measure-every", "2"),
    *("--batch-size", "16", "--samples", "40", "--log-every", "1", "--no-tensorboard"),
    *("--device", "cpu"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spots in `images`, and their bins in `bins`."""
    folder = tmp_path_factory.mktemp("gan")
    where = ["--source", "modes:100", "--split", "train", "--workers", "0"]
    images = [*where, "--corruptions", "--out", str(folder / "images")]
    assert quire.main(["build", "corrupted", *images]) == 0
    bins = [*where, "--bins", "8", "--restarts", "1", "--out", str(folder / "bins")]
    assert quire.main(["build", "bins", *bins]) == 0
    return folder


def data(place: Path) -> list[str]:
    return ["--data", str(place / "images")]


@pytest.mark.parametrize(
    "options",
    [
        ["--discriminator", "vanilla"],
        ["--discriminator", "minibatch", "--minibatch.kernels", "3", "--minibatch.include-self"],
        ["--graph.edge", "concat", "--graph.heads", "2"],
    ],
)
def test_a_run_is_trained_measured_and_shown(
    options: list[str], place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, bins = str(tmp_path / "run"), str(place / "bins")
    command = ["train", "gan", *data(place), "--bins", bins, "--out", run, *TRAIN, *options]
    assert quire.main(command) == 0
    assert quire.main(command) == 0
    said = capsys.readouterr().out
    assert said.count(": trained; 4 steps, NDB/K") == 1 and said.count("was trained before") == 1
    assert "(floor 0.05)" in said and "nats" in said
    assert quire.main(["evaluate", run, str(place / "images"), "--data", bins]) == 0
    said = capsys.readouterr().out
    assert "NDB/K" in said and "bins reached" in said


def test_without_bins_there_are_the_losses_and_the_grids(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "gan", *data(place), "--out", str(tmp_path / "run"), *TRAIN]
    assert quire.main(command) == 0
    said = capsys.readouterr().out
    assert "trained; 4 steps, mean outputs of the discriminator" in said and "NDB" not in said
    assert len([*(tmp_path / "run/samples").iterdir()]) == 2


def test_what_is_wrong_is_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    images, bins = str(place / "images"), str(place / "bins")
    for wrong, message in {
        ("--data", images, "--bins", images): "bins",
        ("--data", bins): "no sample of the bundle",
        ("--data", images, "--size", "64"): "images of 32x32; the run wants 64",
        ("--data", images, "--iterations", "5"): "no multiple of measure_every",
        ("--data", images, "--discriminator", "vanilla", "--graph.heads", "2"): "graph is given",
    }.items():
        assert quire.main(["train", "gan", *wrong, "--out", run, *TRAIN[:4], *TRAIN[6:]]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
        assert not Path(run).exists()


@pytest.mark.slow
def test_torchrun_trains_one_run(place: Path, tmp_path: Path) -> None:
    command = [
        *("-m", "quire", "train", "gan", *data(place), "--bins", str(place / "bins")),
        *("--out", str(tmp_path / "run"), *TRAIN),
    ]
    done = torchrun(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained; 4 steps") == 1
    lines = read_metrics(tmp_path / "run")
    assert [line["step"] for line in lines if "ndb" in line] == [2, 4]
    again = torchrun(*command)
    assert again.returncode == 0 and again.stdout.count("was trained before") == 1
