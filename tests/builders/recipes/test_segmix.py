"""SegMix by clusters: who is blended with whom, and to which bytes, whoever makes them."""

import io
import json
import pickle
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.blend import PARTS
from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.crop import cropped, cropped_mask
from quire.artifacts.errors import RecipeError, SourceError
from quire.artifacts.segmix_table import read_blends, row_crop
from quire.artifacts.verify import verify
from quire.builders.engine.run import build, plan
from quire.builders.rebuild import rebuild
from quire.builders.recipes.segmix import BlendTask, SegMix
from quire.builders.recipes.segmix_pairs import (
    Blend,
    Clusters,
    Pairs,
    Ranges,
    blends_of,
    clusters_of,
    pairs_of,
)
from quire.builders.sources.shapes import Shapes
from quire.builders.sources.voc import Voc
from quire.builders.sources.voc_lists import open_voc
from tests.builders.real_data import real_data
from tests.builders.sources.devkit import mask_of, write_devkit, write_ids, write_image
from tests.processes import started
from tests.same_folder import assert_same

SHAPES = Shapes("train", 30, (64, 48))
SPEC = "shapes:30?size=64x48"
RECIPE = SegMix(split="train", limit=90, crop=40, quality=None, samples_per_shard=25)
VIRTUAL = replace(RECIPE, form="virtual", samples_per_shard=8)
RANGES = Ranges(delta=(0.7, 1.0), scale=(0.5, 2.0), crop=40, flip=True)


def clusters(masks: list[set[int]], num_classes: int) -> Clusters:
    present = np.array([[c in mask for c in range(num_classes)] for mask in masks], np.bool_)
    present = present.reshape(len(masks), num_classes)
    return Clusters(present, np.full((len(masks), 2), 50, np.int32))


def rows(pairs: Pairs) -> list[tuple[int, ...]]:
    """Scene, cluster, partner's cluster, number and partner of each blend."""
    names = ("dominant", "cluster", "partner_cluster", "number", "partner")
    return list(zip(*(getattr(pairs, name).tolist() for name in names), strict=True))


@given(
    masks=st.lists(st.sets(st.integers(1, 5)), max_size=8),
    partners=st.integers(1, 3),
    seed=st.integers(0, 9),
)
@settings(max_examples=60)
def test_every_scene_of_a_cluster_meets_every_other_cluster(
    masks: list[set[int]], partners: int, seed: int
) -> None:
    pairs, in_all = pairs_of(
        clusters(masks, 6), seed=seed, partners_per_cluster=partners, limit=None
    )
    found = rows(pairs)
    expected = [
        (scene, own, other, number)
        for scene, mask in enumerate(masks)
        for own in sorted(mask)
        for other in range(1, 6)
        if other != own and any(other in m for s, m in enumerate(masks) if s != scene)
        for number in range(partners)
    ]
    assert [row[:4] for row in found] == expected
    assert in_all == len(expected)
    for scene, _, other, _, partner in found:
        assert partner != scene and other in masks[partner]


def test_every_partner_is_as_likely() -> None:
    masks = [{1, 2}] + [{2}] * 4  # the scene itself is in the cluster of its partners, too
    counts = Counter(
        row[4]
        for seed in range(40)
        for row in rows(
            pairs_of(clusters(masks, 3), seed=seed, partners_per_cluster=25, limit=None)[0]
        )
        if row[:2] == (0, 1)
    )
    assert sorted(counts) == [1, 2, 3, 4]
    assert all(190 < count < 310 for count in counts.values())  # 1,000 draws


def test_what_is_drawn_hangs_on_the_blend_alone() -> None:
    found = clusters_of(SHAPES)

    def drawn(partners: int, limit: int | None) -> dict[tuple[int, ...], Blend]:
        pairs, _ = pairs_of(found, seed=3, partners_per_cluster=partners, limit=limit)
        blends = blends_of(pairs, seed=3, num_classes=21, ranges=RANGES)
        return {(b.dominant, b.cluster, b.partner_cluster, b.number): b for b in blends}

    every = drawn(2, None)
    for other in (drawn(1, None), drawn(2, 50), drawn(2, 200)):
        assert other.items() <= every.items()
    assert drawn(2, 50).keys() < drawn(2, 200).keys()
    assert all(every[*key[:3], 1].crop != b.crop for key, b in every.items() if key[3] == 0)
    assert len(drawn(2, 50)) == 50
    scenes = {blend.dominant for blend in drawn(2, 50).values()}
    assert min(scenes) < 8 and max(scenes) > 22  # from all over the split


