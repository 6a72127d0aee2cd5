"""Drawn scenes: a scene is its own, masks keep VOC's form, classes meet as they should."""

import hashlib
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.artifacts.errors import SourceError
from quire.builders.sources.scene import Scene, classes_in
from quire.builders.sources.shapes import CLASS_NAMES, COMPANION, Shapes, open_shapes
from quire.builders.sources.source import MASKS

SMALL = Shapes("train", 40, (64, 48))


def same(ours: Scene, theirs: Scene) -> bool:
    assert ours.truth.instances is not None
    assert theirs.truth.instances is not None
    return (
        np.array_equal(ours.image, theirs.image)
        and np.array_equal(ours.truth.mask, theirs.truth.mask)
        and np.array_equal(ours.truth.instances, theirs.truth.instances)
        and ours.truth.objects == theirs.truth.objects
    )


def test_a_scene_is_the_same_however_many_there_are() -> None:
    assert same(SMALL.scene(7), Shapes("train", 8, (64, 48)).scene(7))
    assert same(SMALL.scene(7), SMALL.scene(7))


def test_seed_split_and_number_each_make_another() -> None:
    others = [
        SMALL.scene(8),
        Shapes("train", 40, (64, 48), seed=1).scene(7),
        Shapes("val", 40, (64, 48)).scene(7),
    ]
    for one, other in combinations([SMALL.scene(7), *others], 2):
        assert not same(one, other)


@settings(max_examples=30)
@given(
    index=st.integers(0, 999),
    seed=st.integers(0, 5),
    size=st.tuples(st.integers(32, 90), st.integers(32, 90)),
)
def test_masks_keep_vocs_form(index: int, seed: int, size: tuple[int, int]) -> None:
    scene = Shapes("val", 1_000, size, seed).scene(index)
    mask, instances, objects = scene.truth.mask, scene.truth.instances, scene.truth.objects
    assert instances is not None
    assert objects is not None
    assert scene.image.shape == (*mask.shape, 3) == (size[1], size[0], 3)
    assert scene.image.dtype == mask.dtype == instances.dtype == np.uint8
    np.testing.assert_array_equal(mask == 255, instances == 255)
    np.testing.assert_array_equal(mask == 0, instances == 0)
    assert (np.unique(mask) <= 20)[:-1].all()
    for number in {*np.unique(instances).tolist()} - {0, 255}:
        assert len(np.unique(mask[instances == number])) == 1
    classes = {one.class_id for one in objects}
    assert {*np.unique(mask).tolist()} - {0, 255} <= classes
    down = (mask[1:] != mask[:-1]) & (mask[1:] != 255) & (mask[:-1] != 255)
    across = (mask[:, 1:] != mask[:, :-1]) & (mask[:, 1:] != 255) & (mask[:, :-1] != 255)
    assert not down.any()  # VOID lies between any two
    assert not across.any()


def test_an_object_that_meets_the_frame_is_truncated() -> None:
    for index in range(len(SMALL)):
        truth = SMALL.annotation(index)
        assert truth.instances is not None
        assert truth.objects is not None
        edge = {*truth.instances[[0, -1]].ravel(), *truth.instances[:, [0, -1]].ravel()} - {0, 255}
        assert sum(one.truncated is True for one in truth.objects) >= len(edge)
        if len(truth.objects) == 1:
            assert truth.objects[0].occluded is False


def test_neither_shape_nor_colour_tells_the_class() -> None:
    assert len(set(CLASS_NAMES)) == 21
    parts = [name.split("_") for name in CLASS_NAMES[1:]]
    assert {len([p for p in parts if p[0] == colour]) for colour, _ in parts} == {5}
    assert {len([p for p in parts if p[1] == shape]) for _, shape in parts} == {4}


def test_the_colour_is_that_of_the_class() -> None:
    red, green, blue = 0, 1, 2
    strongest = {"red": {red}, "green": {green}, "blue": {blue}, "yellow": {red, green}}
    for index in range(len(SMALL)):
        scene = SMALL.scene(index)
        for class_id in {*np.unique(scene.truth.mask).tolist()} - {0, 255}:
            colour = CLASS_NAMES[class_id].split("_")[0]
            mean = scene.image[scene.truth.mask == class_id].mean(axis=0)
            assert int(mean.argmax()) in strongest[colour]


def test_classes_meet_as_the_module_says() -> None:
    source = Shapes("train", 1_000, (32, 32), step=MASKS)
    present = np.array([classes_in(source.mask(i), 21) > 0 for i in range(1_000)], np.int64)
    together = present[:, 1:].T @ present[:, 1:]
    single = together.diagonal()
    assert single.min() > 15  # every class is there
    assert single.argmax() + 1 == COMPANION
    assert 0.3 < single.max() / 1_000 < 0.6
    pairs = together[np.triu_indices(20, 1)]
    assert 0.4 < (pairs == 0).mean() < 0.8  # most never meet
    assert ((pairs > 0) & (pairs < 10)).sum() > 15  # some meet seldom
    assert (pairs > 12).sum() > 15  # some often
    number = present[:, 1:].sum(axis=1)
    assert {*number.tolist()} >= {1, 2, 3, 4}


def test_a_step_changes_no_mask() -> None:
    masks = SMALL.narrowed(MASKS)
    assert not masks.has_instances
    np.testing.assert_array_equal(masks.mask(3), SMALL.scene(3).truth.mask)
    assert masks.fingerprint() == SMALL.fingerprint()


def test_the_bytes_of_a_scene() -> None:
    # the embedded source of every demonstration: if this changes, count _DRAWING up
    scene = Shapes("train", 2).scene(1)
    found = hashlib.sha256(scene.image.tobytes() + scene.truth.mask.tobytes()).hexdigest()
    assert found[:16] == "b1be38ffc423209b"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("", Shapes("val", 500, (128, 128), 0)),
        ("7", Shapes("val", 7, (128, 128), 0)),
        ("7?size=64", Shapes("val", 7, (64, 64), 0)),
        ("?size=64x48&seed=3", Shapes("val", 500, (64, 48), 3)),
        ("?seed=3", Shapes("val", 500, (128, 128), 3)),
    ],
)
def test_what_follows_the_colon(where: str, expected: Shapes) -> None:
    assert open_shapes(where, "val") == expected
    assert len(open_shapes(where, "val").ids) == len(expected)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("x", "'x' is no number of scenes, 1 to 1,000,000"),
        ("0", "'0' is no number"),
        ("1000001", "'1000001' is no number"),
        ("7?side=3", "there is no option 'side'; there are size, seed and classes"),
        ("?size=", "the size '' is not a side of 32 to 1,024, or two: 64x48"),
        ("?size=31", "the size '31' is not"),
        ("?size=64x64x3", "the size '64x64x3' is not"),
        ("?seed=-1", "the seed '-1' is not a whole number from 0"),
        ("²", "'²' is no number"),
    ],
)
def test_what_must_not_follow_the_colon(where: str, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_shapes(where, "train")
    assert str(caught.value).startswith(f"shapes: {reason}")


def test_fingerprints_tell_sources_apart() -> None:
    found = {
        source.fingerprint()
        for source in (SMALL, Shapes("train", 41, (64, 48)), Shapes("train", 40, (48, 64)))
    }
    assert len(found | {Shapes("train", 40, (64, 48), 1).fingerprint()}) == 4
