"""`quire panels` as a user types it."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

import quire
from quire.train.engine.runs import MODEL
from quire.train.segmentation.measure import ANSWERS
from tests.train.segmentation.small import cooccurrence, scenes
from tests.train.segmentation.test_evaluate import VAL, opinionated

SMALL = ["--trunk", "small", "--crop", "40", "--batch-size", "6", "--epochs", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    data = ["--data", str(scenes(folder / "train")), "--no-tensorboard", *SMALL]
    bound = ["--cooccurrence", str(cooccurrence(folder / "meet")), "--denoising-epochs", "0"]
    for name, options in (("baseline", ["--variant", "baseline"]), ("binding", bound)):
        where = ["--out", str(folder / name)]
        assert quire.main(["train", "segment", *data, *where, *options]) == 0
        opinionated(folder / name, MODEL)
    scenes(folder / "val", VAL)
    (folder / "pictures").mkdir()
    for row in range(2):
        Image.fromarray(VAL.scene(row).image).save(folder / "pictures" / f"{row}.jpg")
    return folder


def panels(place: Path, out: Path, *options: str) -> bytes:
    """What is written of the two runs."""
    both = [str(place / "baseline"), str(place / "binding")]
    assert quire.main(["panels", *both, "--out", str(out), *options]) == 0
    with Image.open(out) as picture:
        assert picture.format == "PNG"
    assert os.listdir(out.parent) == [out.name]
    return out.read_bytes()


@pytest.mark.slow
def test_scenes_are_chosen_once_and_for_all_or_named(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "new" / "sheet.PNG", ["--data", str(place / "val")]
    capsys.readouterr()
    first = panels(place, out, *data)
    said = capsys.readouterr()
    with Image.open(out) as picture:
        size = f"{picture.width:,} x {picture.height:,} pixels"
    assert said.out == f"{out}: baseline, binding on {place / 'val'}, {size}\n" and not said.err
    assert panels(place, out, *data, "--images", "6") == first
    assert panels(place, out, *data, "--images", "5") != first
    keys = [VAL.ids[4], VAL.ids[1]]
    named = panels(place, out, *data, "--keys", *keys)
    assert named != panels(place, out, *data, "--keys", *reversed(keys))
    everything = panels(place, out, *data, "--images", "99")
    assert everything == panels(place, out, *data, "--keys", *VAL.ids)


@pytest.mark.slow
def test_answers_and_names_are_options(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, some = tmp_path / "sheet.png", ["--data", str(place / "val"), "--images", "2"]
    sheets = {answer: panels(place, out, *some, "--answer", answer) for answer in ANSWERS}
    assert len(set(sheets.values())) == 3 and sheets["target"] == panels(place, out, *some)
    named = panels(place, out, *some, "--names", "baseline", "binding")
    assert named == sheets["target"] != panels(place, out, *some, "--names", "one", "two")
    monkeypatch.chdir(place / "binding")
    assert quire.main(["panels", "../baseline/", ".", "--out", str(out), *some]) == 0
    assert out.read_bytes() == named


def test_a_picture_is_replaced_whole(place: Path, tmp_path: Path) -> None:
    before, out = tmp_path / "before", tmp_path / "new" / "sheet.png"
    before.write_bytes(b"before")
    out.parent.mkdir()
    os.link(before, out)
    panels(place, out, "--pictures", str(place / "pictures"))
    assert before.read_bytes() == b"before"


def test_pictures_of_a_folder_are_shown(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, folder = tmp_path / "sheet.png", str(place / "pictures")
    shown = panels(place, out, "--pictures", folder)
    assert f"{out}: baseline, binding on {folder}, " in capsys.readouterr().out
    assert shown != panels(place, out, "--pictures", folder, "--answer", "bound")


def test_what_is_wrong_is_one_line_and_nothing_is_written(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = str(place / "baseline"), ["--data", str(place / "val")]
    pictures, out = ["--pictures", str(place / "pictures")], tmp_path / "sheet.png"
    out.write_bytes(b"what was there before")
    shutil.copytree(run, place / "other" / "baseline")
    again = str(place / "other" / "baseline")
    (tmp_path / "folder.png").mkdir()
    wrong = ["--out", str(tmp_path / "sheet.jpg")]
    capsys.readouterr()
    for arguments, message in (
        ([run], "either --data or --pictures"),
        ([run, *data, *pictures], "either --data or --pictures"),
        ([*data], "no run is named"),
        ([run, *data, *wrong], "sheet.jpg is no name of a picture: it must end in .png"),
        ([run, *data, "--out", str(tmp_path / "folder.png")], "folder.png is a folder"),
        ([run, *pictures, "--out", str(place / "val" / ".." / "pictures" / "x.png")], "itself"),
        ([run, *data, "--keys", "nobody"], "has no scene nobody"),
        ([run, *data, "--keys", "a", "--images", "2"], "--keys or --images"),
        ([run, *data, "--images", "0"], "images is 0; it must be at least 1"),
        ([run, *data, "--images", "-3"], "images is -3"),
        ([run, *pictures, "--images", "2"], "among the scenes of --data"),
        ([run, *pictures, "--keys", "a"], "among the scenes of --data"),
        ([run, *data, "--names", "a", "b"], "there are 2 names for 1 runs"),
        ([run, run, *data], "two runs are called baseline"),
        ([run, again, *data], "two runs are called baseline"),
        ([run, again, *data, "--names", "a", "a"], "two runs are called a"),
        ([str(place), *data], "is no run: it has no run.json"),
        ([run, "--data", str(place / "none")], "none does not exist"),
        ([run, "--pictures", str(place / "none")], "none is no folder of pictures"),
        ([run, "--pictures", str(place / "val")], "has no pictures"),
    ):
        command = ["panels", "--out", str(out), *arguments]
        assert quire.main(command) == 1, arguments
        said = capsys.readouterr()
        assert message in said.err and said.err.count("\n") == 1 and not said.out, arguments
    assert out.read_bytes() == b"what was there before"
    assert sorted(os.listdir(tmp_path)) == ["folder.png", "sheet.png"]
    assert sorted(os.listdir(place / "pictures")) == ["0.jpg", "1.jpg"]


def test_help_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        quire.main(["panels", "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in ("out", "data", "keys", "images", "pictures", "names", "answer", "device"):
        assert f"--{option}" in said
    with pytest.raises(SystemExit) as end:
        quire.main(["panels", "run", "--data", "x", "--out", "x.png", "--answer", "bond"])
    assert end.value.code == 2
