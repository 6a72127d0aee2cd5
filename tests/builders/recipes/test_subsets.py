"""Subsets: each is what its predicate says, and what the source lacks is said, not left empty."""

import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError, RecipeError
from quire.artifacts.subset_table import SUBSETS, Subset, SubsetTable, read_subsets
from quire.builders.engine.run import build
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.subset_rules import Occlusion
from quire.builders.recipes.subsets import Subsets
from quire.builders.sources.scene import Annotation, classes_in
from quire.builders.sources.shapes import CLASS_NAMES, Shapes
from quire.builders.sources.voc_lists import open_voc
from tests.builders.real_data import real_data
from tests.builders.sources.devkit import (
    flags,
    mask_of,
    write_devkit,
    write_ids,
    write_lists,
    write_objects,
    write_scenes,
)
from tests.hostile_tables import with_table

SHAPES = Shapes("val", 60, (48, 48))
OF_SHAPES = Subsets(
    companion="blue_disc",
    partners=("red_ring", "green_cross"),
    thresholds=(5, 2),
    scenes_per_shard=7,
)


def table(folder: Path) -> SubsetTable:
    return read_subsets(open_bundle(folder))


def names(found: SubsetTable, subset: str) -> list[str]:
    return [found.ids[row] for row in found.subsets[subset].rows]


def write_six(root: Path) -> Path:
    """Six scenes whose objects, instances and classes differ."""
    masks = {
        "a": mask_of(15, 13),
        "b": mask_of(15, 13, 12),
        "c": mask_of(13, 255),
        "d": mask_of(15),
        "e": mask_of(),
        "f": mask_of(13, 15, 255),
    }
    write_scenes(root, masks, images=False)
    write_lists(root, {"val": [*masks]})
    objects: dict[str, list[dict[str, int]]] = {
        "a": [{"occluded": 1, "truncated": 0}, {"occluded": 0, "truncated": 1}],
        "b": [{"occluded": 1, "truncated": 0}, {"occluded": 1, "truncated": 0}],
        "c": [{"truncated": 1}],
        "d": [{"occluded": 0, "truncated": 0}],
        "e": [],
        "f": [{"occluded": 1, "truncated": 1}, {"occluded": 0, "truncated": 0}],
    }
    for one, said in objects.items():
        write_objects(root / f"Annotations/{one}.xml", *(("dog", flags(**each)) for each in said))
        write_ids(root / f"SegmentationObject/{one}.png", mask_of(*range(1, len(said) + 1), 255))
    return root


@pytest.mark.parametrize(
    ("occlusion", "some", "every"),
    [("occluded", "abf", "b"), ("truncated", "acf", "c"), ("either", "abcf", "abc")],
)
def test_occlusion_is_by_the_flags(
    tmp_path: Path, occlusion: Occlusion, some: str, every: str
) -> None:
    source = open_voc(write_six(tmp_path / "d"), "val")
    build(Subsets(occlusion=occlusion), source, tmp_path / "b")
    found = table(tmp_path / "b")
    assert "".join(names(found, "1-occ")) == some
    assert "".join(names(found, "all-occ")) == every
    with h5py.File(tmp_path / "b" / SUBSETS) as file:
        assert file["flagged/either"][:].tolist() == [2, 2, 1, 0, 0, 1]
        assert file["objects"][:].tolist() == [2, 2, 1, 1, 0, 2]


def test_numbers_and_co_occurring_classes_are_exact(tmp_path: Path) -> None:
    build(Subsets(), open_voc(write_six(tmp_path / "d"), "val"), tmp_path / "b")
    found = table(tmp_path / "b")
    expected = {"1-obj": "cd", "2-obj": "abf", "3-obj": "", "2-unique": "af", "3-unique": "b"}
    expected |= {"person+horse": "af", "only-horse": "c", "person+car": ""}
    for name, scenes in expected.items():
        assert "".join(names(found, name)) == scenes, name
        assert not found.subsets[name].missing
    assert found.subsets["1-occ"].published == 1_128
    assert found.subsets["person+car"].published == 45
    assert found.subsets["below-50"].missing == "no bundle of co-occurrence was given"
    assert found.classes.shape == (6, 21)


