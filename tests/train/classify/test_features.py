"""Features of a bundle, against images that are encoded one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quire.artifacts.errors import BundleError, RunError
from quire.loaders.stream import stream
from quire.train.classify import features as module
from quire.train.classify.features import features
from quire.train.classify.run import trained
from quire.train.classify.training import train
from tests.bundles import image_bundle, random_images
from tests.train.learnable import PROXY, QUICK, RUNNING, anchor_bundle, learnable_bundle

RUNS = {
    "linear": replace(QUICK, head="linear", precision="bfloat16"),
    "graph": QUICK,
    "cnn2graph": replace(PROXY, resize=12),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("place")
    learnable_bundle(place / "train")
    anchors = str(anchor_bundle(place / "anchors"))
    for name, config in RUNS.items():
        known = anchors if config.head == "cnn2graph" else None
        train(config, str(place / "train"), place / name, anchors=known, running=RUNNING)
    learnable_bundle(place / "test", images=15, seed=1)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_features_are_those_of_each_image_alone(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 7)
    done: list[int] = []
    blocks = list(
        features(place / name, str(place / "test"), report=lambda n, total: done.append(n))
    )
    assert [len(block[0]) for block in blocks] == [7, 7, 7, 7, 2] and done[-1] == 30
    found, labels, numbers = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    kinds = [array.dtype.name for array in (found, labels, numbers)]
    assert kinds == ["float32", "int64", "int64"]
    _, _, model = trained(place / name)
    one_by_one = list(stream(place / "test", columns=("label", "source_index"), batch_size=1))
    assert labels.tolist() == [int(batch["label"]) for batch in one_by_one]
    assert numbers.tolist() == [int(batch["source_index"]) for batch in one_by_one]
    for row, batch in zip(found, one_by_one, strict=True):
        with torch.no_grad():
            alone = model.features(batch["image"].float() / 255)[0]
        np.testing.assert_allclose(row, alone.numpy(), rtol=1e-4, atol=1e-5)


def test_what_has_no_features_is_refused_at_once(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run"):
        features(tmp_path, str(place / "test"))
    learnable_bundle(tmp_path / "colour", channels=3)
    with pytest.raises(RunError, match="3 channels"):
        features(place / "linear", str(tmp_path / "colour"))
    image_bundle(tmp_path / "plain", *random_images(9, (8, 8, 1)), samples_per_shard=9)
    with pytest.raises(BundleError, match="no column 'source_index'"):
        features(place / "linear", str(tmp_path / "plain"))
