"""Attacks of trained classifiers by queries: what is asked, kept, and refused."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import quire
from quire.artifacts.errors import RunError
from quire.loaders.augment import to_float
from quire.loaders.stream import stream
from quire.train.attacks.bandits import Bandits
from quire.train.attacks.simba import SimBA, simba
from quire.train.classify import attack as attacks
from quire.train.classify.attack import Queried, Queries, attack
from quire.train.classify.evaluate import Judge, context_of
from quire.train.classify.run import trained
from quire.train.classify.training import train
from quire.train.engine.runs import MODEL
from tests.bundles import IDENTITY, image_bundle, random_images
from tests.train.corrupted import with_manifest
from tests.train.learnable import LEARNING, PROXY, RARELY, anchor_bundle, learnable_bundle

HOW = Queries(
    images=20,
    simba=SimBA(frequencies=8, step=0.5, directions=30),
    bandits=Bandits(epsilon=0.3, tile=4, queries=40),
    at_once=8,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training bundle, a test bundle, and a run of each head."""
    place = tmp_path_factory.mktemp("attacked")
    learnable_bundle(place / "train", images=40)
    learnable_bundle(place / "test", images=30, seed=1)
    for head in ("linear", "graph"):
        config: Any = replace(LEARNING, head=head)
        train(config, str(place / "train"), place / head, running=RARELY)
    return place


@pytest.fixture
def runs(place: Path, tmp_path: Path) -> Path:
    """The same, in a place of the test's own."""
    return Path(shutil.copytree(place, tmp_path / "place"))


def attacked(runs: Path, run: str = "graph", how: Queries = HOW, **rest: Any) -> list[Queried]:
    options = {"context": str(runs / "train"), "device": "cpu", **rest}
    return attack(runs / run, str(runs / "test"), how=how, **options)


