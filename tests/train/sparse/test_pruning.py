"""A network that is pruned and trained, held against plain masked layers trained one by one."""

import csv
import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from quire.artifacts.errors import BundleError, RunError
from quire.loaders.graphs import load_prunings
from quire.models.sparse_batch import SparseNetworks
from quire.train.engine.metrics import read_metrics
from quire.train.sparse.group_training import Training, batches_of
from quire.train.sparse.groups import Group
from quire.train.sparse.loading import trained
from quire.train.sparse.pruning_run import Prune, read_plan
from quire.train.sparse.storage import opened
from quire.train.sparse.training import train_networks
from tests.graph_bundles import SMALL, graph_bundle
from tests.train.learnable import learnable_bundle
from tests.train.sparse import small_pruning as small
from tests.train.sparse.small import Stop, stopping_at
from tests.train.sparse.small_pruning import LAYERS, QUICK, RECIPE, RUNNING, TOTAL


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return small.bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def whole(bundles: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    run = tmp_path_factory.mktemp("whole") / "run"
    assert train_networks(QUICK, *bundles, run, running=RUNNING)
    return run


def without_times(run: Path) -> list[dict[str, float]]:
    timed = {"seconds", "images_per_second", "data_wait"}
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(run)]


def weights(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "networks").iterdir())}


def test_a_run_has_its_networks_after_every_step(bundles: tuple[str, Path], whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {"run.json", "metrics.jsonl", "networks.csv", "networks", "lock"}
    run, steps = trained(whole)
    assert [step.path.name for step in steps] == [f"step-000{s}.safetensors" for s in range(4)]
    with (whole / "networks.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["graph"] for line in lines] == [
        f"000{p}-000{s}" for s in range(4) for p in range(3)
    ]
    assert [int(line["number"]) for line in lines] == list(range(12))
    graphs = load_prunings(bundles[1]).graphs
    for number, member in enumerate(member for step in steps for member in step.members):
        graph = graphs[number % 3][number // 3]
        assert (member.number, member.graph) == (number, graph.key)
        assert member.parameters == graph.parameters["connected"]
    assert run.method == "prune" and run.config["retrain"] == 1
    assert run.places["prunings"] == str(bundles[1])
    assert not train_networks(QUICK, *bundles, whole, running=RUNNING)


def test_metrics_tell_of_every_step_and_epoch(whole: Path) -> None:
    lines = read_metrics(whole)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, TOTAL + 1))
    epochs = [(line["pruned"], line["epoch"]) for line in lines if "epoch" in line]
    assert epochs == [(0, 1), (0, 2), (1, 3), (2, 4), (3, 5)]


def test_what_was_removed_is_exactly_zero_and_stays_so(
    bundles: tuple[str, Path], whole: Path
) -> None:
    prunings = load_prunings(bundles[1])
    steps = [step.networks() for step in trained(whole)[1]]
    for step, networks in enumerate(steps):
        assert torch.equal(networks.hidden.weight.view(3, -1) != 0, prunings.kept(step))
    for before, after in pairwise(steps):
        assert not torch.equal(before.output_bias, after.output_bias)  # it was trained again


def test_adam_knows_nothing_of_what_was_removed(bundles: tuple[str, Path]) -> None:
    plan = read_plan(QUICK, bundles[1])
    groups = plan.groups()
    batches = batches_of(QUICK, bundles[0], QUICK.seed, RUNNING)
    networks, kept = plan.fresh(groups[0]), plan.kept(groups[2])
    training = Training.new(QUICK, groups[2], networks, batches, kept=kept)
    for batch in training.left():
        training.update(batch)
        weight = training.networks.hidden.weight
        state = training.optimizer.state[weight]
        for numbers in (weight, state["exp_avg"], state["exp_avg_sq"]):
            assert not numbers[~kept.flatten()].any()
        assert state["exp_avg"][kept.flatten()].any()


def dense(networks: SparseNetworks, index: int) -> dict[str, Tensor]:
    """A network's weights as one matrix a layer, whatever is missing a zero."""
    member = networks.member(index)
    ends = torch.tensor([0, *LAYERS]).cumsum(0).tolist()
    matrix, bias = member.hidden.matrix(), member.hidden.bias
    made = {"w0": member.input.weight, "w3": member.output.weight, "b3": member.output.bias}
    for layer, (start, stop) in enumerate(pairwise(ends)):
        made[f"b{layer}"] = bias[start:stop]
        if layer:
            made[f"w{layer}"] = matrix[ends[layer - 1] : start, start:stop].T
    return {name: tensor.detach().clone().contiguous() for name, tensor in made.items()}


