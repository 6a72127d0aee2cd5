"""Scenes as bundles: images as they lie, masks as their ids, and what the index says of them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import RecipeError, SourceError
from quire.artifacts.verify import verify
from quire.builders.engine.run import build
from quire.builders.rebuild import rebuild
from quire.builders.recipes.scenes import Scenes
from quire.builders.sources.scene import Scene
from quire.builders.sources.shapes import Shapes
from quire.builders.sources.voc_lists import open_voc
from quire.loaders.stream import stream
from tests.builders.sources.devkit import (
    mask_of,
    write_devkit,
    write_image,
    write_lists,
    write_scenes,
)

SHAPES = Shapes("train", 11, (48, 40))
RECIPE = Scenes(samples_per_shard=4)


def ids(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "P"
        return np.array(picture)


def opened(folder: Path) -> Bundle:
    assert not verify(folder)
    return open_bundle(folder)


def test_a_photograph_is_stored_as_it_lies(tmp_path: Path) -> None:
    root = write_devkit(tmp_path / "d")
    build(RECIPE, open_voc(tmp_path / "d", "train"), tmp_path / "b")
    bundle = opened(tmp_path / "b")
    sample = bundle.read(0)
    assert bundle.index.rows.keys.tolist() == [b"2007_000001", b"2007_000002"]
    assert sorted(sample) == ["instances.png", "jpg", "json", "mask.png"]
    assert sample["jpg"] == (root / "JPEGImages/2007_000001.jpg").read_bytes()
    np.testing.assert_array_equal(ids(sample["mask.png"]), mask_of(15, 13, 255))
    assert json.loads(sample["json"])["objects"][0] == {
        "class": "person",
        "class_id": 15,
        "difficult": False,
        "occluded": True,
        "truncated": False,
    }


def test_the_index_says_what_is_in_a_scene(tmp_path: Path) -> None:
    write_devkit(tmp_path / "d")
    build(RECIPE, open_voc(tmp_path / "d", "train"), tmp_path / "b")
    columns = opened(tmp_path / "b").index.rows.columns
    assert columns["classes"].tolist() == [1 | 1 << 15 | 1 << 13, 1 | 1 << 8]
    assert columns["source_index"].tolist() == [0, 1]
    assert (columns["width"][0], columns["height"][0]) == (8, 6)
    assert columns["instances"].tolist() == [2, 1]


def test_a_drawn_scene_is_pixels(tmp_path: Path) -> None:
    build(RECIPE, SHAPES, tmp_path)
    bundle = opened(tmp_path)
    for row in (0, 10):
        sample, scene = bundle.read(row), SHAPES.scene(row)
        with Image.open(io.BytesIO(sample["ppm"])) as picture:
            np.testing.assert_array_equal(np.array(picture), scene.image)
        np.testing.assert_array_equal(ids(sample["mask.png"]), scene.truth.mask)
        np.testing.assert_array_equal(ids(sample["instances.png"]), scene.truth.instances)
        objects = json.loads(sample["json"])["objects"]
        assert [one["class_id"] for one in objects] == [
            one.class_id for one in scene.truth.objects or ()
        ]


def test_they_stream_as_images_with_masks(tmp_path: Path) -> None:
    build(RECIPE, SHAPES, tmp_path)
    columns = ["classes", "source_index"]
    rows = 0
    for batch in stream(tmp_path, batch_size=4, columns=columns):
        for image, mask, index in zip(
            batch["image"], batch["mask"], batch["source_index"], strict=True
        ):
            scene = SHAPES.scene(int(index))
            assert isinstance(scene, Scene)
            np.testing.assert_array_equal(image.numpy().transpose(1, 2, 0), scene.image)
            np.testing.assert_array_equal(mask.numpy(), scene.truth.mask)
            rows += 1
    assert rows == 11


def test_they_come_out_the_same_again(tmp_path: Path) -> None:
    build(RECIPE, SHAPES, tmp_path)
    assert rebuild(tmp_path, "shapes:11?size=48x40", outside={}, shards=3).same


def test_a_bad_scene_is_left_out_or_stops_the_build(tmp_path: Path) -> None:
    root = write_devkit(tmp_path / "d")
    write_image(root / "JPEGImages/2007_000001.jpg", (6, 9))
    source = open_voc(tmp_path / "d", "train")
    with pytest.raises(SourceError, match=r"^JPEGImages/2007_000001.jpg: 9x6, but its mask is 8x6"):
        build(RECIPE, source, tmp_path / "b")
    manifest = build(RECIPE, source, tmp_path / "b", skip_bad=True)
    assert (manifest.samples, len(manifest.left_out)) == (1, 1)
    assert opened(tmp_path / "b").index.rows.columns["source_index"].tolist() == [1]


def test_a_source_without_instances_gives_samples_without(tmp_path: Path) -> None:
    write_scenes(tmp_path / "d", {"a": mask_of(1)})
    write_lists(tmp_path / "d", {"train": ["a"]})
    build(RECIPE, open_voc(tmp_path / "d", "train"), tmp_path / "b")
    bundle = opened(tmp_path / "b")
    assert sorted(bundle.read(0)) == ["jpg", "mask.png"]
    assert "instances" not in bundle.index.rows.columns


def test_a_shard_has_a_sample_at_least() -> None:
    with pytest.raises(RecipeError, match="samples_per_shard is 0"):
        Scenes(samples_per_shard=0)
