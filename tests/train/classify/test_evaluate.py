import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from quire.artifacts.errors import BundleError, RunError
from quire.loaders.stream import stream
from quire.models.cnn2graph import CNN2Graph, CNN2GraphConfig, Kind
from quire.models.similarity_graph import GraphConfig
from quire.train.classify.evaluate import Evaluate, Judge, Measured, evaluate
from quire.train.classify.run import trained
from quire.train.classify.training import train
from tests.bundles import image_bundle, random_images
from tests.train.corrupted import with_manifest
from tests.train.learnable import PROXY, QUICK, RARELY, anchor_bundle, learnable_bundle

HEADS = {
    "linear": replace(QUICK, head="linear"),
    "mbsg": QUICK,
    "attention": replace(QUICK, graph=GraphConfig(k=3, width=16, layers=2, attention=True)),
}

KINDS: tuple[Kind, ...] = ("transformer", "gnn", "mean", "max")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training bundle, a test bundle, anchors, and a run of each head."""
    place = tmp_path_factory.mktemp("place")
    learnable_bundle(place / "train", images=30)
    learnable_bundle(place / "test", images=21, seed=1)
    for name, config in HEADS.items():
        train(config, str(place / "train"), place / name, running=RARELY)
    anchors = str(anchor_bundle(place / "anchors", of_class=2))
    for kind in KINDS:
        config = replace(PROXY, cnn2graph=CNN2GraphConfig(kind=kind, heads=2), lr=0.02, epochs=4)
        train(config, str(place / "train"), place / kind, anchors=anchors, running=RARELY)
    return place


@pytest.fixture
def runs(place: Path, tmp_path: Path) -> Path:
    """The same, in a place of the test's own."""
    shutil.copytree(place, tmp_path / "place")
    return tmp_path / "place"


def cells(measured: list[Measured]) -> dict[tuple[str, str], Measured]:
    return {(one.setting, one.corruption): one for one in measured}


def images_of(data: Path, keys: list[str]) -> Tensor:
    everything = stream(data, batch_size=1000)
    batch = next(iter(everything))
    place = {key: number for number, key in enumerate(everything.keys(batch["row"]))}
    images: Tensor = batch["image"][[place[key] for key in keys]]
    return images.float() / 255


@pytest.mark.parametrize("head", HEADS)
def test_transductive_accuracy_is_that_of_one_image_at_a_time(head: str, runs: Path) -> None:
    measured = cells(evaluate(runs / head, str(runs / "test")))
    record = json.loads(next((runs / head / "evaluations").iterdir()).read_text())
    _, _, model = trained(runs / head)
    context = images_of(runs / "train", record["context"]) if head != "linear" else None
    for corruption, severity in (("clean", 0.0), ("noise", 2.0)):
        batches = stream(runs / "test", select={"corruption": corruption}, batch_size=1)
        correct = 0
        for batch in batches:
            image = batch["image"].float() / 255
            alone = image if context is None else torch.cat([image, context])
            with torch.no_grad():
                correct += int(model(alone)[0].argmax() == batch["label"][0])
        found = measured["transductive", corruption]
        assert (found.correct, found.images, found.severity) == (correct, 21, severity)


@pytest.mark.parametrize("head", HEADS)
def test_inductive_accuracy_is_that_of_mini_batches_of_test_images(head: str, runs: Path) -> None:
    measured = cells(evaluate(runs / head, str(runs / "test"), how=Evaluate(seed=5)))
    _, _, model = trained(runs / head)
    rows = stream(runs / "test", select={"corruption": "noise"}).rows.tolist()
    correct = 0
    for batch in stream(runs / "test", rows=rows, batch_size=8, shuffle=True, seed=5):
        with torch.no_grad():
            logits = model(batch["image"].float() / 255)
        correct += int((logits.argmax(1) == batch["label"]).sum())
    assert measured["inductive", "noise"].correct == correct


