"""The rivals of similarity graphs: what they minimise, their stages, and stops in these."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

import quire
from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.models.batch_losses import affinity_loss, mean_discrepancy, mutual_distillation
from quire.models.similarity_graph import GraphConfig
from quire.train.classify.augmentation import augmented
from quire.train.classify.baselines import AffinityConfig, DistillationConfig, SupConConfig
from quire.train.classify.evaluate import Evaluate, evaluate
from quire.train.classify.objectives import (
    AffinitySupervision,
    CrossEntropy,
    SelfDistillation,
    views_of,
)
from quire.train.classify.run import Classify, build_model, described, recorded, trained
from quire.train.classify.steps import Training
from quire.train.classify.training import batches_of, train
from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import key
from quire.train.engine.ranks import Ranks
from tests.train.learnable import LEARNING, QUICK, RARELY, RUNNING, last_accuracy, learnable_bundle

ALONE = Ranks(0, 1, torch.device("cpu"))
LINEAR = replace(QUICK, head="linear", graph=GraphConfig())
SUPCON = replace(LINEAR, objective="supcon", supcon=SupConConfig(width=8, epochs=2, lr=0.05))
CONFIGS = {
    "supcon": SUPCON,
    "affinity": replace(LINEAR, objective="affinity"),
    "ddgsd": replace(LINEAR, objective="ddgsd"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learnable_bundle(tmp_path_factory.mktemp("data") / "bundle")


def new_training(config: Classify, data: Path) -> Training:
    batches = batches_of(config, str(data), ALONE, RUNNING)
    config, run = described(config, str(data), batches)
    torch.manual_seed(0)
    return Training.new(config, build_model(config, run), batches, ALONE)


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(run) if "loss" in line]


# ---- what is minimised


def test_views_are_two_draws_of_the_same_images(data: Path) -> None:
    training = new_training(CONFIGS["ddgsd"], data)
    batch = next(iter(training.batches))
    images = training.augmented(batch)
    size = len(batch["row"])
    for seed, view in ((0, images[:size]), (key(0, "second view"), images[size:])):
        draws = Draws(seed, 0, batch["row"])
        assert torch.equal(view, augmented(training.config, batch["image"], draws))
    assert not torch.equal(images[:size], images[size:])
    assert len(new_training(LINEAR, data).augmented(batch)) == size
    assert [views_of(config) for config in CONFIGS.values()] == [2, 1, 2]


def parts_of(training: Training, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits."""
    model: Any = training.model
    features = model.features(images)
    return features, model.head(features)


def test_affinity_is_added_to_the_entropy(data: Path) -> None:
    config = replace(CONFIGS["affinity"], affinity=AffinityConfig(weight=0.3, gamma=1.5))
    training = new_training(config, data)
    batch = next(iter(training.batches))
    images = training.augmented(batch)
    training.model.eval()
    outcome = training.objective(images, batch["label"], 0)
    features, logits = parts_of(training, images)
    expected = F.cross_entropy(logits, batch["label"])
    expected = expected + 0.3 * affinity_loss(features, batch["label"], gamma=1.5)
    torch.testing.assert_close(outcome.loss, expected)
    assert outcome.logits is not None and torch.equal(outcome.logits, logits)
    assert outcome.terms.keys() == {"cross_entropy", "affinity"}


def test_distillation_is_between_two_views(data: Path) -> None:
    own = DistillationConfig(temperature=2, weight=0.7, discrepancy=0.3)
    training = new_training(replace(CONFIGS["ddgsd"], ddgsd=own), data)
    batch = next(iter(training.batches))
    images = training.augmented(batch)
    training.model.eval()
    outcome = training.objective(images, batch["label"], 0)
    (one, logits), (other, others) = (parts_of(training, view) for view in images.chunk(2))
    entropy = (
        F.cross_entropy(logits, batch["label"]) + F.cross_entropy(others, batch["label"])
    ) / 2
    divergence = mutual_distillation(logits, others, temperature=2)
    expected = entropy + 0.7 * divergence + 0.3 * mean_discrepancy(one, other)
    torch.testing.assert_close(outcome.loss, expected, rtol=1e-5, atol=1e-6)


def test_of_equal_views_distillation_is_the_entropy_alone(data: Path) -> None:
    plain = replace(CONFIGS["ddgsd"], crop=(1.0, 1.0), flip=False)
    training = new_training(plain, data)
    batch = next(iter(training.batches))
    images = training.augmented(batch)
    training.model.eval()
    outcome = training.objective(images, batch["label"], 0)
    _, logits = parts_of(training, images[: len(batch["row"])])
    torch.testing.assert_close(outcome.loss, F.cross_entropy(logits, batch["label"]))


# ---- runs


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_is_a_linear_classifier(name: str, data: Path, tmp_path: Path) -> None:
    config = CONFIGS[name]
    train(config, str(data), tmp_path / "run", running=RUNNING)
    _, found, model = trained(tmp_path / "run")
    assert found == config
    weights = load_file(tmp_path / "run/model.safetensors")
    assert weights.keys() == model.state_dict().keys()
    how = Evaluate(settings=("inductive",))
    one, *_ = evaluate(tmp_path / "run", str(data), how=how, device="cpu")
    assert 0 <= one.correct <= one.images == 20
    names = {path.name for path in (tmp_path / "run").iterdir() if path.name != "evaluations"}
    kept = {"contrast.safetensors"} if name == "supcon" else set()
    assert names == {"run.json", "metrics.jsonl", "model.safetensors", "lock", *kept}


