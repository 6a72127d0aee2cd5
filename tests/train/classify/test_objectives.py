"""What the steps of a run minimise, and what they say of it."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.models.cnn2graph import CNN2Graph, CNN2GraphConfig, Kind
from quire.models.cnn2graph_losses import LossConfig, LossWeights, losses
from quire.train.classify.anchors import AnchorViews, read_anchors
from quire.train.classify.objectives import CrossEntropy, ProxyLosses, objective_of
from quire.train.classify.run import Classify, build_model, described, trained
from quire.train.classify.steps import Training
from quire.train.classify.training import batches_of, train
from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import key
from quire.train.engine.ranks import Ranks
from quire.train.engine.runs import Run
from tests.train.learnable import (
    LEARNING,
    PROXY,
    QUICK,
    RARELY,
    RUNNING,
    anchor_bundle,
    epoch_losses,
    last_accuracy,
    learnable_bundle,
)

ALONE = Ranks(0, 1, torch.device("cpu"))
TRIPLETS = ("at", "pt", "ap", "p")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    learnable_bundle(place / "train", images=60)
    anchor_bundle(place / "anchors", of_class=2)
    return place


def fit(place: Path, run: Path, config: Any = PROXY, **others: Any) -> list[dict[str, float]]:
    train(config, str(place / "train"), run, anchors=str(place / "anchors"), **others)
    return read_metrics(run)


def run_of(config: Classify, place: Path) -> Run:
    """Its record."""
    data = str(place / "train")
    return described(config, data, batches_of(config, data, ALONE, RUNNING))[1]


def new_training(config: Classify, place: Path) -> Training:
    """At its first step."""
    run = run_of(config, place)
    batches = batches_of(config, str(place / "train"), ALONE, RUNNING)
    anchors = read_anchors(run, str(place / "anchors"), ALONE.device)
    torch.manual_seed(0)
    return Training.new(config, build_model(config, run), batches, ALONE, anchors)


def steps(lines: list[dict[str, float]]) -> list[dict[str, float]]:
    return [line for line in lines if "loss" in line]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "gnn"])
def test_with_attention_it_learns(kind: Kind, place: Path, tmp_path: Path) -> None:
    """Over six seeds 100 % are known, chance is 10, and .05 to .06 of the loss is left."""
    head = CNN2GraphConfig(kind=kind, heads=2, degree=20)
    fit(
        place,
        tmp_path / "run",
        replace(LEARNING, head="cnn2graph", cnn2graph=head),
        running=RARELY,
    )
    assert last_accuracy(tmp_path / "run") > 50
    first, *_, final = epoch_losses(tmp_path / "run")
    assert final < 0.5 * first


@pytest.mark.parametrize("kind", ["transformer", "gnn", "mean", "max"])
def test_a_small_step_lowers_the_loss_by_what_the_gradient_says(kind: Kind, place: Path) -> None:
    """By .94 to 1.01 of it, over six seeds and all kinds; no weight is left out."""
    head = CNN2GraphConfig(kind=kind, heads=2, degree=20)
    training = new_training(replace(LEARNING, head="cnn2graph", cnn2graph=head), place)
    batch = next(training.left())
    images = training.augmented(batch)

    def loss() -> Tensor:
        return training.objective(images, batch["label"], 0).loss

    before = loss()
    before.backward()
    weights = list(training.model.parameters())
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    squares = [gradient.square().sum() for gradient in gradients]
    assert len(gradients) == len(weights) and all(square > 0 for square in squares)
    fall = 1e-3 * before.detach()
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.sub_(fall / sum(squares) * gradient)
        assert 0.8 < (before - loss()) / fall < 1.2


@pytest.mark.slow
def test_every_term_is_on_record_and_they_add_up(place: Path, tmp_path: Path) -> None:
    weights = LossWeights(at=0.5, ce_proxies=0.0)
    for name, config in {
        "plain": PROXY,
        "weighted": replace(PROXY, loss_weights=weights, losses=LossConfig(triplet_margin=0.1)),
    }.items():
        factors = asdict(config.loss_weights)
        running = replace(RUNNING, log_every=4)  # several steps are fetched together
        for line in steps(fit(place, tmp_path / name, config, running=running)):
            total = sum(factor * line[term] for term, factor in factors.items())
            assert line["loss"] == pytest.approx(total, rel=1e-5)
            for term in TRIPLETS:
                valid, active = line[f"{term}_valid"], line[f"{term}_active"]
                assert isinstance(valid, int) and 0 <= active <= valid
            assert line["p_valid"] == 45 and line["ap_valid"] == 20 * 9
    first = [steps(read_metrics(tmp_path / name))[0] for name in ("plain", "weighted")]
    assert first[0]["ce_images"] == first[1]["ce_images"]
    assert first[0]["at"] != first[1]["at"]


def test_a_step_is_that_of_images_and_anchors_together(place: Path) -> None:
    config = replace(PROXY, losses=LossConfig(triplet_margin=0.3, over="active"), batch_size=8)
    training = new_training(config, place)
    model = training.model
    assert isinstance(model, CNN2Graph) and isinstance(training.objective, ProxyLosses)
    anchors = read_anchors(run_of(config, place), str(place / "anchors"), ALONE.device)
    batch = next(training.left())
    training.step = len(training.batches) + 3  # in the second epoch
    images = training.augmented(batch)
    found = training.objective(images, batch["label"], training.epoch)
    views = AnchorViews(anchors, config)
    joint = model.train().joint(images, views.of(1))
    terms = losses(joint, batch["label"], anchors.labels, model.head.proxy_labels, config.losses)
    assert found.loss.item() == pytest.approx(sum(term.value.item() for term in terms.values()))
    torch.testing.assert_close(found.logits, joint.images.logits)
    for name, term in terms.items():
        assert found.terms[name].item() == pytest.approx(term.value.item())
        assert not found.terms[name].requires_grad
    assert found.terms["at_active"] == terms["at"].active


def test_other_heads_minimise_the_cross_entropy(place: Path) -> None:
    batches = batches_of(QUICK, str(place / "train"), ALONE, RUNNING)
    _, run = described(QUICK, str(place / "train"), batches)
    model = build_model(QUICK, run)
    objective = objective_of(QUICK, model, ALONE, None)
    assert isinstance(objective, CrossEntropy)
    images, labels = torch.rand(8, 1, 8, 8), torch.arange(8)
    model.eval()
    outcome = objective(images, labels, 0)
    assert not outcome.terms
    torch.testing.assert_close(outcome.loss, F.cross_entropy(model(images), labels))


class Stop(Exception):
    pass


@pytest.mark.parametrize("step", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 13)), 5])
def test_a_stopped_run_goes_on_to_the_same_terms(step: int, place: Path, tmp_path: Path) -> None:
    config = replace(PROXY, shift=1, jitter=(0.4, 0.4, 0.4), images=20)
    config = replace(config, cnn2graph=CNN2GraphConfig(heads=2, dropout=0.3), epochs=3)

    def stop(done: int, total: int) -> None:
        if done == step:
            raise Stop

    whole = fit(place, tmp_path / "whole", config, running=RUNNING)
    with pytest.raises(Stop):
        fit(place, tmp_path / "run", config, running=RUNNING, report=stop)
    assert steps(fit(place, tmp_path / "run", config, running=RUNNING)) == steps(whole)
    both = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run")]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


def test_proxies_learn_and_a_trained_model_has_them(place: Path, tmp_path: Path) -> None:
    fit(place, tmp_path / "run", replace(PROXY, epochs=1), running=RUNNING)
    run, config, model = trained(tmp_path / "run")
    assert isinstance(model, CNN2Graph) and config.head == "cnn2graph" and not model.training
    torch.manual_seed(key(config.seed, "weights"))
    fresh = build_model(config, run)
    assert isinstance(fresh, CNN2Graph)
    saved = load_file(tmp_path / "run" / "model.safetensors")
    assert torch.equal(model.head.proxies, saved["head.proxies"])
    moved = (model.head.proxies - fresh.head.proxies).abs().amax(dim=1)
    assert (moved > 1e-4).all()


def test_a_loss_that_is_not_finite_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"loss of step \d+ is (nan|inf|-inf); its batch of 8"):
        fit(place, tmp_path / "run", replace(PROXY, lr=1e30), running=RUNNING)


def test_the_epoch_of_the_anchors_is_that_of_the_images(place: Path) -> None:
    """A step asks for the views of its own epoch, from 0."""
    asked: list[int] = []

    class Watched(AnchorViews):
        def of(self, epoch: int) -> torch.Tensor:
            asked.append(epoch)
            return super().of(epoch)

    config = replace(PROXY, images=12)
    training = new_training(config, place)
    assert isinstance(training.objective, ProxyLosses)
    anchors = read_anchors(run_of(config, place), str(place / "anchors"), ALONE.device)
    training.objective.views = Watched(anchors, config)
    for batch in training.left():
        training.update(batch)
    assert asked == [0, 0, 0, 1, 1, 1]