def slow(weights: dict[str, Tensor], masks: dict[str, Tensor], group: Group, data: str) -> None:
    """Train one network as plain layers: masked when they are used, by an Adam of its own."""
    for tensor in weights.values():
        tensor.requires_grad_()
    optimizer = torch.optim.Adam(weights.values(), lr=QUICK.lr)
    batches = batches_of(QUICK, data, QUICK.seed, RUNNING)
    batches.set_epoch(group.before)
    for _ in range(group.epochs):
        for batch in batches:
            values = (batch["image"].flatten(1) / 255 - QUICK.mean) / QUICK.std
            for layer in range(3):
                weight = weights[f"w{layer}"] * masks.get(f"w{layer}", 1)
                values = F.relu(values @ weight.T + weights[f"b{layer}"])
            loss = F.cross_entropy(values @ weights["w3"].T + weights["b3"], batch["label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize("pruning", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_pruning_is_trained_as_plain_masked_layers_are(
    bundles: tuple[str, Path], whole: Path, pruning: int
) -> None:
    plan, steps = read_plan(QUICK, bundles[1]), trained(whole)[1]
    groups = plan.groups()
    networks, orphans = plan.fresh(groups[0]), 0
    for group, step in zip(groups, steps, strict=True):
        networks.hidden.weight.data = plan.kept(group).flatten().float()
        masks = {f"w{layer}": dense(networks, pruning)[f"w{layer}"] for layer in (1, 2)}
        orphans += sum(int((~mask.bool()).all(1).sum()) for mask in masks.values())
        if group.index == 0:
            plain = dense(plan.fresh(group), pruning)
        plain = {name: tensor.detach() * masks.get(name, 1) for name, tensor in plain.items()}
        slow(plain, masks, group, bundles[0])
        found = dense(step.networks(), pruning)
        for name, tensor in found.items():
            wanted = plain[name].detach() * masks.get(name, 1)
            torch.testing.assert_close(tensor, wanted, rtol=1e-3, atol=1e-5)
    assert orphans  # a neuron that receives its bias alone, not the inputs


@pytest.mark.slow
def test_a_pruning_does_not_depend_on_what_is_beside_it(
    bundles: tuple[str, Path], whole: Path, tmp_path: Path
) -> None:
    graph_bundle(tmp_path / "alone", replace(RECIPE, prunings=1))
    train_networks(QUICK, bundles[0], tmp_path / "alone", tmp_path / "run", running=RUNNING)
    for one, many in zip(trained(tmp_path / "run")[1], trained(whole)[1], strict=True):
        alone, among = dense(one.networks(), 0), dense(many.networks(), 0)
        for name, tensor in alone.items():
            torch.testing.assert_close(among[name], tensor, rtol=1e-3, atol=1e-5)
    first = trained(whole)[1][0].networks()
    assert not torch.equal(dense(first, 0)["w1"], dense(first, 1)["w1"])


@pytest.mark.parametrize(
    "step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (1, 7, 10, 14, 15, 24)), 11]
)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    bundles: tuple[str, Path], whole: Path, tmp_path: Path, step: int
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train_networks(QUICK, *bundles, run, running=RUNNING, report=stopping_at(step, TOTAL))
    assert not (run / "networks.csv").exists()
    train_networks(QUICK, *bundles, run, running=RUNNING)
    assert without_times(run) == without_times(whole)
    assert weights(run) == weights(whole)


def test_a_step_can_be_trained_again_from_what_is_on_disk(
    bundles: tuple[str, Path], whole: Path, tmp_path: Path
) -> None:
    rare = replace(RUNNING, checkpoint_seconds=1e9)
    shutil.copytree(whole, tmp_path / "run")
    for name in (
        "networks.csv",
        "networks/step-0002.safetensors",
        "networks/step-0003.safetensors",
    ):
        (tmp_path / "run" / name).unlink()
    with pytest.raises(Stop):
        train_networks(
            QUICK, *bundles, tmp_path / "run", running=rare, report=stopping_at(18, TOTAL)
        )
    train_networks(QUICK, *bundles, tmp_path / "run", running=rare)
    assert without_times(tmp_path / "run") == without_times(whole)
    assert weights(tmp_path / "run") == weights(whole)


@pytest.mark.slow
def test_a_network_that_was_trained_classifies_what_it_saw(tmp_path: Path) -> None:
    """The worst ends at 94 to 99 % over six seeds; after one epoch they are at 16 to 26."""
    learnable_bundle(tmp_path / "train", images=60)
    graph_bundle(tmp_path / "prunings", replace(RECIPE, layers=(40, 40), alpha=0.3, prunings=2))
    config = replace(QUICK, epochs=30, retrain=3, batch_size=20, lr=0.02)
    running = replace(RUNNING, checkpoint_seconds=1e9, log_every=1000)
    paths = tmp_path / "prunings", tmp_path / "run"
    train_networks(config, str(tmp_path / "train"), *paths, running=running)
    epochs = [line for line in read_metrics(tmp_path / "run") if "epoch" in line]
    assert epochs[-1]["least_train_accuracy"] > 60 > 45 > epochs[0]["train_accuracy"]


def test_a_loss_that_is_not_finite_ends_the_run_with_its_network(
    bundles: tuple[str, Path], tmp_path: Path
) -> None:
    config = replace(QUICK, lr=1e30)
    with pytest.raises(RunError, match=r"loss of step \d+ is \w+ of network \d+ \(0\d+-0000"):
        train_networks(config, *bundles, tmp_path / "run", running=RUNNING)
    assert len(json.loads((tmp_path / "run" / "failed.json").read_text())["keys"]) == 8


def test_a_folder_belongs_to_one_run(bundles: tuple[str, Path], tmp_path: Path) -> None:
    data, prunings = bundles
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train_networks(QUICK, data, prunings, run, running=RUNNING, report=stopping_at(2, TOTAL))
    with pytest.raises(RunError, match=r"config\.retrain is 2 here, 1 there"):
        train_networks(replace(QUICK, retrain=2), data, prunings, run, running=RUNNING)
    graph_bundle(tmp_path / "other", replace(RECIPE, seed=1))
    with pytest.raises(RunError, match=r"inputs\.prunings is "):
        train_networks(QUICK, data, tmp_path / "other", run, running=RUNNING)
    with pytest.raises(RunError, match="is not finished"):
        trained(run)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"retrain": 0}, "retrain is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"images": 0}, "images is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"lr": 0.0}, r"lr is 0.0; it must be above 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"betas": (0.9, 1.0)}, "betas are"),
    ],
)
def test_a_wrong_field_is_refused_in_a_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        Prune(**fields)