@pytest.mark.parametrize(
    "name", ["affinity", *(pytest.param(n, marks=pytest.mark.slow) for n in ("supcon", "ddgsd"))]
)
def test_every_objective_learns(name: str, tmp_path: Path) -> None:
    """Chance is 10 %; over six seeds they end at 92 to 100."""
    data = learnable_bundle(tmp_path / "bundle", images=60)
    own = SupConConfig(width=16, epochs=8, lr=0.5)
    config = replace(LEARNING, head="linear", objective=name, epochs=16)  # type: ignore[arg-type]
    config = replace(config, supcon=own) if name == "supcon" else config
    train(config, str(data), tmp_path / "run", running=RARELY)
    assert last_accuracy(tmp_path / "run") > 40


def test_the_second_stage_leaves_the_encoder_alone(data: Path, tmp_path: Path) -> None:
    """Its batch normalisation, too: it is in evaluation mode."""
    train(SUPCON, str(data), tmp_path / "run", running=RUNNING)
    first = load_file(tmp_path / "run/contrast.safetensors")
    last = load_file(tmp_path / "run/model.safetensors")
    encoder = {name for name in last if name.startswith("encoder.")}
    assert encoder and all(torch.equal(first[f"classifier.{n}"], last[n]) for n in encoder)
    head = {name for name in last if name.startswith("head.")}
    assert not any(torch.equal(first[f"classifier.{n}"], last[n]) for n in head)
    stages = [line["stage"] for line in read_metrics(tmp_path / "run") if "stage" in line]
    assert stages == [1, 1, 2, 2]
    rates = [line["lr"] for line in read_metrics(tmp_path / "run") if "lr" in line]
    assert rates[10:16] == [0.05] * 6 and rates[-1] == pytest.approx(0.05 * 0.2**3)


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (4, 10)), 13]
)
def test_a_stop_in_any_stage_goes_on_to_the_same_bits(
    step: int, data: Path, tmp_path: Path
) -> None:
    """Of ten steps each."""

    def stop(done: int, total: int) -> None:
        assert total == 20
        if done == step:
            raise Stop

    train(SUPCON, str(data), tmp_path / "whole", running=RUNNING)
    with pytest.raises(Stop):
        train(SUPCON, str(data), tmp_path / "run", running=RUNNING, report=stop)
    assert (tmp_path / "run/contrast.safetensors").exists() == (step > 10)
    train(SUPCON, str(data), tmp_path / "run", running=RUNNING)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    whole, run = (load_file(tmp_path / one / "model.safetensors") for one in ("whole", "run"))
    assert all(torch.equal(whole[name], run[name]) for name in whole)


def test_records_of_earlier_runs_are_what_they_were() -> None:
    assert not {"objective", "supcon", "affinity", "ddgsd", "hue", "jittered", "grey"} & {
        *recorded(LINEAR)
    }
    assert recorded(CONFIGS["affinity"])["affinity"] == {"weight": 0.01, "gamma": 2.0}
    assert "supcon" not in recorded(CONFIGS["affinity"])


# ---- what is refused


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"objective": "supcon"}, "supcon is an objective of --head linear, not graph"),
        (
            {"affinity": AffinityConfig(weight=0.5)},
            "affinity is given, but the objective is cross-entropy",
        ),
        (
            {"head": "linear", "objective": "ddgsd", "supcon": SupConConfig(epochs=3)},
            "supcon is given, but the objective is ddgsd",
        ),
        ({"hue": 0.7}, "hue must be in 0 to .5"),
        ({"grey": -0.1}, "grey"),
    ],
)
def test_what_does_not_apply_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        Classify(**wrong)


@pytest.mark.parametrize(
    ("config", "wrong"),
    [
        (SupConConfig, {"temperature": 0.0}),
        (SupConConfig, {"epochs": 0}),
        (AffinityConfig, {"weight": -1.0}),
        (AffinityConfig, {"gamma": 0.5}),
        (DistillationConfig, {"temperature": math.inf}),
        (DistillationConfig, {"weight": -1.0}),
    ],
)
def test_an_option_out_of_range_is_refused(config: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=next(iter(wrong))):
        config(**wrong)


def test_the_command_trains_them(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "classify", "--data", str(data), "--encoder", "resnet8", "--no-tensorboard"]
    words += ["--batch-size", "8", "--epochs", "1", "--objective", "supcon", "--supcon.epochs", "1"]
    assert quire.main([*words, "--head", "linear", "--out", str(tmp_path / "run")]) == 0
    assert "trained; 10 steps" in capsys.readouterr().out
    assert quire.main([*words, "--out", str(tmp_path / "other")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_each_objective_is_the_one_that_is_named(data: Path) -> None:
    wanted = {"affinity": AffinitySupervision, "ddgsd": SelfDistillation}
    for name, kind in wanted.items():
        assert type(new_training(CONFIGS[name], data).objective) is kind
    assert type(new_training(LINEAR, data).objective) is CrossEntropy
