"""Blends made when they are read are those that are stored, to the byte, whoever reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quire.artifacts.errors import BundleError
from quire.artifacts.segmix_table import SEGMIX
from quire.builders.engine.run import build
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.sources.shapes import Shapes
from quire.builders.sources.voc_lists import open_voc
from quire.loaders.reading import remote
from quire.loaders.segmix import stream_pairs
from quire.loaders.stream import stream
from quire.train.segmentation.blending import blended
from tests.builders.sources.devkit import mask_of, write_lists, write_scenes
from tests.hostile_tables import with_table
from tests.loaders.served import Server
from tests.serving import serving

SHAPES = Shapes("train", 20, (64, 48))
OPTIONS: dict[str, Any] = {
    "split": "train",
    "limit": 30,
    "crop": 40,
    "quality": None,
    "fill": (9, 60, 200),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same blends stored, and as a table."""
    stored, virtual = (tmp_path_factory.mktemp(name) for name in ("stored", "virtual"))
    build(SegMix(**OPTIONS), SHAPES, stored)
    build(SegMix(**OPTIONS, form="virtual", samples_per_shard=6), SHAPES, virtual)
    return stored, virtual


def joined(batches: Iterator[dict[str, Any]], name: str) -> Tensor:
    return torch.cat([batch[name] for batch in batches])


def assert_same(stored: Path, virtual: Path, **options: Any) -> None:
    ours = list(stream_pairs(virtual, batch_size=8, **options))
    theirs = list(stream(stored, batch_size=8, columns=["parts"]))
    for name in ("image", "mask", "phantom", "parts", "row"):
        assert torch.equal(joined(iter(ours), name), joined(iter(theirs), name)), name
        assert ours[0][name].dtype == theirs[0][name].dtype


@pytest.mark.parametrize("whole", [True, False])
def test_they_are_those_of_the_folder_at_an_address(
    folders: tuple[Path, Path], whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose scenes are fetched whole shard by whole shard, or in pieces."""
    if not whole:
        monkeypatch.setattr(remote, "_SMALL", 0)
    with serving(Server(folders[1])) as server:
        options: Any = {"batch_size": 8, "shuffle": True, "seed": 1, "workers": 2}
        near = list(stream_pairs(folders[1], batch_size=8, shuffle=True, seed=1))
        far = list(stream_pairs(server.address, **options))
    for name in ("image", "mask", "phantom", "parts", "row"):
        assert torch.equal(joined(iter(far), name), joined(iter(near), name)), name


@pytest.mark.parametrize("threads", [1, 3])
def test_they_are_those_that_are_stored(folders: tuple[Path, Path], threads: int) -> None:
    assert_same(*folders, threads=threads)


def test_worker_processes_read_the_same(folders: tuple[Path, Path]) -> None:
    assert_same(*folders, workers=1)


def test_photographs_are_decoded_to_the_same_blends(tmp_path: Path) -> None:
    masks = {f"scene{i}": mask_of(1 + i % 3, 5, size=(37 + i, 45 - i)) for i in range(4)}
    write_scenes(tmp_path / "VOCdevkit/VOC2012", masks)
    write_lists(tmp_path / "VOCdevkit/VOC2012", {"train": list(masks)})
    source = open_voc(tmp_path, "train")
    build(SegMix(**OPTIONS), source, tmp_path / "stored")
    build(SegMix(**OPTIONS, form="virtual"), source, tmp_path / "virtual")
    assert_same(tmp_path / "stored", tmp_path / "virtual")


def test_two_images_can_be_blended_on_a_device(folders: tuple[Path, Path]) -> None:
    (whole,) = stream_pairs(folders[1], batch_size=30)
    (apart,) = stream_pairs(folders[1], batch_size=30, blend=False)
    assert not torch.equal(apart["image"], whole["image"])
    made = blended(apart["image"], apart["phantom_image"], apart["parts"])
    assert torch.equal(made, whole["image"])
    assert torch.equal(apart["phantom"], whole["phantom"])


def test_an_epoch_is_shared_and_resumed_like_any_other(folders: tuple[Path, Path]) -> None:
    options: dict[str, Any] = {"batch_size": 4, "shuffle": True, "seed": 5}
    ranks = [stream_pairs(folders[1], rank=r, world_size=2, **options) for r in range(2)]
    seen = torch.cat([joined(iter(rank), "row") for rank in ranks])
    assert sorted(seen.tolist()) == list(range(30))
    one = stream_pairs(folders[1], **options)
    batches = iter(one)
    next(batches)
    again = stream_pairs(folders[1], **options)
    again.load_state_dict(one.state_dict())
    for left, right in zip(batches, again, strict=True):
        assert torch.equal(left["row"], right["row"])
        assert torch.equal(left["image"], right["image"])


def test_some_blends_can_be_chosen(folders: tuple[Path, Path]) -> None:
    pairs = stream_pairs(folders[1], columns=["cluster", "source_index"])
    clusters = joined(iter(pairs), "cluster")
    few = stream_pairs(folders[1], select={"cluster": int(clusters[0])}, columns=["cluster"])
    assert len(few.rows) == int((clusters == clusters[0]).sum()) < 30
    (batch,) = stream_pairs(folders[1], rows=[7, 3], columns=["source_index"])
    assert batch["row"].tolist() == [7, 3]
    assert pairs.keys(batch["row"])[0].startswith(SHAPES.ids[int(batch["source_index"][0])])


def test_a_rank_without_blends_gets_an_empty_batch(folders: tuple[Path, Path]) -> None:
    options: dict[str, Any] = {"rows": [4], "batch_size": 1, "world_size": 2}
    ranks = [next(iter(stream_pairs(folders[1], rank=rank, **options))) for rank in range(2)]
    assert sorted(len(batch["row"]) for batch in ranks) == [0, 1]
    assert {batch["image"].shape[1:] for batch in ranks} == {(3, 40, 40)}


def test_other_bundles_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="stores no scenes to blend: it is no virtual bundle"):
        stream_pairs(folders[0])
    build(Scenes(), SHAPES, tmp_path)
    with pytest.raises(BundleError, match=r"has no segmix\.h5: it is no bundle of blends"):
        stream_pairs(tmp_path)


def test_a_blend_of_a_scene_that_is_not_there_is_refused(tmp_path: Path) -> None:
    build(SegMix(**OPTIONS, form="virtual"), SHAPES, tmp_path)

    def change(file: Any) -> None:
        file["partner_index"][0] = np.int32(900)

    with_table(tmp_path, SEGMIX, change)
    with pytest.raises(BundleError, match="of a scene that the bundle does not have"):
        stream_pairs(tmp_path)