@pytest.mark.parametrize("head", HEADS)
def test_a_query_never_sees_the_others(head: str, place: Path) -> None:
    _, config, model = trained(place / head)
    judge = Judge(model, config.precision, torch.device("cpu"))
    judge.see(torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8))
    queries = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    others = queries.clone()
    others[1:] = 255 - others[1:]
    with torch.inference_mode():
        logits = [judge.logits(judge.features(q), "transductive") for q in (queries, others)]
        alone = judge.logits(judge.features(queries[:1]), "transductive")
    torch.testing.assert_close(logits[0][0], logits[1][0])
    torch.testing.assert_close(logits[0][0], alone[0])
    assert (logits[0][1:] - logits[1][1:]).abs().max() > 1e-3


def test_the_baseline_does_the_same_in_both_settings(runs: Path) -> None:
    measured = cells(evaluate(runs / "linear", str(runs / "test")))
    for corruption in ("clean", "noise"):
        inductive = measured["inductive", corruption]
        assert inductive.correct == measured["transductive", corruption].correct


def test_the_context_is_fixed_and_recorded(runs: Path) -> None:
    evaluate(runs / "mbsg", str(runs / "test"))
    evaluate(runs / "mbsg", str(runs / "test"), how=Evaluate(settings=("transductive",)))
    evaluate(runs / "mbsg", str(runs / "test"), how=Evaluate(seed=1))
    records = [json.loads(path.read_text()) for path in (runs / "mbsg" / "evaluations").iterdir()]
    contexts = {record["question"]["seed"]: record["context"] for record in records}
    assert len(records) == 3
    assert [r["context"] for r in records if r["question"]["seed"] == 0] == [contexts[0]] * 2
    assert contexts[0] != contexts[1]
    for keys in contexts.values():
        assert len(keys) == len(set(keys)) == QUICK.batch_size - 1
        assert keys == sorted(keys)


def test_nothing_is_learned_from_what_is_measured(runs: Path) -> None:
    before = (runs / "mbsg" / "model.safetensors").read_bytes()
    _, config, model = trained(runs / "mbsg")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    judge = Judge(model.train(), config.precision, torch.device("cpu"))
    judge.see(torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8))
    batch = next(iter(stream(runs / "test", batch_size=8)))
    judge.correct(batch, ("inductive", "transductive"))
    assert not model.training
    assert all(torch.equal(buffers[name], buffer) for name, buffer in model.named_buffers())
    evaluate(runs / "mbsg", str(runs / "test"))
    assert (runs / "mbsg" / "model.safetensors").read_bytes() == before


def test_what_was_measured_is_read_and_not_measured_again(runs: Path) -> None:
    first = evaluate(runs / "mbsg", str(runs / "test"))
    seen: list[int] = []
    again = evaluate(
        runs / "mbsg", str(runs / "test"), report=lambda done, total: seen.append(done)
    )
    assert again == first and not seen
    evaluate(
        runs / "mbsg",
        str(runs / "test"),
        how=Evaluate(batch_size=4),
        report=lambda done, total: seen.append(done),
    )
    assert seen[-1] == 42 and seen == sorted(seen)


def test_some_images_and_some_corruptions(runs: Path) -> None:
    how = Evaluate(settings=("inductive",), corruptions=("noise",), images=5)
    (one,) = evaluate(runs / "mbsg", str(runs / "test"), how=how)
    assert (one.corruption, one.images) == ("noise", 5)
    assert one.accuracy == 100 * one.correct / 5
    with pytest.raises(RunError, match=r"no corruption 'fog'; there are: clean, noise"):
        evaluate(runs / "mbsg", str(runs / "test"), how=Evaluate(corruptions=("fog",)))


def test_a_bundle_without_cells_is_one(runs: Path) -> None:
    image_bundle(runs / "plain", *random_images(9, (8, 8, 1)), samples_per_shard=9)
    how = Evaluate(settings=("inductive",))
    (one,) = evaluate(runs / "linear", str(runs / "plain"), how=how)
    assert (one.corruption, one.severity, one.images) == ("all", 0, 9)


def test_the_context_must_be_what_the_run_was_trained_on(runs: Path) -> None:
    other = str(runs / "test")
    with pytest.raises(RunError, match="is not the bundle that the run was trained on"):
        evaluate(runs / "mbsg", other, context=other)
    with pytest.raises(RunError, match="the training images are wanted"):
        evaluate(runs / "mbsg", other, context=str(runs / "nothing"))
    evaluate(runs / "linear", other, context=str(runs / "nothing"))  # which wants no context
    evaluate(runs / "mbsg", other, context=str(runs / "train"))


