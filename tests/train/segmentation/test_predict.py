"""Masks of whole images: each hangs on its image alone; a stop loses nothing; bad input is told."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import quire
from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.masks import voc_palette
from quire.artifacts.verify import verify
from quire.builders.sources.voc import CLASS_NAMES
from quire.train.engine.runs import MODEL
from quire.train.segmentation import predict as module
from quire.train.segmentation.measure import Predictor
from quire.train.segmentation.predict import VOC_RESULTS, Predictions, predict, whole
from quire.train.segmentation.pseudo import MEMBER
from quire.train.segmentation.run import Answer, trained
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from tests.builders.sources.devkit import write_devkit
from tests.same_folder import assert_same
from tests.train.segmentation.small import RUNNING, SHAPES, cooccurrence, of, scenes
from tests.train.segmentation.test_evaluate import opinionated


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    alone = Bundles(data=str(scenes(folder / "train")))
    bound = replace(alone, cooccurrence=str(cooccurrence(folder / "cooccurrence")))
    train_segmentation(of("baseline", epochs=1), alone, folder / "run", running=RUNNING)
    train_segmentation(of("binding-cm", epochs=1), bound, folder / "binding", running=RUNNING)
    for name in ("run", "binding"):
        opinionated(folder / name, MODEL)
    (folder / "pictures").mkdir()
    for index in range(5):
        image = SHAPES.scene(index).image[: 40 - index, : 33 + index]
        Image.fromarray(image).save(folder / f"pictures/p{index}.png")
    return folder


def masks(folder: Path) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    bundle: Bundle = open_bundle(folder)
    for row in range(len(bundle.index)):
        with Image.open(io.BytesIO(bundle.read(row)[MEMBER])) as picture:
            yield bundle.index.rows.keys[row].decode(), np.array(picture)


def test_every_pixel_of_every_image_has_a_class(place: Path, tmp_path: Path) -> None:
    manifest = predict(place / "run", tmp_path / "out", data=str(place / "train"), device="cpu")
    assert manifest.samples == len(SHAPES) and verify(tmp_path / "out") == ()
    assert manifest.identity.recipe["kind"] == "predictions"
    assert set(manifest.identity.inputs) == {"bundle", "weights"}
    rows = open_bundle(tmp_path / "out").index.rows
    for row, (key, mask) in enumerate(masks(tmp_path / "out")):
        assert mask.shape == SHAPES.scene(row).image.shape[:2] and mask.max() < 21
        assert key == SHAPES.ids[row] and rows.columns["height"][row] == mask.shape[0]
        assert rows.columns["classes"][row] == sum(1 << int(c) for c in np.unique(mask))


def test_a_mask_is_what_the_network_says_of_the_padded_image(place: Path, tmp_path: Path) -> None:
    predict(place / "run", tmp_path / "out", pictures=str(place / "pictures"), device="cpu")
    _, config, model = trained(place / "run")
    predictor = Predictor(model, config, torch.device("cpu"))
    for index, (key, mask) in enumerate(masks(tmp_path / "out")):
        assert key == f"p{index}" and mask.shape == (40 - index, 33 + index)
        image = SHAPES.scene(index).image[: 40 - index, : 33 + index]
        padded = np.empty((40, 40 if index < 8 else 56, 3), np.uint8)  # 16 k + 40 % 16
        padded[:] = config.fill
        padded[: 40 - index, : 33 + index] = image
        pixels = torch.from_numpy(padded).movedim(-1, 0)[None]
        expected = predictor.answers(pixels)["target"][0, : 40 - index, : 33 + index]
        np.testing.assert_array_equal(mask, expected)
        alone = whole(predictor, torch.from_numpy(image).movedim(-1, 0), "target")
        np.testing.assert_array_equal(mask, alone)


def test_a_list_says_which_pictures_and_in_which_order(place: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("p3\n\n p1 \n")
    pictures = str(place / "pictures")
    predict(place / "run", tmp_path / "out", pictures=pictures, listed=listed, device="cpu")
    predict(place / "run", tmp_path / "all", pictures=pictures, device="cpu")
    every = dict(masks(tmp_path / "all"))
    found = list(masks(tmp_path / "out"))
    assert [key for key, _ in found] == ["p3", "p1"]
    for key, mask in found:
        np.testing.assert_array_equal(mask, every[key])


def test_each_answer_of_feature_binding(place: Path, tmp_path: Path) -> None:
    pictures = str(place / "pictures")
    answers: tuple[Answer, ...] = ("target", "phantom")
    for answer in answers:
        out = tmp_path / answer
        predict(place / "binding", out, pictures=pictures, answer=answer, device="cpu")
    with pytest.raises(RunError, match="has no answer 'phantom'; it has target"):
        predict(place / "run", tmp_path / "x", pictures=pictures, answer="phantom")
    assert not (tmp_path / "x").exists()


def test_what_was_stopped_goes_on_to_the_same_bytes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_two(**fields: Any) -> Predictions:
        return Predictions(**fields, samples_per_shard=2)

    monkeypatch.setattr(module, "Predictions", of_two)
    pictures = str(place / "pictures")
    predict(place / "run", tmp_path / "whole", pictures=pictures, device="cpu")
    seen: list[int] = []

    def stopped(predictor: Predictor, image: torch.Tensor, answer: Any) -> NDArray[np.uint8]:
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(1)
        return whole(predictor, image, answer)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "whole", stopped)
        predict(place / "run", tmp_path / "out", pictures=pictures, device="cpu")
    assert not (tmp_path / "out/manifest.json").exists()
    predict(place / "run", tmp_path / "out", pictures=pictures, device="cpu")
    assert_same(tmp_path / "out", tmp_path / "whole")


def test_bad_input_is_one_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.jpg").write_bytes(b"x")
    Image.new("RGB", (9, 9)).save(bad / "b.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dots").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "dots/a.b.png")
    listed = tmp_path / "list.txt"
    listed.write_text("p1\nnone\n")
    twice = tmp_path / "twice.txt"
    twice.write_text("p1\np1\n")
    run, good = str(place / "run"), str(place / "pictures")
    for arguments, reason in (
        ([run], "either data or pictures"),
        ([run, "--data", str(place / "train"), "--pictures", good], "either data or pictures"),
        ([run, "--data", str(place / "train"), "--listed", str(listed)], "a list of names chooses"),
        ([run, "--pictures", str(tmp_path / "empty")], "has no pictures; found nothing"),
        ([run, "--pictures", str(tmp_path / "nowhere")], "has no pictures; found no such folder"),
        ([run, "--pictures", str(tmp_path / "dots")], "key 'a.b' is not made of letters"),
        ([run, "--pictures", good, "--listed", str(listed)], "has no picture none"),
        ([run, "--pictures", good, "--listed", str(twice)], "names p1 twice"),
        ([run, "--pictures", good, "--listed", str(tmp_path / "no.txt")], "cannot read"),
        ([run, "--pictures", str(bad)], "a.jpg: no BMP, JPEG"),
        ([run, "--pictures", good, "--voc-results", str(tmp_path / "r")], "VOC's 21 classes"),
        ([str(tmp_path), "--pictures", good], str(tmp_path)),
    ):
        capsys.readouterr()
        assert quire.main(["predict", *arguments, "--out", str(tmp_path / "out")]) == 1, reason
        said = capsys.readouterr()
        assert reason in said.err and said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "r").exists()
    options = ["--pictures", str(bad), "--skip-bad", "--out", str(tmp_path / "left")]
    assert quire.main(["predict", run, *options]) == 0
    assert [one.file for one in open_bundle(tmp_path / "left").manifest.left_out] == ["a.jpg"]


def test_voc_s_server_gets_its_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_devkit(tmp_path / "voc")
    where = ["--source", f"voc2012:{root}", "--split", "train", "--workers", "0"]
    assert quire.main(["build", "scenes", *where, "--out", str(tmp_path / "scenes")]) == 0
    small = ["--trunk", "small", "--crop", "40", "--batch-size", "2", "--epochs", "1"]
    data = ["--data", str(tmp_path / "scenes"), "--no-tensorboard", "--variant", "baseline"]
    run = str(tmp_path / "run")
    assert quire.main(["train", "segment", *data, *small, "--out", run]) == 0
    listed = tmp_path / "test.txt"
    listed.write_text("2008_000002\n2007_000003\n")
    pictures = ["--pictures", str(root / "JPEGImages"), "--listed", str(listed)]
    results = ["--out", str(tmp_path / "out"), "--voc-results", str(tmp_path / "sent")]
    capsys.readouterr()
    for _ in range(2):
        assert quire.main(["predict", run, *pictures, *results]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'out'}: 2 masks of" in said and "comp6_test_cls: 2 files" in said
    files = sorted((tmp_path / "sent" / VOC_RESULTS).iterdir())
    assert [one.name for one in files] == ["2007_000003.png", "2008_000002.png"]
    for one in files:
        with Image.open(one) as picture:
            assert picture.mode == "P" and picture.size == (8, 6)
            assert picture.getpalette() == voc_palette().ravel().tolist()
            assert np.array(picture).max() < len(CLASS_NAMES)
    assert quire.main(["show", str(tmp_path / "out")]) == 0