def test_the_papers_numbers_are_of_the_papers_split(tmp_path: Path) -> None:
    write_devkit(tmp_path / "d")
    build(Subsets(split="train"), open_voc(tmp_path / "d", "train"), tmp_path / "b")
    assert {one.published for one in table(tmp_path / "b").subsets.values()} == {-1}


def test_what_a_source_lacks_is_said(tmp_path: Path) -> None:
    write_scenes(tmp_path / "d", {"a": mask_of(15, 13)}, images=False)
    write_lists(tmp_path / "d", {"val": ["a"]})
    recipe = Subsets(partners=("horse", "unicorn"))
    build(recipe, open_voc(tmp_path / "d", "val"), tmp_path / "b")
    missing = {name: one.missing for name, one in table(tmp_path / "b").subsets.items()}
    assert missing["1-occ"] == missing["all-occ"] == "the source has no annotations of objects"
    assert missing["4-obj"] == "the source has no masks of instances"
    assert missing["only-unicorn"] == missing["person+unicorn"] == "the source has no class unicorn"
    assert missing["2-unique"] == missing["person+horse"] == ""


def reference(subset: Subset, known: Annotation, counts: Any) -> bool:
    """Whether a scene is in a subset, by its name, the slow way."""
    there = np.flatnonzero(classes_in(known.mask, 21)).tolist()
    present = [CLASS_NAMES[c] for c in there if c]
    objects = known.objects or ()
    hidden = [one.occluded or one.truncated for one in objects]
    assert known.instances is not None
    number, _, what = subset.name.partition("-")
    if what == "occ":
        return any(hidden) if number == "1" else bool(objects) and all(hidden)
    if what == "obj":
        return len({*known.instances.ravel().tolist()} - {0, 255}) == int(number)
    if what == "unique":
        return len(present) == int(number)
    if number == "only":
        return present == [what]
    if number == "below":
        ids = [CLASS_NAMES.index(one) for one in present]
        return any(counts[i, j] < int(what) for i in ids for j in ids if i != j)
    return {*present} == {*subset.name.split("+")}


def test_every_subset_is_what_it_says(tmp_path: Path) -> None:
    training = Shapes("train", 80, (48, 48))
    build(Cooccurrence(split="train"), training, tmp_path / "counts")
    recipe = Subsets(**{**vars(OF_SHAPES), "cooccurrence": tmp_path / "counts"})
    build(recipe, SHAPES, tmp_path / "b")
    counts = np.zeros((21, 21), np.int64)
    for index in range(80):
        there = (classes_in(training.mask(index), 21) > 0).astype(np.int64)
        counts += np.outer(there, there)
    found = table(tmp_path / "b")
    for subset in found.subsets.values():
        rows = [i for i in range(60) if reference(subset, SHAPES.annotation(i), counts)]
        assert subset.rows.tolist() == rows, subset.name
        assert not subset.missing
    sizes = [len(subset.rows) for subset in found.subsets.values()]
    assert sum(size > 0 for size in sizes) >= 10
    assert found.ids == tuple(SHAPES.ids)


def test_the_size_of_tasks_does_not_change_the_table(tmp_path: Path) -> None:
    build(OF_SHAPES, SHAPES, tmp_path / "a")
    build(Subsets(**{**vars(OF_SHAPES), "scenes_per_shard": 100}), SHAPES, tmp_path / "b")
    ours, theirs = ((tmp_path / one / SUBSETS).read_bytes() for one in "ab")
    assert ours == theirs


def test_a_scene_that_cannot_be_read_is_in_no_subset(tmp_path: Path) -> None:
    root = write_six(tmp_path / "d")
    (root / "Annotations/a.xml").unlink()
    build(Subsets(), open_voc(root, "val"), tmp_path / "b", skip_bad=True)
    found = table(tmp_path / "b")
    assert found.ids == tuple("bcdef")
    assert found.source_index.tolist() == [1, 2, 3, 4, 5]
    assert names(found, "2-unique") == ["f"]