def test_a_bundle_of_other_classes_is_refused(runs: Path) -> None:
    learnable_bundle(runs / "others")
    source = {"kind": "made", "split": "test", "samples": 0, "sha256": "0"}
    with_manifest(runs / "others", source={**source, "class_names": ["cat", "dog"]})
    with pytest.raises(RunError, match="other classes"):
        evaluate(runs / "mbsg", str(runs / "others"))
    learnable_bundle(runs / "colour", channels=3)
    with pytest.raises(RunError, match="3 channels"):
        evaluate(runs / "mbsg", str(runs / "colour"))
    with pytest.raises(BundleError):
        evaluate(runs / "mbsg", str(runs / "nothing"))


def test_what_makes_no_sense_is_refused(runs: Path) -> None:
    anchors = str(runs / "anchors")
    for fields, message in (
        ({"images": 0}, "images is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"settings": ()}, "no setting"),
    ):
        with pytest.raises(RunError, match=message):
            Evaluate(**fields)
    with pytest.raises(RunError, match="needs two nodes"):
        evaluate(runs / "mbsg", str(runs / "test"), how=Evaluate(batch_size=1))
    for head in ("linear", "gnn"):
        how = Evaluate(batch_size=1)
        assert evaluate(runs / head, str(runs / "test"), how=how, anchors=anchors)
    inductive = Evaluate(settings=("inductive",), batch_size=1)
    assert evaluate(runs / "mbsg", str(runs / "test"), how=inductive)[0].images == 21


def judge_of(place: Path, kind: Kind) -> Judge:
    _, config, model = trained(place / kind)
    anchors = next(iter(stream(place / "anchors")))["image"]
    return Judge(model, config.precision, torch.device("cpu"), anchors)


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_compared_with_anchors_do_not_see_each_other(
    kind: Kind, place: Path
) -> None:
    judge = judge_of(place, kind)
    queries = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    others = queries.clone()
    others[1:] = 255 - others[1:]
    with torch.inference_mode():
        logits = [judge.logits(judge.features(q), "inductive") for q in (queries, others)]
        alone = judge.logits(judge.features(queries[:1]), "inductive")
    torch.testing.assert_close(logits[0][0], logits[1][0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(logits[0][0], alone[0], atol=1e-6, rtol=1e-5)
    assert (logits[0][1:] - logits[1][1:]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_with_anchors_is_that_of_one_image_at_a_time(kind: Kind, runs: Path) -> None:
    measured = cells(evaluate(runs / kind, str(runs / "test")))
    _, _, model = trained(runs / kind)
    assert isinstance(model, CNN2Graph)
    proxy_set = model.prepare(next(iter(stream(runs / "anchors")))["image"].float() / 255)
    correct = 0
    for batch in stream(runs / "test", select={"corruption": "noise"}, batch_size=1):
        with torch.no_grad():
            logits = model(batch["image"].float() / 255, proxy_set)
        correct += int(logits[0].argmax() == batch["label"][0])
    for setting in ("inductive", "transductive"):
        assert measured[setting, "noise"].correct == correct


def test_anchors_are_embedded_once(place: Path) -> None:
    judge = judge_of(place, "gnn")
    seen: list[int] = []
    judge.model.encoder.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    batches = stream(place / "test", batch_size=10)
    for batch in batches:
        judge.correct(batch, ("inductive",))
    assert seen == [10, 10, 10, 10, 2]  # an image costs the same, whatever came before


def test_a_run_is_measured_with_its_own_anchors(runs: Path, tmp_path: Path) -> None:
    data = str(runs / "test")
    others = str(anchor_bundle(tmp_path / "others", of_class=2, seed=1))
    with pytest.raises(RunError, match="is not the bundle of anchors that the run was trained"):
        evaluate(runs / "gnn", data, anchors=others)
    with pytest.raises(RunError, match="the anchors are wanted"):
        evaluate(runs / "gnn", data, anchors=str(tmp_path / "nothing"))
    moved = runs / "moved"
    (runs / "anchors").rename(moved)
    found = evaluate(runs / "gnn", data, anchors=str(moved))
    assert evaluate(runs / "gnn", data, anchors=str(tmp_path / "nothing")) == found  # on record
