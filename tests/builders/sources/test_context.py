"""Drawn objects with companions: who meets whom in which split, and the bytes."""

from collections import Counter
from hashlib import sha256

import numpy as np
import pytest

from quire.artifacts.errors import SourceError
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.context import (
    CLASS_NAMES,
    COMPANIONS,
    OBJECTS,
    SPLITS,
    ContextScenes,
    open_context,
)
from quire.builders.sources.source import MASKS


def meetings(split: str, bias: str = "always", length: int = 600) -> Counter[tuple[int, ...]]:
    """How often which classes are in a scene together."""
    scenes = open_context(f"{length}?size=48&bias={bias}", split)
    return Counter(
        tuple(np.setdiff1d(scenes.mask(index), [0, 255]).tolist()) for index in range(length)
    )


@pytest.mark.parametrize("split", SPLITS[1:])
def test_tests_have_what_their_name_says(split: str) -> None:
    found = meetings(split, length=200)
    own = {(1 + pair, 6 + pair) for pair in range(5)}
    expected = {
        "together": own,
        "only": {(6 + pair,) for pair in range(5)},
        "swapped": {(1 + one, 6 + other) for one in range(5) for other in range(5) if one != other},
        "companions": {(1 + pair,) for pair in range(5)},
    }[split]
    assert set(found) == expected


def test_in_training_an_object_is_never_without_its_companion() -> None:
    found = meetings("train")
    assert set(found) == {(1 + pair,) for pair in range(5)} | {(1 + p, 6 + p) for p in range(5)}
    alone = sum(count for classes, count in found.items() if len(classes) == 1)
    assert 0.14 < alone / 600 < 0.26


def test_or_often_is_not() -> None:
    found = meetings("train", "often", 2_000)
    objects = {classes: n for classes, n in found.items() if max(classes) > 5}
    whole = sum(objects.values())
    own = sum(n for c, n in objects.items() if len(c) == 2 and c[1] - c[0] == 5)
    only = sum(n for c, n in objects.items() if len(c) == 1)
    assert abs(own / whole - 0.80) < 0.04 and abs(only / whole - 0.12) < 0.03
    assert abs((whole - own - only) / whole - 0.08) < 0.03


def test_companions_are_vivid_and_objects_are_not() -> None:
    scenes = open_context("60?size=64", "together")
    spread: dict[bool, list[float]] = {True: [], False: []}
    for index in range(60):
        scene = scenes.scene(index)
        for class_id in np.setdiff1d(scene.truth.mask, [0, 255]).tolist():
            colour = scene.image[scene.truth.mask == class_id].mean(axis=0)
            spread[CLASS_NAMES[class_id] in COMPANIONS].append(float(np.ptp(colour)))
    assert np.median(spread[True]) > 1.4 * np.median(spread[False])


def test_a_scene_hangs_on_its_number_alone_and_keeps_its_bytes() -> None:
    few, many = open_context("3?size=48", "train"), open_context("90?size=48", "train")
    for index in range(3):
        assert np.array_equal(few.scene(index).image, many.scene(index).image)
        narrow = few.narrowed(MASKS)
        assert np.array_equal(narrow.mask(index), few.scene(index).truth.mask)
    data = b"".join(many.scene(i).image.tobytes() + many.mask(i).tobytes() for i in range(5))
    assert sha256(data).hexdigest()[:16] == "640bd3664868ca59"  # the same everywhere
    assert few.fingerprint() != open_context("3?size=48&bias=often", "train").fingerprint()


@pytest.mark.parametrize(
    ("where", "split", "message"),
    [
        ("9?bias=never", "train", "bias may be always or often, not 'never'"),
        ("9?side=3", "train", "no option 'side'; there are size, seed and bias"),
        ("0", "train", "no number of scenes"),
        ("9", "val", "val"),
    ],
)
def test_what_is_wrong_is_said(where: str, split: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_context(where, split)


def test_it_is_opened_by_its_kind() -> None:
    found = open_source("context:7?size=64x48", split="swapped", reads=("scenes",))
    assert isinstance(found, ContextScenes) and len(found) == 7 and found.size == (64, 48)
    assert found.class_names == ("background", *COMPANIONS, *OBJECTS)