def test_the_counts_must_be_of_the_same_classes(tmp_path: Path) -> None:
    build(Cooccurrence(split="train"), Shapes("train", 3, (32, 32)), tmp_path / "counts")
    source = open_voc(write_six(tmp_path / "d"), "val")
    with pytest.raises(RecipeError, match="counts other classes than voc2012 has"):
        build(Subsets(cooccurrence=str(tmp_path / "counts")), source, tmp_path / "b")
    with pytest.raises(BundleError, match="does not exist"):
        build(Subsets(cooccurrence=str(tmp_path / "none")), source, tmp_path / "b")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"partners": ("car", "car")}, "partners holds a value twice"),
        ({"thresholds": (5, 5)}, "thresholds holds a value twice"),
        ({"partners": ("person",)}, "both the companion and a partner"),
        ({"thresholds": (0,)}, "at least 1"),
        ({"scenes_per_shard": 0}, "at least 1"),
    ],
)
def test_impossible_recipes_are_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        Subsets(**fields)


# ---- hostile tables


def put(name: str, array: Any) -> Any:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = array

    return change


def set_at(name: str, place: Any, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        file[name][place] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (put("id", np.zeros((60, 2), "S3")), "id is missing, or larger than any"),
        (put("id", np.arange(60)), "not texts"),
        (set_at("id", 1, b"val_000000"), "comes twice"),
        (set_at("source_index", 1, 0), "out of order"),
        (put("classes", np.zeros((60, 300), np.uint8)), "300 columns"),
        (set_at("classes", (0, 0), 7), "zeros and ones"),
        (set_at("subsets/name", 1, b"1-occ"), "two of one name"),
        (set_at("subsets/name", 1, b"\x1b[2J"), "unprintable"),
        (set_at("subsets/offsets", 1, 10**12), "offsets do not rise"),
        (set_at("subsets/rows", 0, -1), "rows that it cannot have"),
        (set_at("subsets/rows", -1, 60), "rows that it cannot have"),
        (set_at("subsets/missing", 0, b"x"), "rows that it cannot have"),
        (put("subsets/published", np.zeros(3, np.int64)), "shape"),
        (put("subsets/rows", np.zeros(3)), "shape|whole"),
    ],
)
def test_hostile_subsets_are_refused(tmp_path: Path, change: Any, reason: str) -> None:
    build(OF_SHAPES, SHAPES, tmp_path)
    with_table(tmp_path, SUBSETS, change)
    with pytest.raises(BundleError, match=reason):
        table(tmp_path)


def test_a_bundle_without_subsets_is_told(tmp_path: Path) -> None:
    build(Cooccurrence(split="val"), Shapes("val", 2, (32, 32)), tmp_path)
    with pytest.raises(BundleError, match=r"has no subsets\.h5: it is no bundle of subsets"):
        table(tmp_path)


# ---- the real thing


@pytest.mark.slow
def test_vocs_val_split_has_the_papers_subsets(tmp_path: Path) -> None:
    real = real_data("voc")
    val = (real / "lists_full_voc2012/val.txt").read_text().split()
    with tarfile.open(real / "SegmentationClassAug_all12031.tar.xz") as archive:
        wanted = {f"SegmentationClassAug/{one}.png" for one in val}
        chosen = [member for member in archive if member.name.removeprefix("./") in wanted]
        archive.extractall(tmp_path / "d", chosen, filter="data")
    write_lists(tmp_path / "d", {"val": val})
    build(Subsets(), open_voc(tmp_path / "d", "val"), tmp_path / "b")
    found = table(tmp_path / "b")
    sizes = {name: len(one.rows) for name, one in found.subsets.items() if not one.missing}
    assert [sizes[f"{n}-unique"] for n in (2, 3, 4)] == [374, 122, 23]
    number = np.bincount(found.classes[:, 1:].sum(axis=1))
    assert number.tolist() == [0, 927, 374, 122, 23, 3]
    partners = ("horse", "motorbike", "bicycle", "bottle", "car")
    assert [sizes[f"person+{one}"] for one in partners] == [32, 34, 30, 20, 15]
    assert [sizes[f"only-{one}"] for one in partners] == [44, 23, 29, 35, 45]
