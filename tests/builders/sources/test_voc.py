"""VOC 2012: which masks a split has, what is known of a scene, and what becomes of bad files."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.scene import Annotation, Scene, SceneObject
from quire.builders.sources.source import ANNOTATIONS, MASKS, SCENES
from quire.builders.sources.tree_kinds import Disk
from quire.builders.sources.voc import CLASS_NAMES, Voc
from quire.builders.sources.voc_lists import open_voc
from tests.builders.real_data import real_data
from tests.builders.sources.devkit import (
    flags,
    mask_of,
    write_devkit,
    write_ids,
    write_image,
    write_lists,
    write_mat,
    write_objects,
    write_scenes,
)

# ---- which scenes, and which masks


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_devkit_is_found_from_each_of_its_folders(tmp_path: Path, below: str) -> None:
    root = write_devkit(tmp_path)
    assert open_voc(tmp_path / below, "val").root == Disk(root)


def test_a_split_is_its_list_in_its_order(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    write_lists(root, {"train": ["2007_000002", "2007_000001"]})
    source = open_voc(tmp_path, "train")
    assert source.ids == ("2007_000002", "2007_000001")
    assert (source.kind, source.split, len(source)) == ("voc2012", "train", 2)
    assert source.class_names == CLASS_NAMES
    assert (len(CLASS_NAMES), CLASS_NAMES[15]) == (21, "person")


@pytest.mark.parametrize(
    ("split", "masks", "ids"),
    [
        ("train", "SegmentationClass", 2),
        ("val", "SegmentationClass", 2),
        ("trainval", "SegmentationClass", 4),
        ("train_aug", "SegmentationClassAug", 4),
        ("all", "SegmentationClassAug", 6),
    ],
)
def test_each_split_has_its_folder_of_masks(
    tmp_path: Path, split: str, masks: str, ids: int
) -> None:
    write_devkit(tmp_path)
    source = open_voc(tmp_path, split)
    assert (source.masks, len(source)) == (masks, ids)
    assert source.has_instances == (masks == "SegmentationClass")
    assert source.has_objects


def test_masks_alone_will_do_for_the_augmented_folder(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"b": mask_of(2), "a": mask_of(1)}, "SegmentationClassAug", images=False)
    source = open_voc(tmp_path, "all")
    assert source.ids == ("a", "b")
    assert not source.has_objects
    write_lists(tmp_path, {"val": ["b"]})
    assert open_voc(tmp_path, "val").masks == "SegmentationClassAug"
    assert open_voc(tmp_path, "train_aug").ids == ("a",)


def test_trainval_follows_from_train_and_val(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    whole = open_voc(tmp_path, "trainval").ids
    (root / "ImageSets/Segmentation/trainval.txt").unlink()
    assert open_voc(tmp_path, "trainval").ids == whole


def test_a_list_may_have_another_name_and_paths_in_it(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    folder = root / "ImageSets/Segmentation"
    (folder / "train_aug.txt").unlink()
    line = "/JPEGImages/2008_000001.jpg /SegmentationClassAug/2008_000001.png\r\n"
    (folder / "trainaug.txt").write_text(line)
    assert open_voc(tmp_path, "train_aug").ids == ("2008_000001",)


# ---- SBD


def write_sbd(path: Path) -> None:
    cls = path / "benchmark_RELEASE/dataset/cls"
    for one in ("2007_000001", "2007_000003", "2008_000001", "2008_000005"):
        write_mat(cls / f"{one}.mat", mask_of(5, 8, size=(6, 8)))


def without_augmented(root: Path) -> None:
    for file in (root / "SegmentationClassAug").iterdir():
        file.unlink()
    (root / "SegmentationClassAug").rmdir()
    (root / "ImageSets/Segmentation/train_aug.txt").unlink()


def test_sbd_gives_what_voc_itself_has_not(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    without_augmented(root)
    write_sbd(tmp_path)
    source = open_voc(tmp_path, "train_aug")
    # 2007_000003 is in val; 2007_000001 in train, so its mask is VOC's
    assert source.ids == ("2007_000001", "2007_000002", "2008_000001", "2008_000005")
    masks = [source.mask(i) for i in range(4)]
    np.testing.assert_array_equal(masks[0], mask_of(15, 13, 255))
    np.testing.assert_array_equal(masks[2], mask_of(5, 8))
    assert pickle.loads(pickle.dumps(source)) == source


def test_sbd_is_taken_where_it_is_named(tmp_path: Path) -> None:
    write_devkit(tmp_path)
    write_sbd(tmp_path / "other")
    spec = f"voc2012:{tmp_path}?sbd={tmp_path}/other"
    source = open_source(spec, split="train_aug", reads=(MASKS,))
    assert isinstance(source, Voc)
    assert source.ids[2] == "2008_000001"  # by the list, which is there
    np.testing.assert_array_equal(source.mask(2), mask_of(5, 8))
    missing = source.mask(3)
    assert missing == LeftOut(3, "cls/2008_000002.mat", "no such file")
    with pytest.raises(SourceError, match=r"for the split train_aug, not for val$"):
        open_source(spec, split="val", reads=(MASKS,))
    with pytest.raises(SourceError, match=r"looked for cls, dataset/cls or .* found nothing$"):
        (tmp_path / "none").mkdir()
        open_source(f"voc2012:{tmp_path}?sbd={tmp_path}/none", split="train_aug", reads=(MASKS,))


def test_the_fingerprint_knows_whose_masks_they_are(tmp_path: Path) -> None:
    write_devkit(tmp_path)
    write_sbd(tmp_path)
    ours = open_voc(tmp_path, "train_aug").fingerprint()
    assert open_voc(tmp_path, "train_aug", sbd=tmp_path).fingerprint() != ours


# ---- scenes


def scene(source: Voc, index: int = 0) -> Scene:
    found = source.scene(index)
    assert isinstance(found, Scene), found
    return found


def test_a_scene_is_what_its_files_say(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    found = scene(open_voc(tmp_path, "train"))
    file = root / "JPEGImages/2007_000001.jpg"
    assert found.encoded == file.read_bytes()
    with Image.open(file) as picture:
        np.testing.assert_array_equal(found.image, np.array(picture))
    np.testing.assert_array_equal(found.truth.mask, mask_of(15, 13, 255))
    assert found.truth.instances is not None
    assert found.truth.objects == (
        SceneObject(15, occluded=True, truncated=False, difficult=False),
        SceneObject(12),
    )


def test_gray_masks_are_masks(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    Image.fromarray(mask_of(3)).save(root / "SegmentationClass/2007_000001.png")
    np.testing.assert_array_equal(open_voc(tmp_path, "train").mask(0), mask_of(3))


def test_no_step_reads_the_files_of_the_next(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    spec = f"voc2012:{tmp_path}"
    for file in (root / "JPEGImages").iterdir():
        file.write_bytes(b"x")
    annotations = open_source(spec, split="val", reads=(ANNOTATIONS,))
    before = annotations.fingerprint()
    assert isinstance(annotations, Voc)
    assert isinstance(annotations.annotation(0), Annotation)
    (root / "JPEGImages/2007_000003.jpg").unlink()
    assert annotations.fingerprint() == before
    masks = open_source(spec, split="val", reads=(MASKS,))
    of_masks = masks.fingerprint()
    (root / "Annotations/2007_000003.xml").write_text("x")
    write_ids(root / "SegmentationObject/2007_000003.png", mask_of(9))
    assert annotations.fingerprint() != before
    assert masks.fingerprint() == of_masks
    write_ids(root / "SegmentationClass/2007_000003.png", mask_of(9))
    assert masks.fingerprint() != of_masks


def test_the_fingerprint_of_scenes_is_of_every_file(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    seen = {open_voc(tmp_path, "val").fingerprint()}
    write_image(root / "JPEGImages/2007_000003.jpg", seed=99)
    seen.add(open_voc(tmp_path, "val").fingerprint())
    write_lists(root, {"val": ["2007_000004", "2007_000003"]})
    seen.add(open_voc(tmp_path, "val").fingerprint())
    (root / "JPEGImages/2007_000003.jpg").unlink()
    seen.add(open_voc(tmp_path, "val").fingerprint())
    assert len(seen) == 4


# ---- bad files


def spoil_mask(root: Path) -> str:
    file = root / "SegmentationClass/2007_000001.png"
    file.write_bytes(file.read_bytes()[:-30])
    return r"SegmentationClass/2007_000001.png: .*"


def colours(root: Path) -> str:
    Image.new("RGB", (8, 6)).save(root / "SegmentationClass/2007_000001.png")
    return r"SegmentationClass/2007_000001.png: its mode is RGB; a mask has ids: .*"


def strange_ids(root: Path) -> str:
    write_ids(root / "SegmentationClass/2007_000001.png", mask_of(21))
    return r"SegmentationClass/2007_000001.png: an id is 21; ids are 0 to 20, and 255"


def no_mask(root: Path) -> str:
    (root / "SegmentationClass/2007_000001.png").unlink()
    return r"SegmentationClass/2007_000001.png: no such file"


def other_size(root: Path) -> str:
    write_image(root / "JPEGImages/2007_000001.jpg", (6, 9))
    return r"JPEGImages/2007_000001.jpg: 9x6, but its mask is 8x6"


def no_image(root: Path) -> str:
    (root / "JPEGImages/2007_000001.jpg").unlink()
    return r"JPEGImages/2007_000001.jpg: no such file"


def cut_image(root: Path) -> str:
    file = root / "JPEGImages/2007_000001.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    return r"JPEGImages/2007_000001.jpg: (?i:.*truncated.*)"


def renamed_image(root: Path) -> str:
    Image.new("RGB", (8, 6)).save(root / "JPEGImages/2007_000001.jpg", "PNG")
    return r"JPEGImages/2007_000001.jpg: its name is that of a JPEG, its content is not"


def other_instances(root: Path) -> str:
    write_ids(root / "SegmentationObject/2007_000001.png", mask_of(1, size=(6, 7)))
    return r"SegmentationObject/2007_000001.png: 7x6, but its class mask is 8x6"


def no_annotation(root: Path) -> str:
    (root / "Annotations/2007_000001.xml").unlink()
    return r"Annotations/2007_000001.xml: no such file"


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoil_mask, colours, strange_ids, no_mask, other_size, no_image),
        *(cut_image, renamed_image, other_instances, no_annotation),
    ],
)
def test_a_bad_scene_is_named_with_its_reason(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    reason = spoil(write_devkit(tmp_path))
    source = open_voc(tmp_path, "train")
    source.fingerprint()
    bad = source.scene(0)
    assert isinstance(bad, LeftOut)
    assert bad.index == 0
    said = f"{bad.file}: {bad.reason}"
    assert said.isprintable()
    assert str(tmp_path) not in said
    assert re.fullmatch(reason, said), said
    assert isinstance(source.scene(1), Scene)


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ENTITIES, "it has a DOCTYPE, which is refused"),
        ("<annotation><object>", "no XML: no element found, line 1"),
        ("", "no XML: no element found, line 1"),
        ("<annotation>" + " " * (1 << 20) + "</annotation>", "an annotation of more than 1048576"),
        ("<annotation><object/></annotation>", "an object of the class '', which there is not"),
        ("<?xml version='1.0' encoding='x-no'?><annotation/>", ""),
    ],
)
def test_hostile_annotations_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    root = write_devkit(tmp_path)
    (root / "Annotations/2007_000001.xml").write_text(text)
    bad = open_voc(tmp_path, "train").annotation(0)
    assert isinstance(bad, LeftOut)
    assert bad.reason.startswith(reason)


def test_a_flag_is_0_or_1(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    write_objects(root / "Annotations/2007_000001.xml", ("dog", flags(truncated=2)))
    bad = open_voc(tmp_path, "train").annotation(0)
    assert isinstance(bad, LeftOut)
    assert bad.reason == "truncated is '2', neither 0 nor 1"


def test_an_annotation_may_have_no_object(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    write_objects(root / "Annotations/2007_000001.xml")
    known = open_voc(tmp_path, "train").annotation(0)
    assert isinstance(known, Annotation)
    assert known.objects == ()


# ---- bad layouts


def refusal(path: Path, split: str = "val") -> str:
    with pytest.raises(SourceError) as caught:
        open_voc(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_looked_for_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("VOCdevkit/VOC2012 in it; found nothing")
    assert refusal(tmp_path / "no").endswith("found no such folder")
    root = write_devkit(tmp_path)
    assert refusal(tmp_path, "x").startswith("voc2012 has no split 'x'; it has train, val,")
    for name in ("train_aug", "val"):
        (root / f"ImageSets/Segmentation/{name}.txt").unlink()
    assert "looked for val.txt in " in refusal(tmp_path)
    assert "looked for train_aug.txt or trainaug.txt in " in refusal(tmp_path, "train_aug")


def test_train_aug_needs_its_masks(tmp_path: Path) -> None:
    write_scenes(tmp_path, {"a": mask_of(1)})
    write_lists(tmp_path, {"train_aug": ["a"], "val": ["b"]})
    assert "train_aug needs SegmentationClassAug in " in refusal(tmp_path, "train_aug")


@pytest.mark.parametrize("one", ["../../secret", "a/b", "a.b.c", "a.png", "\0"])
def test_a_list_names_nothing_elsewhere(tmp_path: Path, one: str) -> None:
    write_lists(write_devkit(tmp_path), {"val": [one]})
    assert "which is not a scene's name" in refusal(tmp_path)


def test_a_list_names_a_scene_once_and_at_least_one(tmp_path: Path) -> None:
    root = write_devkit(tmp_path)
    write_lists(root, {"val": ["2007_000003", "2007_000004", "2007_000003"]})
    assert refusal(tmp_path).endswith("val.txt names 2007_000003 twice")
    write_lists(root, {"val": []})
    assert refusal(tmp_path).endswith("val.txt names no scenes")


# ---- the real thing


def test_the_scenes_of_voc_are_sound() -> None:
    source = open_voc(real_data("voc"), "val")
    assert len(source) == 140
    for index in range(0, 140, 20):
        found = scene(source, index)
        assert found.image.shape[:2] == found.truth.mask.shape
        assert set(np.unique(found.truth.mask)) <= {*range(21), 255}
    assert source.narrowed(SCENES) == source
