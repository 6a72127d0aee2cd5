"""COCO: its regions equal pycocotools', overlaps and crowds are as the module says."""

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.coco import Coco, open_coco
from quire.builders.sources.coco_choice import Choice
from quire.builders.sources.coco_regions import region
from quire.builders.sources.scene import Annotation, Scene
from quire.builders.sources.source import ANNOTATIONS, MASKS
from quire.builders.sources.tree import UnfitError
from quire.builders.sources.voc import CLASS_NAMES
from tests.builders.real_data import real_data
from tests.builders.sources.coco_files import marked, square, write_coco
from tests.builders.sources.devkit import write_image

MASKS_OF = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.just(0))


def annotation(root: Path, index: int = 0) -> Annotation:
    found = open_coco(root, "val").annotation(index)
    assert isinstance(found, Annotation), found
    return found


# ---- scenes


def test_categories_are_counted_through_by_id(tmp_path: Path) -> None:
    write_coco(tmp_path, [marked(square(1, 1, 3), 90), marked(square(5, 1, 2), 3)])
    source = open_coco(tmp_path, "val")
    assert source.class_names == ("background", "car", "x", "zebra")
    assert [*source.ids] == ["000000000004", "000000000009"]
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 1:4] = 3
    expected[1:3, 5:7] = 1
    np.testing.assert_array_equal(source.mask(0), expected)
    np.testing.assert_array_equal(source.mask(1), 0)
    np.testing.assert_array_equal(annotation(tmp_path).instances, np.array([0, 2, 9, 1])[expected])


def test_the_smaller_lies_on_top_whatever_the_order(tmp_path: Path) -> None:
    large, small = marked(square(0, 0, 5), 90), marked(square(1, 1, 2), 3)
    for order in ([large, small], [small, large]):
        mask = annotation(write_coco(tmp_path, order)).mask
        assert (mask[1:3, 1:3] == 1).all()
        assert (mask == 3).sum() == 25 - 4
    same = [marked(square(0, 0, 4), 3), marked(square(2, 2, 4), 90)]
    assert annotation(write_coco(tmp_path, same)).mask[2, 2] == 3  # the later one


def test_crowds_are_void_beneath_all_others(tmp_path: Path) -> None:
    crowd = {"size": [6, 8], "counts": [0, 12, 36]}
    objects = [marked(square(0, 0, 3), 90), marked(crowd, 3, crowd=1), marked(square(4, 3, 2), 7)]
    known = annotation(write_coco(tmp_path, objects))
    assert known.instances is not None
    assert (known.mask[:3, :2] == 3).all()
    assert (known.mask[3:, :2] == 255).all()
    np.testing.assert_array_equal(known.instances[3:, :2], 255)
    assert {*np.unique(known.instances).tolist()} == {0, 1, 2, 255}


def test_a_scene_has_its_file(tmp_path: Path) -> None:
    source = open_coco(write_coco(tmp_path, []), "val")
    found = source.scene(1)
    assert isinstance(found, Scene)
    assert source.image_extension == "jpg"
    assert found.encoded == (tmp_path / "val/9.jpg").read_bytes()
    assert pickle.loads(pickle.dumps(source)) == source
    assert len(pickle.dumps(source)) < 2_000


