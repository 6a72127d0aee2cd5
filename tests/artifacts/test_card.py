"""The card's own examples, followed to the letter inside the bundle that they come with."""

import re
from pathlib import Path
from typing import Any

import pytest

from quire.builders.engine.run import build
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.recipes.scenes import Scenes
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.shapes import Shapes


def example(folder: Path, imports: str) -> str:
    """The part of the card's code that begins by importing something."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    (part,) = [part for part in code.split("\n\n") if imports in part.splitlines()[0]]
    return str(part)


def follow(folder: Path, imports: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the names of an example are when it has run."""
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(example(folder, imports), names)
    return names


def build_scenes(folder: Path) -> Path:
    build(Scenes(), Shapes("train", 3, (48, 40)), folder)
    return folder


def build_digits(folder: Path) -> Path:
    recipe = Corrupted(corruptions=("contrast",), severities=(1,))
    build(recipe, open_source("digits:", split="test"), folder)
    return folder


def test_scenes_are_streamed_though_they_have_no_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = follow(build_scenes(tmp_path), "import quire", monkeypatch)
    assert names["batch"]["image"].shape == (3, 3, 40, 48)
    assert "label" not in names["batch"]


@pytest.mark.filterwarnings("ignore")  # webdataset leaves files open
def test_a_scene_is_shown_by_its_image_and_not_by_a_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = follow(build_scenes(tmp_path), "webdataset", monkeypatch)
    assert 'sample["ppm"]' in example(tmp_path, "webdataset")
    assert (names["sample"]["ppm"].mode, names["sample"]["ppm"].size) == ("RGB", (48, 40))


def test_images_with_labels_are_streamed_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = follow(build_digits(tmp_path), "import quire", monkeypatch)
    assert len(names["batch"]["label"]) == len(names["batch"]["image"])
