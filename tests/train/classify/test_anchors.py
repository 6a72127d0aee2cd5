"""Anchors: which they are, what is refused, and what an epoch makes of them."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quire.artifacts.errors import BundleError, RunError
from quire.loaders.draws import Draws
from quire.loaders.stream import stream
from quire.train.classify.anchors import (
    Anchors,
    AnchorViews,
    anchors_of,
    read_anchors,
    with_anchors,
)
from quire.train.classify.augmentation import augmented
from quire.train.classify.run import described
from quire.train.classify.steps import Training
from quire.train.classify.training import batches_of, train
from quire.train.engine.ranks import Ranks
from quire.train.engine.runs import Run, read_run
from tests.bundles import image_bundle, random_images
from tests.train.corrupted import with_manifest
from tests.train.learnable import PROXY, QUICK, RUNNING, anchor_bundle, learnable_bundle

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    learnable_bundle(place / "train")
    anchor_bundle(place / "anchors", of_class=2)
    return place


def fit(place: Path, run: Path, config: Any = PROXY, **others: Any) -> bool:
    options = {"anchors": str(place / "anchors"), "running": RUNNING, **others}
    return train(config, str(place / "train"), run, **options)


def a_run(place: Path, config: Any = PROXY) -> Run:
    batches = batches_of(config, str(place / "train"), Ranks(0, 1, CPU), RUNNING)
    return described(config, str(place / "train"), batches)[1]


def test_all_images_of_a_bundle_are_anchors_in_its_order(place: Path) -> None:
    anchors = read_anchors(a_run(place), str(place / "anchors"), CPU)
    batch = next(iter(stream(place / "anchors")))
    assert torch.equal(anchors.images, batch["image"]) and anchors.images.dtype == torch.uint8
    assert anchors.labels.tolist() == [i // 2 for i in range(20)]
    assert anchors.rows.tolist() == list(range(20))


def test_a_run_keeps_which_anchors_it_had_and_where(place: Path, tmp_path: Path) -> None:
    fit(place, tmp_path / "run")
    run = read_run(tmp_path / "run")
    digest = hashlib.sha256((place / "anchors" / "manifest.json").read_bytes()).hexdigest()
    assert run.inputs == {"anchors": digest}
    assert run.places == {"anchors": str((place / "anchors").absolute())}
    (tmp_path / "elsewhere").symlink_to(place / "anchors")
    assert not fit(place, tmp_path / "run", anchors=str(tmp_path / "elsewhere"))
    found = anchors_of(run, str(tmp_path / "elsewhere"), CPU)
    assert torch.equal(found.images, anchors_of(run, None, CPU).images)
    anchor_bundle(tmp_path / "others")
    with pytest.raises(RunError, match=r"belongs to another run; inputs\.anchors is"):
        fit(place, tmp_path / "run", anchors=str(tmp_path / "others"))
    with pytest.raises(RunError, match="is not the bundle of anchors that the run was trained"):
        anchors_of(run, str(tmp_path / "others"), CPU)
    with pytest.raises(RunError, match="the anchors are wanted"):
        anchors_of(run, str(tmp_path / "nothing"), CPU)


def test_anchors_are_named_where_they_are_compared_with(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="compares images with anchors: name their bundle"):
        fit(place, tmp_path / "run", anchors=None)
    for head in ("linear", "graph"):
        with pytest.raises(RunError, match=f"a {head} head has no use for them"):
            fit(place, tmp_path / "run", replace(QUICK, head=head))
    assert not (tmp_path / "run").exists()


def test_anchors_that_do_not_fit_are_refused(place: Path, tmp_path: Path) -> None:
    images, labels = random_images(30, (8, 8, 1))
    image_bundle(tmp_path / "few", images[labels != 3], labels[labels != 3], samples_per_shard=9)
    anchor_bundle(tmp_path / "coloured", channels=3)
    anchor_bundle(tmp_path / "large", size=10)
    anchor_bundle(tmp_path / "foreign")
    source = {"kind": "made", "split": "test", "samples": 0, "sha256": "0"}
    with_manifest(tmp_path / "foreign", source={**source, "class_names": ["cat", "dog"]})
    for name, said in {
        "few": "has no anchor of class '3'",
        "coloured": "images of 3 channels; the run's have 1",
        "large": r"have \[10, 10\] pixels, the images \[8, 8\]",
        "foreign": "has other classes than the run",
    }.items():
        with pytest.raises(RunError, match=said):
            fit(place, tmp_path / "run", anchors=str(tmp_path / name))
    with pytest.raises(BundleError):
        fit(place, tmp_path / "run", anchors=str(tmp_path / "nothing"))
    assert not (tmp_path / "run").exists()


JITTERED = replace(PROXY, shift=2, jitter=(0.4, 0.4, 0.4), flip=False, crop=(1.0, 1.0))


def digest(pixels: Tensor) -> str:
    return hashlib.sha256(pixels.contiguous().numpy().tobytes()).hexdigest()


def views(place: Path, config: Any = JITTERED) -> tuple[Anchors, AnchorViews]:
    anchors = read_anchors(a_run(place), str(place / "anchors"), CPU)
    return anchors, AnchorViews(anchors, config)


def test_anchors_look_the_same_all_epoch_and_different_in_the_next(place: Path) -> None:
    _, one = views(place)
    seen = [digest(one.of(epoch)) for epoch in (0, 0, 0, 1, 1, 2)]
    assert seen[0] == seen[1] == seen[2] and seen[3] == seen[4]
    assert len(set(seen)) == 3
    assert one.of(2) is one.of(2)  # not made again
    again = views(place)[1]
    assert [digest(again.of(epoch)) for epoch in (2, 0)] == [seen[5], seen[0]]
    assert digest(views(place, replace(JITTERED, seed=1))[1].of(0)) not in seen


def test_anchors_are_not_augmented_as_the_images_of_the_same_rows(place: Path) -> None:
    anchors, seen = views(place)
    as_images = augmented(JITTERED, anchors.images, Draws(JITTERED.seed, 0, anchors.rows))
    assert all(not torch.equal(*both) for both in zip(seen.of(0), as_images, strict=True))


def test_anchors_are_as_they_are_without_augmentation(place: Path) -> None:
    anchors, seen = views(place, replace(PROXY, crop=(1.0, 1.0), flip=False))
    assert torch.equal(seen.of(3), anchors.images / 255)


class Stop(Exception):
    pass


def test_a_run_that_goes_on_in_mid_epoch_has_the_same_anchors(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, str]] = []
    update = Training.update

    def watched(training: Training, batch: dict[str, Any]) -> Any:
        step = training.step
        objective = training.objective
        pixels = objective.views.of(training.epoch)  # type: ignore[attr-defined]
        seen.append((step, digest(pixels)))
        return update(training, batch)

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise Stop

    monkeypatch.setattr(Training, "update", watched)
    fit(place, tmp_path / "whole", JITTERED)
    whole, seen[:] = dict(seen), []
    with pytest.raises(Stop):
        fit(place, tmp_path / "run", JITTERED, report=stop)
    fit(place, tmp_path / "run", JITTERED)
    assert [step for step, _ in seen] == list(range(10))  # stopped in the second epoch of five
    assert dict(seen) == whole
    assert len(set(whole.values())) == 2


def test_only_a_run_that_wants_anchors_changes(place: Path) -> None:
    run = a_run(place, QUICK)
    assert with_anchors(QUICK, run, run.data, None, CPU) == (run, None)
