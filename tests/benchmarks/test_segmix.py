"""The benchmark of blends holds ours against the plain way of making the same ones."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import segmix
from quire.builders.recipes.segmix import SegMix
from quire.builders.recipes.segmix_pairs import Ranges, blends_of


def pixels(data: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture, np.float64)


def test_both_ways_make_the_same_blends(tmp_path: Path) -> None:
    source = segmix.write_scenes(tmp_path, None)
    recipe = SegMix(crop=120, limit=6)
    task = segmix.task_of(recipe, source, 3)
    ranges = Ranges(delta=recipe.delta, scale=recipe.scale, crop=120, flip=True)
    (runs,) = [run.samples for run in recipe.samples(source, task) if run.samples.keys]
    for number, one in enumerate(blends_of(task.pairs, seed=0, num_classes=21, ranges=ranges)):
        plain = segmix.plain_files(source, one)
        ours = {name: files[number] for name, files in runs.members.items()}
        assert np.abs(pixels(plain["jpg"]) - pixels(bytes(ours["jpg"]))).mean() < 1.5
        for name in ("mask.png", "phantom.png"):
            same = pixels(plain[name]) == pixels(bytes(ours[name]))
            assert same.mean() > 0.99
    assert number == 2


@pytest.mark.slow
def test_it_times_building_and_delivering(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "segmix.json"
    segmix.main(["--blends", "3", "--crop", "40", "--rounds", "2", "--out", str(out)])
    tables = json.loads(out.read_text())["tables"]
    assert [[row["name"] for row in table["rows"]] for table in tables] == [
        *([segmix.OURS, segmix.PLAIN],) * 2,
        [segmix.STORED, segmix.VIRTUAL],
    ]
    assert "virtual: " in capsys.readouterr().out
