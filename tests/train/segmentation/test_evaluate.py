"""Evaluation equals a slow count of every scene by itself, over all of them and over any part."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError, RunError
from quire.artifacts.masks import voc_palette
from quire.artifacts.subset_table import read_subsets
from quire.models.deeplab import upsampled
from quire.models.feature_binding import Scores
from quire.train.classify.training import train
from quire.train.engine.checkpoint import save_weights
from quire.train.engine.runs import EVALUATIONS, MODEL
from quire.train.segmentation.evaluate import ALL, class_grid, evaluate_segmentation, subset_grid
from quire.train.segmentation.measure import Measure, Measured, count
from quire.train.segmentation.panels import picture_panels, scene_panels
from quire.train.segmentation.run import SEPARATION, trained
from quire.train.segmentation.training import train_segmentation
from tests.bundles import image_bundle, random_images
from tests.train.corrupted import with_manifest
from tests.train.learnable import QUICK as CLASSIFY
from tests.train.learnable import learnable_bundle
from tests.train.segmentation.small import QUICK, RUNNING, SHAPES, SIDE, bundles, scenes, subsets

VAL = replace(SHAPES, split="val", length=9, size=(46, 36))  # padded above, cut at the sides
CLASSES = 21


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of feature binding, a baseline, and what both are measured on."""
    folder = tmp_path_factory.mktemp("place")
    given, quiet = bundles(folder), replace(RUNNING, checkpoint_seconds=1e9)
    config = replace(QUICK, epochs=1)
    train_segmentation(config, given["baseline"], folder / "baseline", running=quiet)
    binding = replace(config, variant="binding-cm")
    train_segmentation(binding, given["binding-cm"], folder / "binding", running=quiet)
    opinionated(folder / "baseline", MODEL)
    opinionated(folder / "binding", MODEL)
    opinionated(folder / "binding", SEPARATION)
    scenes(folder / "val", VAL)
    subsets(folder / "subsets", VAL)
    return folder


def opinionated(run: Path, weights: str) -> None:
    """Make a network say many classes, which after so few steps it does not."""
    model = trained(run, separation=weights == SEPARATION)[2]
    generator = torch.Generator().manual_seed(len(weights))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    save_weights(run / weights, model)


def slow_counts(run: Path, answer: str, *, separation: bool = False) -> NDArray[np.int64]:
    """Every scene by itself, pixel after pixel. -> (N, C, C)."""
    _, config, model = trained(run, separation=separation)
    counts = np.zeros((len(VAL), CLASSES, CLASSES), np.int64)
    for number in range(len(VAL)):
        scene = VAL.scene(number)
        image = np.empty((SIDE, SIDE, 3), np.uint8)
        image[:] = config.fill
        image[2:38] = scene.image[:, 3:43]
        mask = np.full((SIDE, SIDE), 255, np.uint8)
        mask[2:38] = scene.truth.mask[:, 3:43]
        with torch.no_grad():
            scores: Tensor | Scores = model(torch.from_numpy(image).movedim(-1, 0)[None] / 255)
        own = scores if isinstance(scores, Tensor) else getattr(scores, answer)
        predicted = upsampled(own, (SIDE, SIDE))[0].argmax(dim=0).numpy()
        for true, said in zip(mask.ravel().tolist(), predicted.ravel().tolist(), strict=True):
            if true != 255:
                counts[number, true, said] += 1
    return counts


def nearly(counts: NDArray[np.int64], expected: NDArray[np.int64]) -> bool:
    """Equal but for pixels whose two best scores differ by no more than rounding."""
    return bool(np.abs(counts - expected).sum() <= 8)


