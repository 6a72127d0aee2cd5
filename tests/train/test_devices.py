"""Every method on every device: it learns there what it does on the CPU, and goes on when stopped.

On the CPU these tests show that they test something; `-m cuda` runs them on a GPU.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from safetensors.torch import load_file

import quire
from quire.train.classify.evaluate import Evaluate, evaluate
from quire.train.classify.training import train
from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import Running
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from quire.train.sparse.attack import attack
from quire.train.sparse.training import train_networks
from tests.train.learnable import PROXY, QUICK, RUNNING, anchor_bundle, learnable_bundle
from tests.train.segmentation import small as segmentation
from tests.train.sparse import small as sparse
from tests.train.sparse import small_pruning as pruning

QUICKEST = ("linear",)  # of the methods
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]

Begin: TypeAlias = Callable[..., bool]  # a run, in a folder, with options


class Stop(Exception):
    pass


def stop(done: int, total: int) -> None:
    if done == 3:
        raise Stop


def begin(method: str, place: Path) -> Begin:
    """A small run of a method, on bundles of its own."""
    if method in ("linear", "graph", "cnn2graph"):
        config = replace(PROXY if method == "cnn2graph" else QUICK, head=method)  # type: ignore[arg-type]
        config = replace(config, precision="float32")
        data, anchors = learnable_bundle(place / "train"), anchor_bundle(place / "anchors")
        more: dict[str, Any] = {"anchors": str(anchors)} if method == "cnn2graph" else {}
        return lambda run, **others: train(config, str(data), run, **more, **others)
    if method == "sparse":
        images, graphs = sparse.bundles(place)
        return lambda run, **others: train_networks(sparse.QUICK, images, graphs, run, **others)
    if method == "prune":
        images, prunings = pruning.bundles(place)
        return lambda run, **others: train_networks(pruning.QUICK, images, prunings, run, **others)
    scenes = segmentation.scenes(place / "scenes")
    variant: Any = method
    segment = replace(segmentation.QUICK, variant=variant, precision="float32")
    counts = None
    if variant == "binding-cm":
        counts = str(segmentation.cooccurrence(place / "counts"))
    bundles = Bundles(data=str(scenes), cooccurrence=counts)
    return lambda run, **others: train_segmentation(segment, bundles, run, **others)


METHODS = ("linear", "graph", "cnn2graph", "sparse", "prune", "baseline", "mixup", "binding-cm")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "method",
    [one if one in QUICKEST else pytest.param(one, marks=pytest.mark.slow) for one in METHODS],
)
def test_a_run_takes_the_steps_of_the_cpu_and_goes_on_when_it_was_stopped(
    method: str, device: str, tmp_path: Path
) -> None:
    """First losses are equal to 1e-3: what differs later is how rounding grows."""
    run, there = begin(method, tmp_path), replace(RUNNING, device=device)
    run(tmp_path / "cpu", running=replace(RUNNING, device="cpu"))
    with pytest.raises(Stop):
        run(tmp_path / "there", running=there, report=stop)
    assert run(tmp_path / "there", running=there)
    losses = [losses_of(tmp_path / name) for name in ("cpu", "there")]
    assert len(losses[0]) == len(losses[1])
    assert losses[1][0] == pytest.approx(losses[0][0], rel=1e-3)
    assert torch.isfinite(torch.tensor(losses[1])).all()
    for path in (tmp_path / "there").rglob("*.safetensors"):
        assert all(tensor.device.type == "cpu" for tensor in load_file(path).values())


def losses_of(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(run) if "loss" in line]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_arrive_on_the_device_as_they_are(
    device: str, shuffle: bool, tmp_path: Path
) -> None:
    data = learnable_bundle(tmp_path / "b", images=50)
    here = quire.stream(data, batch_size=16, shuffle=shuffle)
    there = quire.stream(data, batch_size=16, shuffle=shuffle, device=device)
    for mine, theirs in zip(here, there, strict=True):
        assert all(value.device.type == device for value in theirs.values())
        assert all(torch.equal(theirs[name].cpu(), value) for name, value in mine.items())


@pytest.mark.parametrize("device", DEVICES)
def test_networks_are_attacked_as_on_the_cpu(device: str, tmp_path: Path) -> None:
    """Almost: an image on the edge between two classes may fall to either side."""
    run = sparse.trained_run(tmp_path)
    shutil.copytree(run, tmp_path / "other")  # what is known of a run is not measured again
    data, how = str(tmp_path / "test"), sparse.ATTACK
    here = attack(run, data, how=how, device="cpu")
    there = attack(tmp_path / "other", data, how=how, device=device)
    for mine, theirs in zip(here, there, strict=True):
        assert abs(mine.correct - theirs.correct) <= 2
        assert abs(mine.attacks["fgsm"].fooled - theirs.attacks["fgsm"].fooled) <= 3


@pytest.mark.parametrize("device", DEVICES)
def test_classifiers_are_measured_in_both_settings(device: str, tmp_path: Path) -> None:
    data = learnable_bundle(tmp_path / "b")
    running = Running(tensorboard=False, device=device)
    train(QUICK, str(data), tmp_path / "run", running=running)
    how = Evaluate(images=10)
    found = evaluate(tmp_path / "run", str(data), how=how, context=str(data), device=device)
    assert {one.setting for one in found} == {"inductive", "transductive"}
    assert all(0 <= one.accuracy <= 100 for one in found)


@pytest.mark.cuda
@pytest.mark.parametrize("head", ["linear", "graph"])
def test_bfloat16_and_a_compiled_encoder_learn_too(head: Any, tmp_path: Path) -> None:
    data = learnable_bundle(tmp_path / "b")
    losses = {}
    for compiled in (False, True):
        running = replace(RUNNING, device="cuda", compile=compiled)
        config = replace(QUICK, head=head, precision="bfloat16")
        train(config, str(data), tmp_path / str(compiled), running=running)
        losses[compiled] = losses_of(tmp_path / str(compiled))
    assert losses[True][0] == pytest.approx(losses[False][0], rel=0.05)
