"""The table of blends: what no recipe makes is refused before anything is computed with it."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.crop import Crop
from quire.artifacts.errors import BundleError
from quire.artifacts.segmix_table import SEGMIX, crop_row, read_blends, row_crop
from quire.builders.engine.run import build
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.sources.shapes import Shapes
from tests.hostile_tables import with_table

SHAPES = Shapes("train", 8, (40, 32))

Change = Callable[[h5py.File], None]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    build(SegMix(split="train", form="virtual", limit=9, crop=24), SHAPES, tmp_path)
    return tmp_path


def test_a_crop_is_six_numbers() -> None:
    crop = Crop(height=7, width=9, top=-3, left=2, size=12, mirrored=True)
    assert crop_row(crop) == [7, 9, -3, 2, 12, 1]
    assert row_crop(crop_row(crop)) == crop


def test_what_was_written_is_read(bundle: Path) -> None:
    blends = read_blends(open_bundle(bundle))
    assert (len(blends), blends.class_names) == (9, SHAPES.class_names)
    assert blends.in_all > 9
    assert blends.parts.min() >= 717


def _set(name: str, place: tuple[int | slice, ...], value: object) -> Change:
    def change(file: h5py.File) -> None:
        file[name][place] = value

    return change


def _retyped(name: str) -> Change:
    def change(file: h5py.File) -> None:
        array = file[name][()]
        del file[name]
        file[name] = array.astype(np.float32)

    return change


def _shortened(file: h5py.File) -> None:
    array = file["parts"][:-1]
    del file["parts"]
    file["parts"] = array


def _twice(file: h5py.File) -> None:
    file["key"][0] = file["key"][1]


def _unnamed(file: h5py.File) -> None:
    del file.attrs["class_names"]


def _of_itself(file: h5py.File) -> None:
    file["partner_index"][3] = file["source_index"][3]


HOSTILE: dict[str, tuple[Change, str]] = {
    "parts": (_set("parts", (2,), 1025), "parts are beyond"),
    "negative parts": (_set("parts", (2,), -1), "parts are beyond"),
    "background": (_set("cluster", (0,), 0), "a cluster is of no class"),
    "unknown class": (_set("partner_cluster", (0,), 21), "a cluster is of no class"),
    "itself": (_of_itself, "blended with itself"),
    "huge scene": (_set("crop", (1, 0), 1 << 30), "a view is larger"),
    "empty scene": (_set("partner_crop", (1, 1), 0), "a view is larger"),
    "huge square": (_set("crop", (slice(None), 4), 1 << 20), "a view is larger"),
    "two sizes": (_set("crop", (1, 4), 23), "views differ in size"),
    "above": (_set("crop", (1, 2), -24), "shows nothing"),
    "beside": (_set("partner_crop", (1, 3), 60_000), "shows nothing"),
    "mirror": (_set("crop", (1, 5), 2), "neither mirrored nor not"),
    "type": (_retyped("crop"), "crop is float32, not int32"),
    "length": (_shortened, "parts has shape"),
    "key": (_twice, "a key occurs twice"),
    "names": (_unnamed, "does not name its classes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_recipe_makes_is_refused(bundle: Path, name: str) -> None:
    change, reason = HOSTILE[name]
    with_table(bundle, SEGMIX, change)
    with pytest.raises(BundleError, match=reason):
        read_blends(open_bundle(bundle))


def test_a_bundle_of_scenes_has_none(tmp_path: Path) -> None:
    build(Scenes(), SHAPES, tmp_path)
    with pytest.raises(BundleError, match="it is no bundle of blends"):
        read_blends(open_bundle(tmp_path))