@pytest.mark.parametrize("run", [pytest.param("linear", marks=pytest.mark.slow), "graph"])
def test_what_is_found_is_what_the_attack_finds_of_each_image(runs: Path, run: str) -> None:
    found = attacked(runs, run)
    assert [one.attack for one in found] == ["simba", "bandits"]
    rows = [image.row for image in found[0].images]
    assert len(set(rows)) == 20 and max(rows) < 30 and rows != sorted(rows)  # clean ones
    assert rows == [image.row for image in found[1].images]
    about, config, model = trained(runs / run)
    judge = Judge(model, "float32", torch.device("cpu"))
    if run == "graph":
        context = context_of(about, config, str(runs / "train"), config.batch_size - 1, 0)
        judge.see(next(iter(context))["image"])

    def answer(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return judge.logits(judge.model.features(images), "transductive")

    order = sorted(rows)
    batch = next(iter(stream(runs / "test", rows=order, batch_size=20)))
    plain = simba(
        *(answer, to_float(batch["image"]), batch["label"], torch.tensor(order)),
        how=HOW.simba,
        at_once=20,
    )
    ours = {image.row: image for image in found[0].images}
    assert [ours[row].correct for row in order] == plain.correct.tolist()
    assert 0 < found[0].attacked and 0 < len(found[0].fooled)
    # float32 rounds in calls of another shape otherwise, and a step hangs on it now and then
    equal = [ours[row].queries == count for row, count in zip(order, plain.queries, strict=True)]
    assert sum(equal) >= 17


def test_no_query_sees_another(runs: Path) -> None:
    about, config, model = trained(runs / "graph")
    judge = Judge(model, "float32", torch.device("cpu"))
    judge.see(next(iter(context_of(about, config, str(runs / "train"), 7, 0)))["image"])
    target = attacks._Target(judge, "", stream(runs / "test").rows, {}, runs)
    images = torch.rand(8, 1, 8, 8)
    others = torch.cat([images[:1], torch.rand(7, 1, 8, 8)])
    torch.testing.assert_close(target(images)[0], target(others)[0], atol=1e-6, rtol=0)


def test_measures_are_of_the_successes(runs: Path) -> None:
    for one in attacked(runs):
        right = [image for image in one.images if image.correct]
        fooled = [image for image in right if image.fooled]
        assert one.attacked == len(right) and one.fooled == tuple(fooled)
        assert one.success == pytest.approx(100 * len(fooled) / len(right))
        counts = sorted(image.queries for image in fooled)
        middle = counts[(len(counts) - 1) // 2 : len(counts) // 2 + 1]
        assert one.median_queries == pytest.approx(sum(middle) / len(middle))
        assert one.mean("queries") == pytest.approx(sum(counts) / len(counts))
        assert all(image.queries == 0 for image in one.images if not image.correct)
        assert all(image.linf <= 0.3 + 1e-6 for image in one.images) or one.attack == "simba"


def test_an_attack_that_was_stopped_goes_on(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attacked(Path(shutil.copytree(runs, tmp_path / "whole")))

    def stop(done: int, total: int) -> None:
        assert total == 40
        if done == 28:  # of 20 and 20, in blocks of 8: the first block of the second attack
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attacked(runs, report=stop)
    assert len([*(runs / "graph/evaluations").glob("*/0*.json")]) == 4
    asked = []
    bandits = attacks.ATTACKS["bandits"]

    def counted(how: Queries, model: Any, block: Any) -> Any:
        asked.append(len(block.rows))
        return bandits(how, model, block)

    monkeypatch.setattr(attacks, "ATTACKS", {"bandits": counted})  # and simba is not asked again
    assert attacked(runs) == whole
    assert asked == [8, 4]
    assert attacked(runs) == whole and asked == [8, 4]


def test_each_attack_says_what_was_asked(runs: Path) -> None:
    attacked(runs)
    questions = [json.loads(p.read_text()) for p in runs.glob("graph/evaluations/*/question.json")]
    assert sorted(question["what"] for question in questions) == ["bandits", "simba"]


def test_another_question_is_another_answer(runs: Path) -> None:
    few = replace(HOW, attacks=("simba",), images=8)
    attacked(runs, how=few)
    for other in (replace(few, seed=1), replace(few, simba=replace(few.simba, step=0.1))):
        attacked(runs, how=other)
    places = [*(runs / "graph/evaluations").iterdir()]
    assert len(places) == 3
    question = json.loads((places[0] / "question.json").read_text())
    assert len(question["context"]) == LEARNING.batch_size - 1 and question["what"] == "simba"


def test_attention_to_anchors_can_be_attacked(runs: Path) -> None:
    anchors = str(anchor_bundle(runs / "anchors", of_class=2))
    train(PROXY, str(runs / "train"), runs / "proxy", anchors=anchors, running=RARELY)
    found = attacked(runs, "proxy", replace(HOW, attacks=("simba",)), anchors=anchors)
    assert len(found[0].images) == 20


# ---- what is refused


def refused(runs: Path, reason: str, **rest: Any) -> None:
    with pytest.raises(RunError, match=reason) as caught:
        attacked(runs, **rest)
    assert "\n" not in str(caught.value)


def spoil(runs: Path, bias: list[float]) -> None:
    """Make the linear run one that says the same of all."""
    weights = load_file(runs / "linear" / MODEL)
    for name in weights:
        if name.endswith("final.weight"):
            weights[name].zero_()
        if name.endswith("final.bias"):
            weights[name].copy_(torch.tensor(bias))
    save_file(weights, runs / "linear" / MODEL)


def test_nan_is_told_and_loses_nothing(runs: Path) -> None:
    attacked(runs, "linear", replace(HOW, attacks=("simba",)))
    before = sorted((runs / "linear/evaluations").rglob("*.json"))
    spoil(runs, [float("nan")] * 10)
    refused(runs, "answers an image with NaN", run="linear")
    assert sorted((runs / "linear/evaluations").rglob("*.json")) == before


def test_a_model_that_is_never_right_is_told(runs: Path) -> None:
    """Whatever it is shown, it says 1, and all that it is shown is 0."""
    spoil(runs, [0, 1, *[0] * 8])
    images, labels = random_images(30, (8, 8, 1))
    image_bundle(runs / "alike", images, labels * 0, samples_per_shard=30)
    with pytest.raises(RunError, match="none of 20 images is classified correctly"):
        attack(runs / "linear", str(runs / "alike"), how=HOW)


def test_a_model_that_looks_at_its_batch_is_told(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = Judge.logits

    def over_the_batch(judge: Judge, features: torch.Tensor, setting: Any) -> torch.Tensor:
        return logits(judge, features - features.mean(0), setting)

    monkeypatch.setattr(Judge, "logits", over_the_batch)
    refused(runs, "depends on the images beside it")


def test_other_data_is_told(runs: Path, tmp_path: Path) -> None:
    refused(runs, r"has 30 clean images; 31 were asked for", how=replace(HOW, images=31))
    learnable_bundle(tmp_path / "other", images=40, seed=9)
    refused(runs, "is not the bundle that the run was trained on", context=str(tmp_path / "other"))
    with_manifest(runs / "test", source={**IDENTITY.source, "class_names": ["a", "b"]})
    refused(runs, "has other classes than the run was trained on")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"attacks": ()}, "attacks must be some"),
        ({"attacks": ("simba", "simba")}, "each of them once"),
        ({"attacks": ("fgsm",)}, "no 'fgsm'; there are simba, bandits"),
        ({"images": 0}, "images"),
        ({"at_once": 0}, "at_once"),
        ({"batch_size": 1}, "batch_size"),
    ],
)
def test_options_that_make_no_sense_are_told(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(RunError, match=reason):
        Queries(**wrong)


# ---- the command


def test_the_command_knows_what_is_attacked(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["attack", str(runs / "graph"), "--data", str(runs / "test"), "--images", "8"]
    words += ["--at-once", "8", "--simba.directions", "9", "--bandits.queries", "9"]
    assert quire.main([*words, "--csv", str(tmp_path / "a.csv"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "attacked by queries on" in said and "simba" in said and "bandits" in said
    lines = [*csv.DictReader((tmp_path / "a.csv").read_text().splitlines())]
    assert len(lines) == 16 and {line["attack"] for line in lines} == {"simba", "bandits"}
    assert quire.main([*words[:1], "classifier", *words[1:], "--attacks", "simba"]) == 0
    capsys.readouterr()
    assert quire.main(["attack", str(runs / "graph"), "--data", str(runs / "test")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "1,000 were asked for" in error


def test_runs_that_are_not_attacked_are_told(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = json.loads((runs / "graph/run.json").read_text())
    (runs / "graph/run.json").write_text(json.dumps({**run, "method": "segment"}))
    assert quire.main(["attack", str(runs / "graph"), "--data", str(runs / "test")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "runs of segment are not attacked" in error
