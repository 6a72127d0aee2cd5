"""Accuracy on other images during training: measured, and without a part in what is learned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import quire
from quire.artifacts.errors import RunError
from quire.models.similarity_graph import GraphConfig
from quire.train.classify.baselines import SupConConfig
from quire.train.classify.evaluate import Evaluate, evaluate
from quire.train.classify.training import train
from quire.train.engine.metrics import read_metrics
from tests.train.learnable import PROXY, QUICK, RARELY, RUNNING, anchor_bundle, learnable_bundle

CONFIGS: dict[str, Any] = {
    "graph": replace(QUICK, epochs=3),
    "linear": replace(QUICK, epochs=3, head="linear", graph=GraphConfig()),
    "supcon": replace(
        QUICK,
        head="linear",
        graph=GraphConfig(),
        objective="supcon",
        supcon=SupConConfig(width=8, epochs=3),
    ),
    "anchors": replace(PROXY, epochs=3),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tested")
    learnable_bundle(place / "train")
    learnable_bundle(place / "test", seed=1, images=17)
    learnable_bundle(place / "colour", channels=3)
    anchor_bundle(place / "anchors", of_class=2)
    return place


def accuracies(run: Path) -> list[tuple[float, float]]:
    lines = [line for line in read_metrics(run) if "test_accuracy" in line]
    return [(line["epoch"], line["test_accuracy"]) for line in lines]


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in ("anchors", "linear") else n for n in CONFIGS],
)
def test_the_last_is_what_is_measured_of_the_run(name: str, place: Path, tmp_path: Path) -> None:
    data, test = str(place / "train"), str(place / "test")
    anchors: dict[str, Any] = {"anchors": str(place / "anchors")} if name == "anchors" else {}
    options: dict[str, Any] = {**anchors, "running": RUNNING}
    train(CONFIGS[name], data, tmp_path / "plain", **options)
    train(CONFIGS[name], data, tmp_path / "run", test=test, **options)
    plain, run = (load_file(tmp_path / one / "model.safetensors") for one in ("plain", "run"))
    assert all(torch.equal(plain[weight], run[weight]) for weight in plain)  # no part in it
    assert [epoch for epoch, _ in accuracies(tmp_path / "run")] == [1, 2, 3]
    how = Evaluate(settings=("inductive",), corruptions=("clean",))
    (found,) = evaluate(tmp_path / "run", test, how=how, device="cpu", **anchors)
    assert accuracies(tmp_path / "run")[-1][1] == pytest.approx(found.accuracy)
    assert not accuracies(tmp_path / "plain")


def test_not_every_epoch_is_tested_but_the_last(place: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"test": str(place / "test"), "running": RARELY}
    config = replace(QUICK, epochs=5)
    train(config, str(place / "train"), tmp_path / "run", test_every=2, **options)
    assert [epoch for epoch, _ in accuracies(tmp_path / "run")] == [2, 4, 5]


def test_other_images_are_refused_before_anything_is_written(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="images of 3 channels; the run's have 1"):
        train(QUICK, str(place / "train"), tmp_path / "run", test=str(place / "colour"))
    with pytest.raises(RunError, match="test_every is 0"):
        train(QUICK, str(place / "train"), tmp_path / "run", test_every=0)
    assert not (tmp_path / "run").exists()


def test_the_command_tests(place: Path, tmp_path: Path) -> None:
    words = ["train", "classify", "--data", str(place / "train"), "--out", str(tmp_path / "run")]
    words += ["--encoder", "resnet8", "--head", "linear", "--epochs", "2", "--no-tensorboard"]
    words += ["--batch-size", "8", "--test", str(place / "test"), "--test-every", "2"]
    assert quire.main(words) == 0
    assert [epoch for epoch, _ in accuracies(tmp_path / "run")] == [2]