def test_bundles_that_do_not_fit_are_refused(bundles: tuple[str, Path], tmp_path: Path) -> None:
    data, _ = bundles
    graph_bundle(tmp_path / "graphs", SMALL)
    with pytest.raises(BundleError, match="it has no pruned networks"):
        train_networks(QUICK, data, tmp_path / "graphs", tmp_path / "run")
    for change, wanted in (
        (replace(RECIPE, inputs=65), "65 inputs and 10 outputs"),
        (replace(RECIPE, outputs=9), "64 inputs and 9 outputs"),
    ):
        other = tmp_path / wanted
        graph_bundle(other, change)
        with pytest.raises(RunError, match=f"{wanted}; .* 1 x 8 x 8 = 64 pixels in 10 classes"):
            train_networks(QUICK, data, other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_file_is_no_step(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    path = tmp_path / "run" / "networks" / "step-0002.safetensors"
    metadata = {"networks": json.dumps([])}
    step = opened(path)
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}  # of its own
    number = f"{step.members[1].number:05d}"
    kept = tensors[f"{number}.hidden.kept"]
    name = f"{number}.hidden.weight"
    revived = {**tensors, name: tensors[name] + (~kept).float()}
    fewer = {**tensors, f"{number}.hidden.kept": kept & torch.randint(2, kept.shape).bool()}
    lacking = {name: tensor for name, tensor in tensors.items() if "bias" not in name}
    for changed, message in {
        "has a connection that was removed": revived,
        "does not hold its networks": lacking,
    }.items():
        save_file(message, path)
        with pytest.raises(RunError, match=changed):
            step.networks()
    save_file({**fewer, name: tensors[name] * fewer[f"{number}.hidden.kept"]}, path)
    with pytest.raises(RunError, match=r"has \d+ parameters"):
        step.networks()
    save_file(tensors, path, metadata)
    with pytest.raises(RunError, match="are not those of its"):
        trained(tmp_path / "run")
    path.write_bytes(b"nothing")
    with pytest.raises(RunError, match="is no group of networks"):
        trained(tmp_path / "run")
