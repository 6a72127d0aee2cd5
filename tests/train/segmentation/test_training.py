"""Every variant learns, resumes to the same weights, and keeps a record."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.models.resnet import Bottleneck, ResNet

from quire.artifacts.errors import BundleError, RunError
from quire.loaders.stream import stream
from quire.models.deeplab import ResNetTrunk
from quire.models.feature_binding import FeatureBinding
from quire.train.engine.metrics import read_metrics
from quire.train.engine.pretrained import load_pretrained
from quire.train.engine.runs import MODEL
from quire.train.segmentation.measure import count
from quire.train.segmentation.panels import scene_panels
from quire.train.segmentation.run import SEPARATION, Segment, build_model, trained
from quire.train.segmentation.stages import Bundles, prepared
from quire.train.segmentation.training import Training, train_segmentation
from tests.train.segmentation.small import (
    ALONE,
    QUICK,
    RUNNING,
    SHAPES,
    VARIANTS,
    bundles,
    of,
    scenes,
)

RARE = replace(RUNNING, checkpoint_seconds=1e9)
STEPS = 3  # of an epoch of 20 scenes in batches of 6


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundles]:
    return bundles(tmp_path_factory.mktemp("bundles"))


def refused(config: Segment, given: Bundles, run: Path, message: str) -> None:
    with pytest.raises((RunError, BundleError), match=message):
        train_segmentation(config, given, run, running=RUNNING)
    assert not (run / "model.safetensors").exists()


class Stop(Exception):
    pass


def stopping_at(step: int) -> Any:
    def report(done: int, total: int) -> None:
        if done == step:
            raise Stop

    return report


def steps(run: Path) -> list[dict[str, float]]:
    return [line for line in read_metrics(run) if "loss" in line]


def without_times(run: Path) -> list[dict[str, float]]:
    timed = {"seconds", "images_per_second", "data_wait"}
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(run)]


@pytest.mark.parametrize(
    "variant",
    [
        "binding-cm",
        *(pytest.param(v, marks=pytest.mark.slow) for v in VARIANTS if v != "binding-cm"),
    ],
)
def test_each_variant_learns(variant: str, places: dict[str, Bundles], tmp_path: Path) -> None:
    config = of(variant, epochs=4, denoising_epochs=0)
    given = replace(places[variant], clean=None)
    assert train_segmentation(config, given, tmp_path / "run", running=RARE)
    epochs = [line["mean_loss"] for line in read_metrics(tmp_path / "run") if "mean_loss" in line]
    assert len(epochs) == 4 and epochs[-1] < 0.75 * epochs[0]
    assert len(steps(tmp_path / "run")) == 4 * STEPS  # what fills no batch is left out
    _, config_read, model = trained(tmp_path / "run")
    assert config_read.variant == variant and not model.training
    assert isinstance(model, FeatureBinding) == variant.startswith("binding")


def test_without_a_binding_head_two_answers_are_learned(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    config, run = of("binding-cm", epochs=1, binding_head=False), tmp_path / "run"
    train_segmentation(config, places["binding-cm"], run, running=RARE)
    terms = [{name for name in line if name.startswith("loss_")} for line in steps(run)]
    assert terms[0] == {"loss_target", "loss_phantom"}
    assert terms[-1] == {"loss_target", "loss_penalty"}
    counted = count(run, places["baseline"].data)
    assert list(counted.answers) == list(config.answers) == ["target", "phantom"]
    sheets = [
        scene_panels({"run": run}, places["baseline"].data, ["train_000003"], answer=answer)
        for answer in ("target", "bound")
    ]
    assert sheets[0].size == sheets[1].size  # there is none, so the target is shown, and said to be


@pytest.mark.parametrize(
    ("variant", "step"),
    [
        *(pytest.param("binding-cm", step, marks=pytest.mark.slow) for step in (1, 6, 8)),
        ("binding-cm", 3),
        *(pytest.param("binding-cc", step, marks=pytest.mark.slow) for step in (5, 7)),
    ],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_losses(
    variant: str,
    step: int,
    places: dict[str, Bundles],
    whole: dict[str, Path],
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train_segmentation(
            of(variant), places[variant], run, running=RUNNING, report=stopping_at(step)
        )
    assert len(steps(run)) == step
    assert train_segmentation(of(variant), places[variant], run, running=RUNNING)
    assert without_times(run) == without_times(whole[variant])
    for name in ("separation.safetensors", "model.safetensors"):
        expected, found = load_file(whole[variant] / name), load_file(run / name)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert not train_segmentation(of(variant), places[variant], run, running=RUNNING)


@pytest.fixture(scope="module")
def whole(places: dict[str, Bundles], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for variant in ("binding-cm", "binding-cc"):
        train_segmentation(of(variant), places[variant], folder / variant, running=RARE)
    return {variant: folder / variant for variant in ("binding-cm", "binding-cc")}


def test_a_run_has_its_record_its_terms_and_both_weights(
    places: dict[str, Bundles], whole: dict[str, Path]
) -> None:
    run = whole["binding-cm"]
    names = {path.name for path in run.iterdir()}
    assert names == {
        *("run.json", "metrics.jsonl", "lock", "separation.safetensors", "model.safetensors")
    }
    lines = steps(run)
    first, last = lines[0], lines[-1]
    assert set(first) == {"step", "loss", "lr", "loss_bound", "loss_target", "loss_phantom"}
    assert first["loss"] == pytest.approx(
        first["loss_bound"] + first["loss_target"] + first["loss_phantom"], rel=1e-6
    )
    assert set(last) == {"step", "loss", "lr", "loss_target", "loss_penalty"}
    rates = [line["lr"] for line in lines]
    assert rates[0] == QUICK.lr and rates[6] == QUICK.denoising_lr
    assert rates[5] == pytest.approx(QUICK.lr * (1 / 6) ** 0.9)
    record = json.loads((run / "run.json").read_text())
    place = places["binding-cm"].cooccurrence
    assert place is not None
    digest = stream(places["binding-cm"].data, columns=()).state_dict()["bundle"]
    assert record["bundle"] == digest and record["inputs"].keys() == {"cooccurrence"}
    assert record["places"] == {"cooccurrence": str(place)}
    cc = json.loads((whole["binding-cc"] / "run.json").read_text())
    assert cc["inputs"] == {"clean": digest}
    assert not cc["config"].keys() & {"alpha", "gamma", "max_total", "weights"}


def test_the_second_stage_leaves_the_binding_head_as_it_is(whole: dict[str, Path]) -> None:
    for run in whole.values():
        before = load_file(run / "separation.safetensors")
        after = load_file(run / "model.safetensors")
        for name in before:
            learned = not name.startswith("binding.") and name not in ("mean", "std")
            assert torch.equal(before[name], after[name]) != learned, name
        assert trained(run, separation=True)[2].state_dict()["binding.0.weight"].shape[0] == 21


def test_the_second_stage_does_not_train_the_binding_head(places: dict[str, Bundles]) -> None:
    config = of("binding-cm")
    model = build_model(config, 21)
    assert isinstance(model, FeatureBinding) and model.binding is not None
    binding = {id(parameter) for parameter in model.binding.parameters()}
    for stage in prepared(config, places["binding-cm"], ALONE, RUNNING)[1]:
        groups = Training.new(config, stage, model, ALONE).optimizer.param_groups
        trained_ones = {id(parameter) for group in groups for parameter in group["params"]}
        assert binding.isdisjoint(trained_ones) == (stage.number == 2)
        assert len(trained_ones | binding) == len(list(model.parameters()))


def test_a_loss_that_is_not_finite_ends_the_run_with_its_batch(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused(of("binding-cm", lr=1e30), places["binding-cm"], run, "its batch of 6 begins with")
    failed = json.loads((run / "failed.json").read_text())
    assert failed["keys"] and np.isfinite([line["loss"] for line in steps(run)]).all()


def test_a_folder_belongs_to_one_run(places: dict[str, Bundles], tmp_path: Path) -> None:
    given, run = places["binding-cm"], tmp_path / "run"
    with pytest.raises(Stop):
        train_segmentation(of("binding-cm"), given, run, running=RUNNING, report=stopping_at(1))
    refused(of("binding-cm", gamma=5), given, run, r"config\.gamma is 5 here, 3 there")
    refused(of("baseline"), places["baseline"], run, "belongs to another run")
    other = scenes(tmp_path / "other", replace(SHAPES, seed=3))
    refused(of("binding-cm"), replace(given, data=str(other)), run, "bundle is")


def test_fields_of_other_variants_are_not_on_record(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train_segmentation(
            of("mixup"), places["mixup"], run, running=RUNNING, report=stopping_at(1)
        )
    assert train_segmentation(of("mixup", gamma=9), places["mixup"], run, running=RUNNING)
    assert "alpha" in json.loads((run / "run.json").read_text())["config"]


def test_a_trunk_begins_with_the_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = ResNet(Bottleneck, [1, 1, 1, 1]).state_dict()
    torch.save(theirs, tmp_path / "weights.pth")
    trunk = ResNetTrunk([1, 1, 1, 1])
    load_pretrained(trunk, str(tmp_path / "weights.pth"))
    ours = trunk.network.state_dict()
    assert ours.keys() == theirs.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with pytest.raises(RunError, match="does not hold the weights"):
        load_pretrained(ResNetTrunk([1, 2, 1, 1]), str(tmp_path / "weights.pth"))


def test_clean_scenes_are_a_second_stage_of_what_is_not_bound(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    for name, epochs in (("plain", 0), ("clean", 1)):
        config = of("mixup", clean_epochs=epochs)
        train_segmentation(config, places["mixup"], tmp_path / name, running=RUNNING)
        record = json.loads((tmp_path / name / "run.json").read_text())["config"]
        assert ({"clean_epochs", "denoising_lr"} <= record.keys()) == bool(epochs)
    first, second = load_file(tmp_path / "plain" / MODEL), load_file(tmp_path / "clean" / MODEL)
    before = load_file(tmp_path / "clean" / SEPARATION)
    assert all(torch.equal(before[name], value) for name, value in first.items())
    assert not all(torch.equal(second[name], value) for name, value in first.items())
    lines = read_metrics(tmp_path / "clean")
    assert [line["epoch"] for line in lines if line.get("stage") == 2] == [1]
    assert not (tmp_path / "plain" / SEPARATION).exists()
