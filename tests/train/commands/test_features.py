"""`quire features` and the anchors that are chosen by what it wrote, as a user types them."""

from pathlib import Path

import numpy as np
import pytest

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.feature_table import read_features
from quire.train.classify.features import features


def status(*arguments: object) -> int:
    return quire.main(list(map(str, arguments)))


def test_anchors_are_chosen_by_the_features_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*arguments: object) -> str:
        assert status(*arguments) == 0
        return capsys.readouterr().out

    clean, run, table = tmp_path / "clean", tmp_path / "run", tmp_path / "features"
    digits = ("--source", "digits:", "--split", "train", "--workers", "0")
    said("build", "corrupted", *digits, "--corruptions", "--out", clean)
    short = ("--encoder", "resnet8", "--head", "linear", "--epochs", "1", "--no-tensorboard")
    said("train", "classify", "--data", clean, "--out", run, *short)
    assert str(table) in said("features", run, "--data", clean, "--out", table)
    found = read_features(open_bundle(table))
    own = np.concatenate([block for block, _, _ in features(run, str(clean))])
    assert np.array_equal(found.features, own)
    assert "sound" in said("verify", table)
    nearest = ("--strategy", "nearest", "--features", table, "--per-class", "2")
    said("build", "anchors", *digits, *nearest, "--out", tmp_path / "anchors")
    said("rebuild", tmp_path / "anchors", "--source", "digits:", "--features", table)
    assert len(open_bundle(tmp_path / "anchors").index) == 20


def test_what_cannot_be_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("features", tmp_path, "--data", tmp_path, "--out", tmp_path / "features") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "is no run" in said
