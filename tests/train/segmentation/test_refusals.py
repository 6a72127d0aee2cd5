"""What cannot be trained on is told in a sentence."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quire.artifacts.blend import PARTS
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError, RunError
from quire.artifacts.masks import mask_file
from quire.artifacts.members import raw_images
from quire.train.engine.ranks import Ranks
from quire.train.segmentation.run import Segment
from quire.train.segmentation.stages import Bundles, prepared
from quire.train.segmentation.training import train_segmentation
from tests.bundles import image_bundle, random_images, write_bundle
from tests.train.corrupted import with_manifest
from tests.train.segmentation.small import (
    QUICK,
    RUNNING,
    SIDE,
    blends,
    bundles,
    of,
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundles]:
    return bundles(tmp_path_factory.mktemp("bundles"))


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("binding-cm", {"cooccurrence": None}, "binding-cm wants a bundle .* cooccurrence"),
        ("binding-cc", {"clean": None}, "binding-cc wants a bundle .* clean"),
        ("baseline", {"cooccurrence": Path("x")}, "baseline has no use for it"),
        ("binding-cm", {"clean": "x"}, "binding-cm has no use for it"),
    ],
)
def test_the_bundles_are_those_of_the_variant(
    variant: str,
    changes: dict[str, Any],
    message: str,
    places: dict[str, Bundles],
    tmp_path: Path,
) -> None:
    with pytest.raises(RunError, match=message):
        train_segmentation(of(variant), replace(places[variant], **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def refused(config: Segment, given: Bundles, run: Path, message: str) -> None:
    with pytest.raises((RunError, BundleError), match=message):
        train_segmentation(config, given, run, running=RUNNING)
    assert not (run / "model.safetensors").exists()


def test_bundles_that_cannot_be_trained_on_are_refused(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    plain, run = places["baseline"].data, tmp_path / "run"
    image_bundle(tmp_path / "images", *random_images(8), samples_per_shard=8)
    refused(of("baseline"), Bundles(data=str(tmp_path / "images")), run, "has no mask.png")
    refused(of("binding-cc", denoising_epochs=0), Bundles(data=plain), run, "no phantom.png")
    refused(of("baseline", batch_size=21), Bundles(data=plain), run, "20 samples; a batch has 21")
    refused(
        of("binding-cc", crop=48), places["binding-cc"], run / "2", r"\(40, 40\) pixels, not 48"
    )
    wrong = blends(tmp_path / "parts", top=PARTS + 1)
    given = Bundles(data=str(wrong), clean=plain)
    refused(of("binding-cc"), given, run, "parts that are not whole numbers of 0 to 1024")
    assert not (run / "model.safetensors").exists()


def test_bundles_of_other_classes_are_refused(places: dict[str, Bundles], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(places["baseline"].data, other)
    source = open_bundle(other).manifest.identity.source
    names = ["ground", *source["class_names"][1:]]
    with_manifest(other, source={**source, "class_names": names})
    run = tmp_path / "run"
    refused(
        of("binding-cm"), replace(places["binding-cm"], data=str(other)), run, "of other classes"
    )
    refused(of("binding-cc"), replace(places["binding-cc"], clean=str(other)), run, "other classes")
    with_manifest(other, source={**source, "class_names": []})
    refused(of("baseline"), Bundles(data=str(other)), run, "names 0 classes")


@pytest.mark.parametrize(("worst", "message"), [(255, None), (21, "mask of s3 has an id beyond")])
def test_an_id_beyond_the_classes_is_named(
    worst: int, message: str | None, places: dict[str, Bundles], tmp_path: Path
) -> None:
    masks = np.zeros((6, SIDE, SIDE), np.uint8)
    masks[3] = worst
    write_bundle(
        tmp_path / "data",
        [f"s{number}" for number in range(6)],
        {
            "ppm": raw_images(np.zeros((6, SIDE, SIDE, 3), np.uint8)),
            "mask.png": [mask_file(mask) for mask in masks],
        },
        {"source_index": np.arange(6)},
        samples_per_shard=6,
    )
    names = open_bundle(Path(places["baseline"].data)).manifest.identity.source["class_names"]
    with_manifest(tmp_path / "data", source={"class_names": names})
    given = Bundles(data=str(tmp_path / "data"))
    if message:
        refused(of("baseline"), given, tmp_path / "run", message)
    else:
        assert train_segmentation(of("baseline"), given, tmp_path / "run", running=RUNNING)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop": 0}, "crop is 0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"images": 0}, "images is 0"),
        ({"max_total": 0}, "max_total is 0"),
        ({"gamma": -1}, "gamma is -1"),
        ({"denoising_epochs": -1}, "denoising_epochs is -1"),
        ({"batch_size": 1}, "2 at least"),
        ({"scale": (2.0, 0.5)}, "scale is"),
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"weights": "x.pth"}, "weights for ImageNet's trunks"),
        ({"mean": (0.5,)}, "three numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "std above 0"),
    ],
)
def test_a_wrong_field_is_refused_in_a_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        replace(QUICK, **fields)


def test_weights_that_are_not_there_are_told(places: dict[str, Bundles], tmp_path: Path) -> None:
    config = of("baseline", trunk="resnet50", weights=str(tmp_path / "nothing.pth"))
    refused(config, places["baseline"], tmp_path / "run", "the weights cannot be read")


def test_the_batch_is_shared_by_as_many_as_can_normalise_it(places: dict[str, Bundles]) -> None:
    for size in (4, 6):
        with pytest.raises(RunError, match="cannot be shared by"):
            prepared(QUICK, places["baseline"], Ranks(0, size, torch.device("cpu")), RUNNING)