def test_weights_and_views_fill_their_ranges() -> None:
    pairs, _ = pairs_of(clusters_of(SHAPES), seed=0, partners_per_cluster=1, limit=None)
    blends = list(blends_of(pairs, seed=0, num_classes=21, ranges=RANGES))
    parts = np.array([blend.parts for blend in blends])
    assert 717 <= parts.min() < 725 and 1015 < parts.max() <= PARTS
    assert abs(parts.mean() - 0.85 * PARTS) < 12
    for crops in ([b.crop for b in blends], [b.partner_crop for b in blends]):
        heights = [crop.height for crop in crops]
        assert min(heights) < 28 and max(heights) > 90
        assert 0.4 < np.mean([crop.mirrored for crop in crops]) < 0.6
    assert any(blend.crop.mirrored != blend.partner_crop.mirrored for blend in blends)
    plain = blends_of(pairs, seed=0, num_classes=21, ranges=replace(RANGES, flip=False))
    for blend, unflipped in zip(blends, plain, strict=True):
        assert unflipped.crop == replace(blend.crop, mirrored=False)
        assert not unflipped.partner_crop.mirrored


def test_scenes_can_be_brought_to_one_size_before_that() -> None:
    pairs, _ = pairs_of(clusters_of(SHAPES), seed=0, partners_per_cluster=1, limit=None)
    recipe = replace(RECIPE, longest=32)
    plain = list(RECIPE._drawn(SHAPES, pairs))
    for blend, other in zip(recipe._drawn(SHAPES, pairs), plain, strict=True):
        assert blend.parts == other.parts
        for crop, native in (
            (blend.crop, other.crop),
            (blend.partner_crop, other.partner_crop),
        ):
            assert abs(2 * crop.width - native.width) <= 2  # scenes are 64 pixels wide
            assert crop.mirrored == native.mirrored and crop.size == native.size


