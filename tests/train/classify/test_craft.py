"""A classifier's universal perturbation: what it fools, a stop that loses nothing, refusals."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.errors import RunError
from quire.artifacts.perturbation_table import read_perturbations
from quire.artifacts.verify import verify
from quire.loaders.stream import stream
from quire.train.attacks.uap import Gathering, Universal
from quire.train.attacks.universal import perturbed
from quire.train.classify.craft import CraftUniversal, craft_universal
from quire.train.classify.run import trained
from quire.train.classify.training import train
from quire.train.engine.runs import MODEL
from tests.same_folder import assert_same
from tests.train.learnable import LEARNING, RARELY, learnable_bundle

HOW = CraftUniversal(how=Universal(xi=40.0, passes=2), images=40)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in colour and in gray, and runs that look at one or at several."""
    place = tmp_path_factory.mktemp("crafted")
    learnable_bundle(place / "train", images=40, channels=3)
    learnable_bundle(place / "gray", images=40)
    colour: Any = replace(LEARNING, mean=(0.5,) * 3, std=(0.25,) * 3)
    for head, epochs in (("linear", colour.epochs), ("graph", 1)):
        run = replace(colour, head=head, epochs=epochs)
        train(run, str(place / "train"), place / head, running=RARELY)
    short = replace(LEARNING, head="linear", epochs=1)
    train(short, str(place / "gray"), place / "of-gray", running=RARELY)
    return place


def craft(place: Path, out: Path, config: CraftUniversal = HOW, **options: Any) -> None:
    data = str(place / "train")
    craft_universal(place / "linear", out, data=data, config=config, device="cpu", **options)


def test_it_fools_what_it_says_and_more_than_noise_does(place: Path, tmp_path: Path) -> None:
    craft(place, tmp_path / "out")
    assert verify(tmp_path / "out") == ()
    (one,) = read_perturbations(open_bundle(tmp_path / "out"))
    assert (one.name, one.origin, one.prior, one.xi) == ("uap", "crafted", "", 40.0)
    assert one.of == sha256(place / "linear" / MODEL) and one.delta.shape == (3, 8, 8)
    assert 0 < np.abs(one.delta).max() <= 40
    _, _, model = trained(place / "linear")
    images = next(iter(stream(place / "train", rows=range(40), batch_size=40)))["image"]

    def fooled(delta: torch.Tensor) -> float:
        with torch.inference_mode():
            clean, other = (model(perturbed(images, d)) for d in (torch.zeros(3, 8, 8), delta))
        return float((clean.argmax(1) != other.argmax(1)).double().mean())

    assert one.flipped == pytest.approx(fooled(torch.from_numpy(one.delta)), abs=1e-6)
    rng = torch.Generator().manual_seed(0)
    noise = [40 * (torch.rand(3, 8, 8, generator=rng) * 2 - 1).sign() for _ in range(10)]
    assert one.flipped > 1.5 * float(np.mean([fooled(delta) for delta in noise]))


def test_what_was_stopped_goes_on_to_the_same_bytes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(HOW, how=Universal(xi=40.0, delta=0.0, passes=2))  # both passes are made
    craft(place, tmp_path / "whole", config)
    update, seen = Gathering.update, list[int]()

    def counted(self: Gathering, *arguments: Any) -> None:
        if len(seen) == 55 and not (tmp_path / "stopped").exists():
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        seen.append(self.passes)
        update(self, *arguments)

    monkeypatch.setattr(Gathering, "update", counted)
    with pytest.raises(KeyboardInterrupt):
        craft(place, tmp_path / "out", config, checkpoint_seconds=0)
    assert list((place / "linear/crafting").iterdir())
    craft(place, tmp_path / "out", config)
    assert len(seen) == 2 * 40  # nothing was looked at twice
    assert_same(tmp_path / "out", tmp_path / "whole")
    assert not list((place / "linear/crafting").iterdir())


def test_as_it_is_typed(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = f"{place}/linear --data {place}/train --out {tmp_path}/out --images 12 --device cpu"
    assert quire.main(["craft", *words.split(), "--passes", "1"]) == 0
    assert "uap, 8x8: changes" in capsys.readouterr().out
    (one,) = read_perturbations(open_bundle(tmp_path / "out"))
    assert one.xi == 10.0


@pytest.mark.parametrize(
    ("run", "data", "message"),
    [
        ("graph", "train", "looks at other images beside each, by its head graph"),
        ("of-gray", "gray", "images of 1 channels; perturbations are in colour"),
        ("linear", "gray", "images of 1 channels; the run's have 3"),
    ],
)
def test_what_has_no_boundary_of_its_own_is_refused(
    run: str, data: str, message: str, place: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=message):
        craft_universal(place / run, tmp_path / "out", data=str(place / data), device="cpu")
    assert not (tmp_path / "out").exists()