def test_images_of_other_kinds_are_pixels_alone(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.bmp", "width": 8, "height": 6}]
    write_coco(tmp_path, [], images=images)
    Image.new("RGB", (8, 6)).save(tmp_path / "val/a.bmp")
    source = open_coco(tmp_path, "val")
    found = source.scene(0)
    assert isinstance(found, Scene)
    assert source.image_extension is None
    assert found.encoded is None


def test_masks_and_annotations_need_no_images(tmp_path: Path) -> None:
    write_coco(tmp_path, [marked(square(1, 1, 3))])
    source = open_source(f"coco:{tmp_path}", split="val", reads=(ANNOTATIONS,))
    masks = open_source(f"coco:{tmp_path}", split="val", reads=(MASKS,))
    before = source.fingerprint(), open_coco(tmp_path, "val").fingerprint()
    for one in (4, 9):
        (tmp_path / f"val/{one}.jpg").unlink()
    assert isinstance(source, Coco)
    assert isinstance(masks, Coco)
    assert (source.has_instances, masks.has_instances) == (True, False)
    assert isinstance(source.annotation(0), Annotation)
    assert source.fingerprint() == before[0]
    assert open_coco(tmp_path, "val").fingerprint() != before[1]


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    write_coco(tmp_path, [])
    assert not annotation(tmp_path).mask.any()
    write_coco(tmp_path, [marked(square(1, 1, 3))])
    assert annotation(tmp_path).mask.any()


# ---- VOC's classes, overlaps, and images with little in them

VOC_CATEGORIES = [
    {"id": 5, "name": "airplane"},
    {"id": 63, "name": "couch"},
    {"id": 67, "name": "dining table"},
    {"id": 72, "name": "tv"},
    {"id": 80, "name": "toaster"},
]


def chosen(root: Path, options: str) -> Coco:
    source = open_source(f"coco:{root}?{options}", split="val", reads=(ANNOTATIONS,))
    assert isinstance(source, Coco)
    return source


def test_categories_are_voc_s_classes_by_name(tmp_path: Path) -> None:
    objects = [
        marked(square(0, 0, 2), 63),
        marked(square(3, 0, 2), 67),
        marked(square(0, 3, 2), 80),
        marked(square(3, 3, 2), 72),
        marked(square(6, 0, 2), 80, crowd=1),
        marked(square(6, 3, 2), 5, crowd=1),
    ]
    source = chosen(write_coco(tmp_path, objects, categories=VOC_CATEGORIES), "classes=voc")
    assert source.class_names == CLASS_NAMES
    expected = np.zeros((6, 8), np.uint8)
    expected[:2, :2] = CLASS_NAMES.index("sofa")
    expected[:2, 3:5] = CLASS_NAMES.index("diningtable")
    expected[3:5, 3:5] = CLASS_NAMES.index("tvmonitor")
    expected[3:5, 6:] = 255  # a crowd; that of toasters is background, as a toaster is
    np.testing.assert_array_equal(source.mask(0), expected)
    found = source.annotation(0)
    assert isinstance(found, Annotation) and found.instances is not None
    assert {*np.unique(found.instances).tolist()} == {0, 1, 2, 3, 255}


def test_all_twenty_of_coco_s_names_are_found() -> None:
    coco = (
        *("airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep"),
        *("couch", "train", "tv"),
    )
    ids = (5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)  # torchvision's
    others = {10: "traffic light", 11: "fire hydrant", 65: "bed", 90: "toothbrush", 0: "background"}
    names, found = Choice(classes="voc").numbered(dict(zip(ids, coco, strict=True)) | others)
    assert names == CLASS_NAMES[1:]
    assert found == {one: number for number, one in enumerate(ids, 1)}


def test_overlaps_can_be_void(tmp_path: Path) -> None:
    objects = [
        marked(square(0, 0, 4), 90),
        marked(square(2, 2, 3), 3),
        marked([[6, 0, 8, 0, 8, 2]]),
    ]
    write_coco(tmp_path, objects)
    smaller, void = chosen(tmp_path, "overlap=smaller"), chosen(tmp_path, "overlap=void")
    expected = np.array(smaller.mask(0))
    expected[2:4, 2:4] = 255
    np.testing.assert_array_equal(void.mask(0), expected)
    found = void.annotation(0)
    assert isinstance(found, Annotation) and found.instances is not None
    np.testing.assert_array_equal(found.instances == 255, expected == 255)
    np.testing.assert_array_equal(void.mask(1), 0)  # where there is nothing
    np.testing.assert_array_equal(smaller.mask(0), open_coco(tmp_path, "val").mask(0))


def test_overlaps_of_what_is_not_taken_count_for_nothing(tmp_path: Path) -> None:
    objects = [marked(square(0, 0, 4), 5), marked(square(2, 2, 3), 80)]
    write_coco(tmp_path, objects, categories=VOC_CATEGORIES)
    mask = np.array(chosen(tmp_path, "classes=voc&overlap=void").mask(0))
    assert {*np.unique(mask).tolist()} == {0, 1} and (mask == 1).sum() == 16


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_overlaps_are_torchvision_s(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The rule of its references/segmentation/coco_utils.py, in a loop over pixels."""
    rng = np.random.default_rng(seed)
    objects = [
        marked(
            square(int(rng.integers(5)), int(rng.integers(5)), int(rng.integers(1, 4))), category
        )
        for category in rng.choice([3, 7, 90], rng.integers(0, 5)).tolist()
    ]
    root = write_coco(tmp_path_factory.mktemp("coco"), objects)
    mask = np.array(chosen(root, "overlap=void").mask(0))
    regions = [region(one["segmentation"], 6, 8) for one in objects]
    for y, x in np.ndindex(6, 8):
        there = [one for one, its in zip(objects, regions, strict=True) if its[y, x]]
        class_ids = [1 + (3, 7, 90).index(one["category_id"]) for one in there]
        assert mask[y, x] == (255 if len(there) > 1 else max(class_ids, default=0))


def test_images_with_little_in_them_can_be_left_out(tmp_path: Path) -> None:
    few = {"area": 3.5} | marked(square(0, 0, 2), 3, image=9)
    two = [{"area": 6} | marked(square(0, 0, 2), 3), {"area": 5} | marked(square(3, 0, 2), 90)]
    write_coco(tmp_path, [few, *two])
    assert [*chosen(tmp_path, "least=3").ids] == ["000000000004", "000000000009"]
    assert [*chosen(tmp_path, "least=10").ids] == ["000000000004"]
    assert len(chosen(tmp_path, "least=10")) == 1
    with pytest.raises(SourceError, match="has no image with objects of over 11 pixels"):
        chosen(tmp_path, "least=11")


def test_each_choice_has_its_fingerprint(tmp_path: Path) -> None:
    objects = [{"area": 9} | marked(square(0, 0, 3), 5)]
    write_coco(tmp_path, objects, categories=VOC_CATEGORIES)
    options = ("classes=own", "classes=voc", "overlap=void", "least=1", "classes=voc&least=1")
    found = [chosen(tmp_path, one).fingerprint() for one in options]
    assert len(set(found)) == len(options)
    plain = open_source(f"coco:{tmp_path}", split="val", reads=(ANNOTATIONS,))
    assert found[0] == plain.fingerprint()
    one, other = chosen(tmp_path, "classes=voc"), chosen(tmp_path, "classes=own")  # side by side
    assert [np.array(source.mask(0)).max() for source in (one, other, one)] == [1, 1, 1]
    assert len(one.class_names) == 21 and len(other.class_names) == 6
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("classes=imagenet", r"classes is 'imagenet'; it must be one of \('own', 'voc'\)"),
        ("overlap=", "overlap is ''; it must be one of"),
        ("least=-1", "least is '-1', no number of pixels"),
        ("least=1e3", "least is '1e3', no number of pixels"),
        ("size=64", "there is no option 'size'; there are classes, overlap and least"),
        ("classes=voc&classes=own", "an option is given twice"),
        ("classes=voc&", "there is no option ''"),
        ("classes=voc", "no category has the name of one of VOC's classes"),
        ("least=5", "'area' is missing"),
    ],
)
def test_a_choice_that_there_is_not_is_told(tmp_path: Path, options: str, reason: str) -> None:
    write_coco(tmp_path, [marked(square(0, 0, 3))], categories=[{"id": 3, "name": "toaster"}])
    with pytest.raises(SourceError, match=reason) as caught:
        chosen(tmp_path, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("area", [-1, None, "9", True, float("nan"), 1e30])
def test_an_area_that_is_none_is_told(tmp_path: Path, area: object) -> None:
    write_coco(tmp_path, [{"area": area} | marked(square(0, 0, 3))])
    with pytest.raises(SourceError, match="where an area is expected"):
        chosen(tmp_path, "least=1")
    assert len(chosen(tmp_path, "least=0")) == 2  # where nobody asks


# ---- regions


@given(data=st.data(), mask=MASKS_OF)
def test_run_lengths_are_pycocotools_own(data: st.DataObject, mask: NDArray[np.uint8]) -> None:
    mask = data.draw(arrays(np.uint8, mask.shape, elements=st.integers(0, 1)))
    height, width = mask.shape
    packed = rle.encode(np.asfortranarray(mask))
    text = packed["counts"].decode()
    np.testing.assert_array_equal(
        region({"size": [height, width], "counts": text}, height, width), mask
    )
    column = mask.ravel(order="F").tolist()
    changes = [0, *(i for i in range(1, len(column)) if column[i] != column[i - 1]), len(column)]
    runs = np.diff(changes).tolist()
    runs = [0, *runs] if column[0] else runs
    np.testing.assert_array_equal(
        region({"size": [height, width], "counts": runs}, height, width), mask
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pycocotools' decode, by numpy
@settings(max_examples=50)
@given(
    polygons=st.lists(
        st.lists(st.tuples(st.floats(-2, 20), st.floats(-2, 20)), min_size=3, max_size=6),
        min_size=1,
        max_size=3,
    )
)
def test_polygons_are_pycocotools_own(polygons: list[list[tuple[float, float]]]) -> None:
    flat = [[number for point in polygon for number in point] for polygon in polygons]
    parts = rle.decode(rle.frPyObjects(flat, 12, 16))
    np.testing.assert_array_equal(region(flat, 12, 16), parts.any(axis=2))


@pytest.mark.parametrize(
    "wrong",
    [
        *(None, 5, "x", [], [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [["1"] * 6], [5]),
        *([[1e9] * 6], [[float("nan")] * 6], [[True] * 6], [[0, 0, 100, 0, 0, 100]]),
        *({}, {"size": [6, 8]}, {"size": [8, 6], "counts": [48]}, {"size": [6, 8], "counts": [47]}),
        *({"size": [6, 8], "counts": [49, -1]}, {"size": [6, 8], "counts": [48.0]}),
        *(
            {"size": [6, 8], "counts": c}
            for c in ("", "0", "zzzz", "\x7f", "o" * 99, "oo", "\u1234")
        ),
        {"size": [6, 8], "counts": [True] * 48},
    ],
)
def test_what_is_no_region_is_refused(wrong: Any) -> None:
    with pytest.raises(UnfitError) as caught:
        region(wrong, 6, 8)
    assert str(caught.value).isprintable()


@given(text=st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_any_text_is_run_lengths_of_the_picture_or_refused(text: str) -> None:
    try:
        assert region({"size": [6, 8], "counts": text}, 6, 8).shape == (6, 8)
    except UnfitError:
        pass


# ---- bad input


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": []}, "has no images, or two of one id"),
        ({"images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}] * 2}, "two of one id"),
        ({"images": 5}, "is not COCO's instances"),
        ({"images": [{"id": 1}]}, "'file_name' is missing"),
        ({"categories": [{"id": "x", "name": "y"}]}, "'x' where a number of 0 to"),
        ({"categories": [{"id": i, "name": "y"} for i in range(255)]}, "has 255 categories"),
        ({"annotations": [marked([], 999)]}, "category 999, which there is not"),
        ({"annotations": [marked([], 3, 999)]}, "image 999, which there is not"),
        ({"annotations": [marked([], 3, 4, 2)]}, "2 where a number of 0 to 1"),
        ({"annotations": [marked([], [])]}, "is not COCO's instances"),  # type: ignore[arg-type]
    ],
)
def test_a_file_of_something_else_is_told(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    write_coco(tmp_path, [], **changes)
    with pytest.raises(SourceError) as caught:
        open_coco(tmp_path, "val")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "5", "[" * 100_000, '{"images": ', "\xff"])
def test_json_of_something_else_is_told(tmp_path: Path, text: str) -> None:
    write_coco(tmp_path, [])
    (tmp_path / "annotations/instances_val.json").write_text(text, "latin-1")
    with pytest.raises(SourceError, match="is not COCO's instances"):
        open_coco(tmp_path, "val")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b.jpg", "", "a\0b", "a\nb"])
def test_no_image_lies_elsewhere(tmp_path: Path, name: str) -> None:
    images = [{"id": 1, "file_name": name, "width": 8, "height": 6}]
    write_coco(tmp_path, [], images=images)
    with pytest.raises(SourceError, match="is not COCO's instances"):
        open_coco(tmp_path, "val")


def test_bad_scenes_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path, [marked([[1, 2, 3]])])
    write_image(tmp_path / "val/9.jpg", (6, 9))
    source = open_coco(tmp_path, "val")
    wrong = "a polygon that is not at least three pairs of numbers"
    assert source.mask(0) == source.scene(0) == LeftOut(0, "4.jpg", wrong)
    assert source.scene(1) == LeftOut(1, "9.jpg", "9x6, but its annotation says 8x6")
    os.replace(tmp_path / "val/4.jpg", tmp_path / "val/9.jpg")
    assert isinstance(source.scene(1), Scene)
    Image.new("RGB", (8, 6)).save(tmp_path / "val/9.jpg", "PNG")
    bad = source.scene(1)
    assert isinstance(bad, LeftOut)
    assert bad.reason == "its name says jpg, its content does not"


def test_a_scene_of_too_many_objects_is_named(tmp_path: Path) -> None:
    source = open_coco(write_coco(tmp_path, [marked(square(1, 1, 2))] * 255), "val")
    bad = source.annotation(0)
    assert isinstance(bad, LeftOut)
    assert bad.reason == "255 objects; a mask has room for 254"


def test_what_was_looked_for_is_told(tmp_path: Path) -> None:
    write_coco(tmp_path, [])
    for split in ("train", "../val", "all"):
        with pytest.raises(SourceError, match=r"^coco: looked for .*annotations"):
            open_coco(tmp_path, split)


# ---- the real thing


def test_labelme_s_export_is_its_masks_but_for_the_borders() -> None:
    root = real_data("labelme_instance_voc")
    source = open_coco(root / "data_dataset_coco", "all")
    assert len(source) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for index in range(3):
            found = source.scene(index)
            assert isinstance(found, Scene)
            name = Path(source._instances().pictures[index].file).stem
            with Image.open(root / f"data_dataset_voc/SegmentationClass/{name}.png") as picture:
                theirs = np.array(picture)
            # labelme has a category for the background; the others come after it
            ours = np.where(found.truth.mask == 0, 0, found.truth.mask - 1)
            assert (ours == theirs)[theirs != 255].mean() > 0.98


def test_labelme_s_export_as_voc_has_the_classes_of_its_masks() -> None:
    root = real_data("labelme_instance_voc")
    source = open_source(
        f"coco:{root / 'data_dataset_coco'}?classes=voc", split="all", reads=(ANNOTATIONS,)
    )
    assert isinstance(source, Coco)
    assert source.class_names == CLASS_NAMES
    for index, picture in enumerate(source._instances().pictures):
        name = Path(picture.file).stem
        with Image.open(root / f"data_dataset_voc/SegmentationClass/{name}.png") as theirs:
            assert {*np.unique(np.array(source.mask(index)))} == {*np.unique(np.array(theirs))} - {
                255
            }
