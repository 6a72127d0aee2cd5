"""Training on a bundle of the recipe `segmix`, in either of its forms."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from quire.artifacts.errors import RunError
from quire.builders.engine.run import build
from quire.builders.recipes.segmix import SegMix
from quire.train.engine.metrics import read_metrics
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from tests.train.segmentation.small import QUICK, RUNNING, SHAPES, SIDE, scenes

CONFIG = replace(QUICK, variant="binding-cc", epochs=1)


def blends(folder: Path, form: Literal["materialised", "virtual"]) -> Path:
    """Twenty blends of the drawn scenes."""
    quality = None if form == "materialised" else 95  # lossless; the virtual form has no pictures
    recipe = SegMix(split="train", form=form, limit=20, crop=SIDE, quality=quality)
    build(recipe, SHAPES, folder)
    return folder


@pytest.mark.slow
def test_both_forms_train_to_the_same_losses(tmp_path: Path) -> None:
    clean, found = scenes(tmp_path / "clean"), []
    for form in ("materialised", "virtual"):
        data, run = blends(tmp_path / form, form), tmp_path / f"run-{form}"
        train_segmentation(CONFIG, Bundles(data=str(data), clean=str(clean)), run, running=RUNNING)
        found.append([line["loss"] for line in read_metrics(run) if "loss" in line])
    assert len(found[0]) == 3 + 3  # 20 blends, then 20 scenes, in batches of 6
    assert found[0] == found[1]


def test_a_part_of_the_images_cannot_be_chosen_among_blends(tmp_path: Path) -> None:
    data, clean = blends(tmp_path / "virtual", "virtual"), scenes(tmp_path / "clean")
    with pytest.raises(RunError, match="images chooses among scenes"):
        train_segmentation(
            replace(CONFIG, images=5),
            Bundles(data=str(data), clean=str(clean)),
            tmp_path / "run",
            running=RUNNING,
        )
