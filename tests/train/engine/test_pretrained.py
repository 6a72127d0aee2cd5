"""Weights that others have learned: they are taken, kept track of, and never run."""

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.models.imagenet_resnet import ImageNetResNet, imagenet_resnet18
from quire.train.classify.run import trained
from quire.train.classify.training import train
from quire.train.engine.pretrained import load_pretrained
from tests.train.hostile import Hostile
from tests.train.learnable import QUICK, RUNNING, learnable_bundle

RESNET = replace(QUICK, encoder="imagenet-resnet18", head="linear", epochs=1, lr=0.0, images=4)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights in two formats, and data."""
    place = tmp_path_factory.mktemp("weights")
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        theirs = torchvision.models.resnet18().state_dict()
    torch.save(theirs, place / "theirs.pth")
    save_file(theirs, place / "theirs.safetensors")
    learnable_bundle(place / "data")
    return place


def weights_of(encoder: ImageNetResNet) -> dict[str, Tensor]:
    return dict(encoder.network.named_parameters())


@pytest.mark.parametrize("name", ["theirs.pth", "theirs.safetensors"])
def test_both_formats_are_read(name: str, place: Path) -> None:
    encoder = imagenet_resnet18()
    load_pretrained(encoder, str(place / name))
    theirs = torch.load(place / "theirs.pth", weights_only=True)
    assert all(torch.equal(theirs[name], own) for name, own in weights_of(encoder).items())


@pytest.mark.slow
def test_a_run_begins_with_them_and_keeps_their_digest(place: Path, tmp_path: Path) -> None:
    file = place / "theirs.pth"
    config = replace(RESNET, weights=str(file))
    train(config, str(place / "data"), tmp_path / "run", running=RUNNING)
    run, found, model = trained(tmp_path / "run")
    assert run.inputs == {"weights": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert found.weights is None and "weights" not in run.config
    theirs = torch.load(file, weights_only=True)
    assert isinstance(model.encoder, ImageNetResNet)
    own = weights_of(model.encoder)
    assert all(torch.equal(theirs[name], own[name]) for name in own)  # lr is 0
    moved = tmp_path / "moved.pth"
    moved.write_bytes(file.read_bytes())
    again = replace(config, weights=str(moved))
    assert not train(again, str(place / "data"), tmp_path / "run", running=RUNNING)
    for other in (None, str(place / "theirs.safetensors")):
        with pytest.raises(RunError, match=r"belongs to another run; inputs\.weights is"):
            another = replace(config, weights=other)
            train(another, str(place / "data"), tmp_path / "run", running=RUNNING)


def test_what_holds_no_weights_of_the_encoder_is_refused(place: Path, tmp_path: Path) -> None:
    theirs = torch.load(place / "theirs.pth", weights_only=True)
    torch.save({"state_dict": theirs}, tmp_path / "nested.pth")
    torch.save(
        {name: v for name, v in theirs.items() if name != "conv1.weight"}, tmp_path / "l.pth"
    )
    torch.save({"conv1.weight": Hostile(tmp_path / "touched")}, tmp_path / "hostile.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"x": Hostile(tmp_path / "touched")}, 2))
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "text.safetensors").write_text("weights")
    for name in ("nested.pth", "l.pth", "hostile.pth", "old.pth", "empty.pth", "text.safetensors"):
        with pytest.raises(RunError, match=f"{name} does not hold the weights of this encoder"):
            load_pretrained(imagenet_resnet18(), str(tmp_path / name))
    assert not (tmp_path / "touched").exists()
    config = replace(RESNET, weights=str(tmp_path / "nothing.pth"))
    with pytest.raises(RunError, match="the weights cannot be read"):
        train(config, str(place / "data"), tmp_path / "run", running=RUNNING)
    assert not (tmp_path / "run").exists()
