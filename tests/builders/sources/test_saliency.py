"""Salient objects: pairs by name, masks above 128, splits, and what is wrong with a folder."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.saliency import Saliency, open_saliency
from quire.builders.sources.scene import Annotation, Scene
from quire.builders.sources.source import MASKS, SCENES
from tests.builders.real_data import real_data
from tests.builders.sources.devkit import write_image

GRAY = np.tile(np.array([0, 127, 128, 129, 255, 1, 200, 60], np.uint8), (6, 1))
SALIENT = np.tile(np.array([0, 0, 0, 1, 1, 0, 1, 0], np.uint8), (6, 1))


def write_mask(file: Path, gray: NDArray[Any] = GRAY, mode: str = "L") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(gray).convert(mode).save(file)


def write_pairs(root: Path, *names: str, images: str = "Imgs", masks: str = "GT") -> Path:
    for seed, name in enumerate(names):
        write_image(root / images / f"{name}.jpg", seed=seed)
        write_mask(root / masks / f"{name}.png")
    return root


def opened(spec: str, split: str = "all") -> Saliency:
    source = open_source(spec, split=split, reads=(SCENES,))
    assert isinstance(source, Saliency)
    return source


def test_a_pixel_above_128_is_salient_whatever_the_mode(tmp_path: Path) -> None:
    write_pairs(tmp_path, *"bdac")
    write_mask(tmp_path / "GT/b.png", mode="RGB")
    write_mask(tmp_path / "GT/c.png", 255 * SALIENT, mode="P")
    write_mask(tmp_path / "GT/d.png", 255 * SALIENT, mode="1")
    source = opened(f"saliency:{tmp_path}")
    assert source.ids == tuple("abcd") and source.class_names == ("background", "salient")
    assert (source.image_extension, source.has_instances, source.has_objects) == (
        "jpg",
        False,
        False,
    )
    for index in range(4):
        np.testing.assert_array_equal(source.mask(index), SALIENT)
        found, truth = source.scene(index), source.annotation(index)
        assert isinstance(found, Scene) and isinstance(truth, Annotation)
        assert found.encoded == (tmp_path / f"Imgs/{source.ids[index]}.jpg").read_bytes()
        assert found.image.shape == (6, 8, 3) and truth.instances is None
    assert pickle.loads(pickle.dumps(source)) == source


def test_folders_of_splits_and_those_of_duts(tmp_path: Path) -> None:
    write_pairs(tmp_path / "DUTS-TR", "a", images="DUTS-TR-Image", masks="DUTS-TR-Mask")
    write_pairs(tmp_path / "DUTS-TE", "b", images="DUTS-TE-Image", masks="DUTS-TE-Mask")
    write_pairs(tmp_path / "mine", "c", "d", images="images", masks="masks")
    assert opened(f"saliency:{tmp_path}", "train").ids == ("a",)
    assert opened(f"saliency:{tmp_path}", "test").ids == ("b",)
    assert opened(f"saliency:{tmp_path}", "mine").ids == ("c", "d")
    for split in ("val", "../mine", "all", ""):
        with pytest.raises(SourceError, match="saliency: looked for") as caught:
            opened(f"saliency:{tmp_path}", split)
        assert "\n" not in str(caught.value)


def test_a_pair_of_folders_is_divided_the_same_way_each_time(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(20)]
    write_pairs(tmp_path, *names)
    train, test = (opened(f"saliency:{tmp_path}?train=13", split) for split in ("train", "test"))
    assert len(train) == 13 and sorted([*train.ids, *test.ids]) == names
    assert train.ids == tuple(sorted(train.ids)) != tuple(names[:13])
    more = opened(f"saliency:{tmp_path}?train=14", "train")
    assert set(train.ids) < set(more.ids)
    assert len({one.fingerprint() for one in (train, test, more)}) == 3
    for spec, split, reason in (
        ("?train=20", "train", "train is 20, but .* has 20 scenes"),
        ("?train=0", "train", "is not train=N with N from 1"),
        ("?size=4", "train", "is not train=N with N from 1"),
        ("?train=3", "all", "saliency has no split 'all'; it has train, test"),
    ):
        with pytest.raises(SourceError, match=reason):
            opened(f"saliency:{tmp_path}{spec}", split)


def test_masks_alone_need_no_images_to_be_sound(tmp_path: Path) -> None:
    write_pairs(tmp_path, "a")
    masks = open_source(f"saliency:{tmp_path}", split="all", reads=(MASKS,))
    before, whole = masks.fingerprint(), opened(f"saliency:{tmp_path}").fingerprint()
    write_image(tmp_path / "Imgs/a.jpg", seed=9)
    assert masks.fingerprint() == before
    assert opened(f"saliency:{tmp_path}").fingerprint() != whole


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda root: (root / "GT/b.png").unlink(), r"there is no mask of Imgs/b\.jpg in"),
        (lambda root: (root / "Imgs/a.jpg").unlink(), r"there is no image of GT/a\.png in"),
        (lambda root: write_image(root / "Imgs/a.jpeg"), "has two files called a"),
        (lambda root: write_pairs(root, "x.y"), "key 'x.y' is not made of letters"),
        (lambda root: write_pairs(root, "c", images="images"), "looked for a folder of images"),
        (lambda root: [p.unlink() for p in root.rglob("*.*g")], "has no images of the split 'all'"),
    ],
)
def test_a_folder_that_will_not_do_is_told(tmp_path: Path, change: Any, reason: str) -> None:
    change(write_pairs(tmp_path, "a", "b"))
    with pytest.raises(SourceError, match=reason) as caught:
        opened(f"saliency:{tmp_path}")
    assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match="saliency: looked for"):
        open_saliency(tmp_path / "nowhere", "all")


def test_bad_scenes_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, *"abcde")
    write_image(tmp_path / "Imgs/a.jpg", (6, 9))
    (tmp_path / "Imgs/b.jpg").write_bytes(b"")
    (tmp_path / "GT/c.png").write_bytes(b"x")
    Image.new("RGB", (8, 6)).save(tmp_path / "Imgs/d.jpg", "PNG")
    Image.new("I;16", (8, 6)).save(tmp_path / "GT/e.png")
    source = opened(f"saliency:{tmp_path}")
    found = [source.scene(index) for index in range(5)]
    assert all(isinstance(one, LeftOut) for one in found)
    assert [(one.file, one.reason) for one in found if isinstance(one, LeftOut)] == [
        ("Imgs/a.jpg", "9x6, but its mask is 8x6"),
        ("Imgs/b.jpg", "its name says jpg, its content does not"),
        ("GT/c.png", "no BMP, JPEG, PNG, PPM, TIFF, WEBP image"),
        ("Imgs/d.jpg", "its name says jpg, its content does not"),
        ("GT/e.png", "its mode is I;16, which is not eight bits a channel"),
    ]


def test_real_pairs_become_scenes(tmp_path: Path) -> None:
    where = f"saliency:{real_data('sod')}?train=80"
    for split, count in (("train", 80), ("test", 40)):
        out = ["--out", str(tmp_path / split), "--workers", "0"]
        assert quire.main(["build", "scenes", "--source", where, "--split", split, *out]) == 0
        assert open_bundle(tmp_path / split).manifest.samples == count
    source = opened(where, "test")
    shares = [float(np.mean(np.array(source.mask(index)))) for index in range(40)]
    assert 0.01 < min(shares) and max(shares) < 0.95 and 0.1 < np.mean(shares) < 0.5
