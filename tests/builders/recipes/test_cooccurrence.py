"""Co-occurrence: counts equal a plain count, whoever counted, and the paper's numbers."""

import os
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.bundle import open_bundle
from quire.artifacts.cooccurrence_table import COOCCURRENCE, read_cooccurrence
from quire.artifacts.cooccurrence_table import Cooccurrence as Counts
from quire.artifacts.errors import BundleError, RecipeError, SourceError
from quire.builders.engine.run import build
from quire.builders.rebuild import rebuild
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.shapes import Shapes
from quire.builders.sources.voc_lists import open_voc
from tests.builders.real_data import real_data
from tests.builders.sources.devkit import (
    mask_of,
    write_devkit,
    write_ids,
    write_lists,
    write_scenes,
)
from tests.hostile_tables import with_table

SHAPES = Shapes("val", 23, (40, 32))
RECIPE = Cooccurrence(split="val", masks_per_shard=5)


def counted(folder: Path) -> Counts:
    return read_cooccurrence(open_bundle(folder))


def plain(masks: list[NDArray[np.uint8]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images and pixels, one mask and one pair at a time."""
    images, pixels = np.zeros((2, 21, 21), np.int64)
    for mask in masks:
        classes = [c for c in np.unique(mask).tolist() if c not in (0, 255)]
        for i in classes:
            for j in classes:
                if i != j:
                    images[i, j] += 1
                    pixels[i, j] += (mask == i).sum()
    return images, pixels


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_scene_of_two_classes_counts_once_by_images_and_twice_by_pixels(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask.ravel()[:4], mask.ravel()[4:11], mask.ravel()[11] = 5, 8, 255
    write_scenes(tmp_path / "d", {"a": mask, "b": mask_of(5)}, images=False)
    write_lists(tmp_path / "d", {"val": ["a", "b"]})
    build(RECIPE, open_voc(tmp_path / "d", "val"), tmp_path / "b")
    found = counted(tmp_path / "b")
    assert (found.images[5, 8], found.images[8, 5]) == (1, 1)
    assert (found.pixels[5, 8], found.pixels[8, 5]) == (4, 7)
    assert found.images.sum() == 2
    assert found.pixels.sum() == 11
    assert found.images_per_class[[0, 5, 8]].tolist() == [2, 2, 1]
    assert found.pixels_per_class[[0, 5, 8]].tolist() == [4 + 42, 4 + 6, 7]
    assert found.masks == 2
    assert found.class_names[8] == "cat"


def test_counts_equal_a_plain_count(tmp_path: Path) -> None:
    build(RECIPE, SHAPES, tmp_path)
    found = counted(tmp_path)
    images, pixels = plain([SHAPES.mask(i) for i in range(23)])
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert (found.images == found.images.T).all()
    assert (found.pixels != found.pixels.T).any()
    assert found.class_names == SHAPES.class_names
    assert not open_bundle(tmp_path).index.rows.offsets
    assert not [*tmp_path.glob("*.tar")]


@pytest.mark.parametrize(("workers", "size"), [(2, 5), (0, 1), (0, 100)])
def test_neither_workers_nor_tasks_change_a_count(
    tmp_path: Path, workers: int, size: int, scheduler: str
) -> None:
    build(RECIPE, SHAPES, tmp_path / "a")
    recipe = Cooccurrence(split="val", masks_per_shard=size)
    build(recipe, SHAPES, tmp_path / "b", scheduler=scheduler if workers else None)
    assert files(tmp_path / "a")[COOCCURRENCE] == files(tmp_path / "b")[COOCCURRENCE]
    if recipe == RECIPE:
        assert files(tmp_path / "a") == files(tmp_path / "b")


def test_images_are_neither_needed_nor_part_of_the_identity(tmp_path: Path) -> None:
    root = write_devkit(tmp_path / "d")
    spec = f"voc2012:{tmp_path}/d"
    recipe: Any = Cooccurrence()
    source = open_source(spec, split="train_aug", reads=recipe.reads)
    build(recipe, source, tmp_path / "with")
    for folder in ("JPEGImages", "Annotations"):
        for file in (root / folder).iterdir():
            file.unlink()
    source = open_source(spec, split="train_aug", reads=recipe.reads)
    build(recipe, source, tmp_path / "without")
    assert files(tmp_path / "with") == files(tmp_path / "without")
    assert rebuild(tmp_path / "with", spec, outside={}, shards=3).same


def test_a_bad_mask_stops_the_build_or_is_left_out(tmp_path: Path) -> None:
    root = write_devkit(tmp_path / "d")
    write_ids(root / "SegmentationClass/2007_000003.png", mask_of(15, 77))
    source = open_voc(tmp_path / "d", "val")
    with pytest.raises(SourceError, match=r"^SegmentationClass/2007_000003.png: an id is 77;"):
        build(RECIPE, source, tmp_path / "b")
    manifest = build(RECIPE, source, tmp_path / "b", skip_bad=True)
    assert [left.file for left in manifest.left_out] == ["SegmentationClass/2007_000003.png"]
    assert counted(tmp_path / "b").masks == 1


def test_a_build_of_bad_masks_alone_counts_none(tmp_path: Path) -> None:
    root = write_devkit(tmp_path / "d")
    for file in (root / "SegmentationClass").iterdir():
        file.write_bytes(b"")
    build(RECIPE, open_voc(tmp_path / "d", "val"), tmp_path / "b", skip_bad=True)
    assert counted(tmp_path / "b").masks == counted(tmp_path / "b").images.sum() == 0


def test_a_task_has_a_mask_at_least() -> None:
    with pytest.raises(RecipeError, match="masks_per_shard is 0"):
        Cooccurrence(masks_per_shard=0)


# ---- hostile tables


def set_at(name: str, place: Any, value: int) -> Any:
    def change(file: h5py.File) -> None:
        file[name][place] = value

    return change


def without(name: str) -> Any:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def attribute(name: str, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("images"), "images is missing"),
        (set_at("images", (5, 8), 1_000), "images is not symmetric"),
        (set_at("images", (15, 15), 1), "disagree|zero"),
        (set_at("pixels", (0, 3), 1), "zero|disagree|more than"),
        (set_at("pixels", (5, 8), -1), "pixels is not counts"),
        (set_at("pixels_per_class", 15, 0), "more than those of the class"),
        (set_at("images_per_class", 15, 24), "more masks than there are"),
        (set_at("images_per_class", 15, 0), "than one of its classes"),
        (attribute("masks", -1), "how many masks"),
        (attribute("masks", b"x"), "how many masks"),
        (attribute("class_names", 5), "does not name its classes"),
        (attribute("class_names", np.bytes_(b"a\nb")), "shape"),
        (attribute("class_names", np.bytes_(b"\x1b\n" * 20)), "unprintable"),
    ],
)
def test_hostile_counts_are_refused(tmp_path: Path, change: Any, reason: str) -> None:
    build(RECIPE, SHAPES, tmp_path)
    with_table(tmp_path, COOCCURRENCE, change)
    with pytest.raises(BundleError, match=reason):
        counted(tmp_path)


def test_a_damaged_table_or_none_is_told(tmp_path: Path) -> None:
    build(RECIPE, SHAPES, tmp_path)
    bundle = open_bundle(tmp_path)
    data = bytearray((tmp_path / COOCCURRENCE).read_bytes())
    data[-1] ^= 1
    (tmp_path / COOCCURRENCE).write_bytes(data)
    with pytest.raises(BundleError, match="digest"):
        read_cooccurrence(bundle)


# ---- the real thing


@pytest.mark.slow
def test_cat_and_bottle_meet_as_often_as_in_the_paper(tmp_path: Path) -> None:
    real = real_data("voc")
    with tarfile.open(real / "SegmentationClassAug_all12031.tar.xz") as archive:
        archive.extractall(tmp_path / "d", filter="data")
    lists = tmp_path / "d/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    for name in ("train_aug.txt", "val.txt"):
        os.symlink(real / "lists_full_voc2012" / name, lists / name)
    found = {}
    for split, masks in (("all", 12_031), ("train_aug", 10_582), ("val", 1_449)):
        build(Cooccurrence(split=split), open_voc(tmp_path / "d", split), tmp_path / split)
        found[split] = counted(tmp_path / split)
        assert found[split].masks == masks
    cat, bottle = (found["all"].class_names.index(name) for name in ("cat", "bottle"))
    assert [one.images[cat, bottle] for one in found.values()] == [18, 16, 2]
    both = (found["train_aug"], found["val"])
    np.testing.assert_array_equal(found["all"].pixels, both[0].pixels + both[1].pixels)
    person = found["train_aug"].images[15]
    assert sorted(person.tolist(), reverse=True)[:4] == [429, 416, 371, 277]
    masks_of = [np.array(Image.open(f)) for f in sorted(tmp_path.glob("d/*Aug/*.png"))]
    images, pixels = plain(masks_of)
    np.testing.assert_array_equal(found["all"].images, images)
    np.testing.assert_array_equal(found["all"].pixels, pixels)