def pixels(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmix") / "reference"
    build(RECIPE, SHAPES, folder)
    return folder


def opened(folder: Path) -> Bundle:
    assert not verify(folder)
    return open_bundle(folder)


def test_a_sample_is_a_blend_of_two_scenes_with_both_their_masks(reference: Path) -> None:
    bundle = opened(reference)
    table, columns = read_blends(bundle), bundle.index.rows.columns
    assert len(bundle.index) == len(table) == 90
    for row in range(0, 90, 7):
        sample = bundle.read(row)
        assert sorted(sample) == ["json", "mask.png", "phantom.png", "png"]
        scenes = [SHAPES.scene(columns[n][row]) for n in ("source_index", "partner_index")]
        crops = [row_crop(getattr(table, n)[row].tolist()) for n in ("crop", "partner_crop")]
        delta = columns["parts"][row] / PARTS
        one, other = (cropped(s.image, c) for s, c in zip(scenes, crops, strict=True))
        exact = delta * one.astype(np.float64) + (1 - delta) * other
        assert np.abs(pixels(sample["png"]) - exact).max() <= 0.5
        for name, scene, crop in zip(("mask", "phantom"), scenes, crops, strict=True):
            mask = pixels(sample[f"{name}.png"])
            np.testing.assert_array_equal(mask, cropped_mask(scene.truth.mask, crop))
        assert (SHAPES.mask(columns["source_index"][row]) == columns["cluster"][row]).any()
        assert (SHAPES.mask(columns["partner_index"][row]) == columns["partner_cluster"][row]).any()


def test_a_record_says_what_a_blend_was_made_of(reference: Path) -> None:
    bundle = opened(reference)
    table, columns = read_blends(bundle), bundle.index.rows.columns
    record = json.loads(bundle.read(5)["json"])
    assert record["image"] == SHAPES.ids[columns["source_index"][5]]
    assert record["partner_class"] == SHAPES.class_names[columns["partner_cluster"][5]]
    assert (record["parts"], record["delta"]) == (columns["parts"][5], record["parts"] / 1024)
    assert record["crop"]["top"] == table.crop[5, 2]
    assert bundle.index.rows.keys[5].decode() == (
        f"{record['image']}-{columns['cluster'][5]:02d}-{columns['partner_cluster'][5]:02d}-0"
    )


def test_the_table_counts_clusters_and_all_blends(reference: Path) -> None:
    table = read_blends(open_bundle(reference))
    masks = [set(np.unique(SHAPES.mask(i)).tolist()) - {0, 255} for i in range(30)]
    assert table.clusters.tolist() == [sum(c in mask for mask in masks) for c in range(21)]
    assert table.in_all == len(
        [0 for i, m in enumerate(masks) for own in m for other in range(1, 21) if other != own
         if any(other in masks[j] for j in range(30) if j != i)]
    )  # fmt: skip
    said = plan(RECIPE, SHAPES, reference.parent / "new").describe()
    assert f"90 of {table.in_all:,} blends" in said


def test_the_virtual_form_has_each_scene_once_and_the_same_table(
    reference: Path, tmp_path: Path
) -> None:
    build(VIRTUAL, SHAPES, tmp_path)
    bundle = opened(tmp_path)
    numbers = bundle.index.rows.columns["source_index"].tolist()
    assert len(set(numbers)) == len(numbers)
    for row, number in enumerate(numbers):
        sample, scene = bundle.read(row), SHAPES.scene(number)
        assert sorted(sample) == ["mask.png", "ppm"]
        np.testing.assert_array_equal(pixels(sample["ppm"]), scene.image)
        np.testing.assert_array_equal(pixels(sample["mask.png"]), scene.truth.mask)
    ours, theirs = read_blends(bundle), read_blends(open_bundle(reference))
    for name in ours.__slots__:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_a_limit_leaves_the_blends_that_it_leaves_as_they_were(
    reference: Path, tmp_path: Path
) -> None:
    build(replace(RECIPE, limit=20), SHAPES, tmp_path)
    few, many = opened(tmp_path), open_bundle(reference)
    places = {key: row for row, key in enumerate(many.index.rows.keys.tolist())}
    for row, key in enumerate(few.index.rows.keys.tolist()):
        assert few.read(row) == many.read(places[key])


def test_a_photograph_of_blends(tmp_path: Path) -> None:
    recipe = replace(RECIPE, quality=90)
    manifest = build(recipe, SHAPES, tmp_path)
    assert manifest.identity.recipe["quality"] == 90
    with Image.open(io.BytesIO(open_bundle(tmp_path).read(0)["jpg"])) as picture:
        assert (picture.format, picture.size) == ("JPEG", (40, 40))


def test_a_build_that_is_killed_ends_with_the_same_bytes(reference: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    process = started(build, RECIPE, SHAPES, folder)
    while process.is_alive() and not list(folder.glob("*.tar")):
        time.sleep(0.001)
    process.kill()
    process.join()
    build(RECIPE, SHAPES, folder)
    assert_same(reference, folder)


@pytest.mark.parametrize("form", ["materialised", pytest.param("virtual", marks=pytest.mark.slow)])
def test_bytes_do_not_depend_on_workers(
    reference: Path, tmp_path: Path, form: str, scheduler: str
) -> None:
    recipe = RECIPE if form == "materialised" else VIRTUAL
    alone = reference
    if form == "virtual":
        alone = tmp_path / "alone"
        build(recipe, SHAPES, alone)
    build(recipe, SHAPES, tmp_path / "two", scheduler=scheduler)
    assert_same(alone, tmp_path / "two")


@pytest.mark.parametrize("recipe", [RECIPE, VIRTUAL])
def test_shards_come_out_the_same_again(tmp_path: Path, recipe: SegMix) -> None:
    build(recipe, SHAPES, tmp_path)
    assert rebuild(tmp_path, SPEC, outside={}, shards=1, seed=0).same
    everything = rebuild(tmp_path, SPEC, outside={}, shards=9)
    assert everything.same and "segmix.h5: the same" in everything.lines


class Masked(Shapes):
    """Scenes whose masks cannot be had without their images."""

    def mask(self, index: int) -> NoReturn:
        raise AssertionError(f"the mask of {index} is read alone")

    def narrowed(self, step: str) -> "Masked":
        return self


@pytest.mark.parametrize("recipe", [RECIPE, VIRTUAL])
def test_no_worker_looks_at_the_masks_of_the_split_again(recipe: SegMix) -> None:
    task = recipe.plan(SHAPES)[1]
    assert isinstance(task, BlendTask)
    source = Masked(SHAPES.split, SHAPES.length, SHAPES.size)
    runs = list(recipe.samples(source, task))
    assert sum(len(run.samples.keys) for run in runs) == task.stop - task.start
    assert len(pickle.dumps(task)) < 5_000


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """Four scenes in train_aug: person and horse; cat; bottle and cat; tvmonitor."""
    return write_devkit(tmp_path / "d")


def devkit_source(root: Path) -> Voc:
    return open_voc(root.parents[1], "train_aug")


DEVKIT = SegMix(crop=9, quality=None)


def test_a_damaged_image_stops_the_build_or_costs_its_own_blends(
    devkit: Path, tmp_path: Path
) -> None:
    whole = build(DEVKIT, devkit_source(devkit), tmp_path / "whole")
    write_image(devkit / "JPEGImages/2007_000002.jpg", (6, 9))
    with pytest.raises(SourceError, match=r"JPEGImages/2007_000002\.jpg: 9x6, but its mask is 8x6"):
        build(DEVKIT, devkit_source(devkit), tmp_path / "b")
    table = read_blends(open_bundle(tmp_path / "whole"))
    bad = devkit_source(devkit).ids.index("2007_000002")
    lost = int(((table.source_index == bad) | (table.partner_index == bad)).sum())
    assert 0 < lost < whole.samples
    for form in ("materialised", "virtual"):
        recipe = replace(DEVKIT, form=form)
        manifest = build(recipe, devkit_source(devkit), tmp_path / form, skip_bad=True)
        assert [one.file for one in manifest.left_out] == ["JPEGImages/2007_000002.jpg"]
        assert len(read_blends(opened(tmp_path / form))) == whole.samples - lost


def test_a_damaged_mask_is_in_no_cluster(devkit: Path, tmp_path: Path) -> None:
    write_ids(devkit / "SegmentationClassAug/2008_000002.png", mask_of(77))
    source = devkit_source(devkit)
    with pytest.raises(SourceError, match=r"2008_000002\.png: an id is 77"):
        build(DEVKIT, source, tmp_path / "a")
    manifest = build(DEVKIT, source, tmp_path / "b", skip_bad=True)
    assert len(manifest.left_out) == 1
    assert read_blends(opened(tmp_path / "b")).clusters[20] == 0


def test_a_source_of_one_class_has_nothing_to_blend() -> None:
    with pytest.raises(RecipeError, match="shapes train has no scenes of two classes"):
        RECIPE.plan(Shapes("train", 1, (32, 32), 4))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("partners_per_cluster", 0), ("limit", 0), ("crop", 0), ("samples_per_shard", 0)),
        *(("delta", (0.8, 0.7)), ("delta", (0.5, 1.1)), ("scale", (0.0, 1.0))),
        *(("scale", (2.0, 1.0)), ("quality", 0), ("quality", 101), ("fill", (0, 0, 256))),
        *(("longest", 0), ("seed", -1)),
    ],
)
def test_fields_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(RecipeError, match=field):
        replace(RECIPE, **{field: value})  # type: ignore[arg-type]


@pytest.mark.slow
def test_real_photographs_are_blended(tmp_path: Path) -> None:
    source = open_voc(real_data("voc") / "VOCdevkit", "train_aug")
    build(SegMix(limit=40, samples_per_shard=15), source, tmp_path / "a")
    build(SegMix(limit=40, samples_per_shard=15), source, tmp_path / "b", workers=2)
    assert not verify(tmp_path / "a")
    assert_same(tmp_path / "a", tmp_path / "b")
