"""Training and measuring segmentation as a user types it."""

from pathlib import Path

import pytest

import quire
from quire.artifacts.bundle import open_bundle
from tests.builders.sources.coco_files import marked, square, write_coco
from tests.builders.sources.devkit import write_devkit
from tests.train.segmentation.small import cooccurrence, scenes, subsets
from tests.train.segmentation.test_evaluate import VAL

SMALL = ["--trunk", "small", "--crop", "40", "--batch-size", "6", "--epochs", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    scenes(folder / "train")
    scenes(folder / "val", VAL)
    cooccurrence(folder / "cooccurrence")
    subsets(folder / "subsets", VAL)
    assert train(folder, "baseline", "--variant", "baseline") == 0
    return folder


def train(place: Path, run: str, *options: str) -> int:
    where = ["--data", str(place / "train"), "--out", str(place / run), "--no-tensorboard"]
    return quire.main(["train", "segment", *where, *SMALL, *options])


def test_two_seeds_are_trained_and_measured(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--cooccurrence", str(place / "cooccurrence"), "--denoising-epochs", "1"]
    for seed in ("0", "1"):
        assert train(place, seed, "--seed", seed, *options) == 0
    assert train(place, "1", "--seed", "1", *options) == 0
    said = capsys.readouterr().out
    assert said.count(": trained; 6 steps, a loss of") == 2 and "was trained before" in said
    runs, table = [str(place / "0"), str(place / "1")], place / "table.csv"
    asked = ["--data", str(place / "val"), "--subsets", str(place / "subsets"), "--csv", str(table)]
    assert quire.main(["evaluate", *runs, *asked]) == 0
    said = capsys.readouterr().out
    assert "all (9)" in said and "2-unique" in said and "blue_disc" in said
    assert "bound" in said and "over 2 seeds" in said
    assert any(line.startswith("all (9)") for line in table.read_text().splitlines())


def test_what_learned_from_coco_is_measured_on_voc(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    categories = [{"id": 1, "name": "person"}, {"id": 63, "name": "couch"}]
    objects = [marked(square(0, 0, 5), 1), marked(square(2, 1, 4), 63, image=9)]
    coco = write_coco(tmp_path / "coco", objects, categories=categories)
    write_devkit(tmp_path / "voc")
    for recipe in ("scenes", "cooccurrence"):
        for name, source, split in (
            ("own", f"coco:{coco}", "val"),
            ("coco", f"coco:{coco}?classes=voc&overlap=void", "val"),
            ("voc", f"voc2012:{tmp_path / 'voc'}", "val"),
        ):
            where = ["--source", source, "--split", split, "--out", str(tmp_path / recipe / name)]
            assert quire.main(["build", recipe, *where, "--workers", "0"]) == 0
    names = [
        open_bundle(tmp_path / recipe / name).manifest.identity.source["class_names"]
        for recipe in ("scenes", "cooccurrence")
        for name in ("coco", "voc")
    ]
    assert all(one == names[0] for one in names) and len(names[0]) == 21
    options = [*SMALL, "--batch-size", "2", "--no-tensorboard", "--variant", "baseline"]
    for name in ("own", "coco"):
        where = ["--data", str(tmp_path / "scenes" / name), "--out", str(tmp_path / "runs" / name)]
        assert quire.main(["train", "segment", *where, *options]) == 0
    capsys.readouterr()
    asked = ["--data", str(tmp_path / "scenes/voc")]
    assert quire.main(["evaluate", str(tmp_path / "runs/coco"), *asked]) == 0
    assert "all (2)" in capsys.readouterr().out
    assert quire.main(["evaluate", str(tmp_path / "runs/own"), *asked]) == 1
    said = capsys.readouterr()
    assert "classes" in said.err and said.err.count("\n") == 1


def test_what_is_wrong_is_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = str(place / "baseline"), ["--data", str(place / "val")]
    capsys.readouterr()
    for arguments, message in (
        (["evaluate", run, *data, "--seed", "3"], "segmentation knows images and batch-size"),
        (["evaluate", run, *data, "--anchors", "x"], "has no context and no anchors"),
        (["evaluate", run, *data, "--subsets", "nowhere"], "nowhere does not exist"),
    ):
        assert quire.main(arguments) == 1
        said = capsys.readouterr()
        assert message in said.err and said.err.count("\n") == 1 and not said.out
    assert train(place, "new") == 1
    assert "wants a bundle by the name of cooccurrence" in capsys.readouterr().err
    assert not (place / "new").exists()