def slow_iou(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Means over classes that occur or were predicted, and over those that occur."""
    either, occurring = [], []
    for c in range(CLASSES):
        union = counts[c].sum() + counts[:, c].sum() - counts[c, c]
        if union:
            either.append(counts[c, c] / union)
        if counts[c].sum():
            occurring.append(counts[c, c] / union)
    return float(np.mean(either)), float(np.mean(occurring))


def by_answer(found: list[Measured]) -> dict[str, Measured]:
    return {one.answer: one for one in found}


def test_counts_are_those_of_every_scene_by_itself(place: Path) -> None:
    for name, answers in {
        "baseline": ["target"],
        "binding": ["target", "bound", "phantom"],
    }.items():
        counted = count(place / name, str(place / "val"), how=Measure(batch_size=4))
        assert list(counted.answers) == answers
        for answer in answers:
            expected = slow_counts(place / name, answer)
            counts = counted.answers[answer].numpy()
            assert nearly(counts, expected) and expected.sum() > 9 * 36 * 30
            assert (expected.sum(axis=(0, 1)) > 50).sum() > 3  # classes that are predicted
            for rows in (None, [0, 3, 8], [5]):
                found = by_answer(counted.over(rows))[answer]
                part = counts.sum(0) if rows is None else counts[rows].sum(0)
                assert (found.mean_iou, found.occurring_iou) == pytest.approx(slow_iou(part))
                assert found.scenes == (len(VAL) if rows is None else len(rows))


def test_the_network_before_denoising_can_be_measured_too(place: Path) -> None:
    how = Measure(separation=True)
    counted = count(place / "binding", str(place / "val"), how=how)
    expected = slow_counts(place / "binding", "target", separation=True)
    assert nearly(counted.answers["target"].numpy(), expected)
    assert not nearly(slow_counts(place / "binding", "target"), expected)
    with pytest.raises(RunError, match="has one stage alone"):
        count(place / "baseline", str(place / "val"), how=how)


def test_subsets_are_measured_by_their_names(place: Path) -> None:
    run, data = place / "binding", str(place / "val")
    found = evaluate_segmentation(run, data, subsets=place / "subsets")
    table = read_subsets(open_bundle(place / "subsets"))
    filled = {name for name, subset in table.subsets.items() if len(subset.rows)}
    assert len(filled) > 2 and found.keys() == {ALL, *filled}
    expected = count(run, data).answers["target"].numpy()
    for name in filled:
        rows = table.subsets[name].rows
        own = by_answer(found[name])["target"]
        assert own.scenes == len(rows)
        assert own.mean_iou == pytest.approx(slow_iou(expected[rows].sum(0))[0])
    same = evaluate_segmentation(run, data, subsets={"some": [0, 3]})
    assert by_answer(same["some"])["target"].scenes == 2
    text = subset_grid(data, [found]).values
    assert text["all (9)", "bound"] == [100 * by_answer(found[ALL])["bound"].mean_iou]
    grid = class_grid(data, list(map(str, range(CLASSES))), [found])
    assert all(math.isfinite(value) for values in grid.values.values() for value in values)


def test_what_was_counted_is_read(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "binding", tmp_path / "run", ignore=lambda *_: [EVALUATIONS])
    seen: list[int] = []
    data = str(place / "val")
    first = count(tmp_path / "run", data, report=lambda done, total: seen.append(done))
    assert seen == [9]
    how = Measure(batch_size=2)  # another question by no more than rounding
    again = count(tmp_path / "run", data, how=how, report=lambda done, total: seen.append(done))
    assert seen == [9]
    assert all(torch.equal(first.answers[name], again.answers[name]) for name in first.answers)
    files = list((tmp_path / "run" / EVALUATIONS).iterdir())
    assert sorted(path.suffix for path in files) == [".json", ".safetensors"]
    next(path for path in files if path.suffix != ".json").write_bytes(b"x")
    with pytest.raises(RunError, match="does not hold what was counted"):
        count(tmp_path / "run", data)


def test_some_scenes_can_be_measured(place: Path) -> None:
    how = Measure(images=4)
    found = evaluate_segmentation(
        place / "baseline", str(place / "val"), how=how, subsets=place / "subsets"
    )
    assert found[ALL][0].scenes == 4
    with pytest.raises(RunError, match="were not measured"):
        count(place / "baseline", str(place / "val"), how=how).over(range(9))


def test_bundles_that_cannot_be_measured_on_are_refused(place: Path, tmp_path: Path) -> None:
    run = place / "baseline"
    image_bundle(tmp_path / "images", *random_images(4), samples_per_shard=4)
    with pytest.raises(RunError, match=r"no mask\.png"):
        count(run, str(tmp_path / "images"))
    shutil.copytree(place / "val", tmp_path / "other")
    names = ["ground", *SHAPES.class_names[1:]]
    with_manifest(tmp_path / "other", source={"class_names": names})
    with pytest.raises(RunError, match="other classes than the run"):
        count(run, str(tmp_path / "other"))
    with pytest.raises(RunError, match="has no scene val_"):
        evaluate_segmentation(run, str(place / "scenes"), subsets=place / "subsets")
    with pytest.raises(BundleError, match=r"no subsets\.h5"):
        evaluate_segmentation(run, str(place / "val"), subsets=place / "val")
    data = learnable_bundle(tmp_path / "classes")
    train(replace(CLASSIFY, epochs=1), str(data), tmp_path / "run", running=RUNNING)
    with pytest.raises(RunError, match="run of classify, not of segment"):
        count(tmp_path / "run", str(place / "val"))


@pytest.mark.parametrize("name", ["crop", "images", "batch_size"])
def test_a_wrong_field_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(RunError, match=f"{name} is 0"):
        Measure(**{name: 0})  # type: ignore[arg-type]


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    pixels = np.asarray(picture).reshape(-1, 3)
    return {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}


@pytest.mark.slow
def test_panels_have_the_ground_truth_and_every_answer(place: Path) -> None:
    runs = {"baseline": place / "baseline", "binding": place / "binding"}
    keys = [VAL.ids[2], VAL.ids[0]]
    sheet = scene_panels(runs, str(place / "val"), keys)
    palette = voc_palette()
    ids = np.unique(np.concatenate([VAL.mask(2)[:, 3:43].ravel(), VAL.mask(0)[:, 3:43].ravel()]))
    assert {tuple(palette[one].tolist()) for one in ids} <= colours(sheet)
    assert sheet.height > 2 * SIDE and sheet.width > 4 * SIDE
    one = scene_panels({"baseline": place / "baseline"}, str(place / "val"), keys)
    assert sheet.width > one.width and sheet.height == one.height
    with pytest.raises(RunError, match="no scene nobody"):
        scene_panels(runs, str(place / "val"), ["nobody"])


def test_pictures_that_nobody_labelled_are_drawn(place: Path, tmp_path: Path) -> None:
    runs, folder = {"binding": place / "binding"}, tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(RunError, match="has no pictures"):
        picture_panels(runs, folder)
    Image.fromarray(VAL.scene(1).image).save(folder / "b.png")
    Image.new("L", (300, 100), 90).save(folder / "a.jpg")
    (folder / "notes.txt").write_text("x")
    assert picture_panels(runs, folder, answer="phantom").height > 40
    (folder / "c.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"c\.jpg is not a sound picture"):
        picture_panels(runs, folder)
    with pytest.raises(RunError, match="no folder of pictures"):
        picture_panels(runs, tmp_path / "nowhere")
