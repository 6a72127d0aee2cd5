"""Perturbations that are crafted: they do more than noise, a stop loses nothing, bad input."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import quire
from quire.artifacts.address import Location
from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError, RunError
from quire.artifacts.perturbation_table import (
    PERTURBATIONS,
    read_perturbations,
    write_perturbations,
)
from quire.artifacts.verify import verify
from quire.builders.engine.run import build
from quire.builders.recipes.scenes import Scenes
from quire.builders.sources.saliency import open_saliency
from quire.train.attacks.gduap import Crafting, Schedule
from quire.train.engine.checkpoint import save_weights
from quire.train.engine.runs import MODEL
from quire.train.segmentation.craft import (
    Craft,
    Prior,
    _flip_rate,
    _rows_of_prior,
    craft,
    relus,
)
from quire.train.segmentation.measure import Measure, Predictor, count
from quire.train.segmentation.run import trained
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from tests.hostile_tables import with_table
from tests.same_folder import assert_same
from tests.train.segmentation.small import RUNNING, SHAPES, SIDE, of

QUICK = Craft(schedule=Schedule(iterations=60, validate_every=25, validate_saturated=10), scenes=12)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("craft")
    for name in ("Imgs", "GT"):
        (folder / "pairs" / name).mkdir(parents=True)
    for index in range(60):
        scene = replace(SHAPES, length=60).scene(index)
        salient = (scene.truth.mask > 0) & (scene.truth.mask < 255)
        Image.fromarray(scene.image).save(folder / f"pairs/Imgs/s{index:02d}.png")
        Image.fromarray(255 * salient.astype(np.uint8)).save(folder / f"pairs/GT/s{index:02d}.png")
    build(Scenes(split="all"), open_saliency(folder / "pairs", "all"), folder / "scenes")
    config, bundles = of("baseline", epochs=30, lr=0.05), Bundles(data=str(folder / "scenes"))
    train_segmentation(config, bundles, folder / "run", running=RUNNING)
    return folder


@pytest.mark.parametrize(
    ("prior", "xi", "times"), [("none", 60, 2), ("all", 30, 5), ("part", 30, 5)]
)
def test_it_changes_more_than_noise_of_its_size(
    place: Path, tmp_path: Path, prior: Prior, xi: float, times: float
) -> None:
    longer = replace(QUICK.schedule, iterations=200, xi=xi, lr=xi / 20)
    config = replace(QUICK, prior=prior, schedule=longer)
    craft(place / "run", tmp_path / "out", data=str(place / "scenes"), config=config, device="cpu")
    assert verify(tmp_path / "out") == ()
    (one,) = read_perturbations(open_bundle(tmp_path / "out"))
    assert (one.name, one.origin, one.prior) == (f"gd-uap-{prior}", "crafted", prior)
    assert one.of == sha256(place / "run" / MODEL) and one.delta.shape == (3, SIDE, SIDE)
    assert xi / 2 <= np.abs(one.delta).max() <= xi == one.xi
    _, trained_as, model = trained(place / "run")
    predictor = Predictor(model, trained_as, torch.device("cpu"))
    rate = _flip_rate(predictor, Location(place / "scenes"), QUICK.scenes)
    assert rate(torch.from_numpy(one.delta)) == pytest.approx(one.flipped, abs=1e-12)
    noise = max(rate(Crafting((3, SIDE, SIDE), longer, seed).delta.detach()) for seed in range(5))
    # seen: 6 to 10, 16 to 18 and 28 to 30 times as much
    assert one.flipped > times * noise > 0


@pytest.mark.parametrize("stop", [33, 60])  # within an epoch of 60 scenes, and at its end
def test_what_was_stopped_goes_on_to_the_same_bytes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    longer = replace(QUICK.schedule, iterations=70)
    data, config = str(place / "scenes"), replace(QUICK, prior="all", schedule=longer)
    craft(place / "run", tmp_path / "whole", data=data, config=config, device="cpu")
    update = Crafting.update

    def stopped(self: Crafting, *arguments: object) -> None:
        if self.step == stop:
            raise KeyboardInterrupt
        update(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Crafting, "update", stopped)
        craft(
            place / "run",
            tmp_path / "out",
            data=data,
            config=config,
            device="cpu",
            checkpoint_seconds=0,
        )
    steps: list[int] = []

    def counted(self: Crafting, *arguments: object) -> None:
        steps.append(self.step)
        update(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Crafting, "update", counted)
    craft(place / "run", tmp_path / "out", data=data, config=config, device="cpu")
    assert steps[0] == stop  # it went on, it did not begin anew
    assert_same(tmp_path / "out", tmp_path / "whole")
    assert not list((place / "run/crafting").iterdir())


def test_layers_are_those_of_the_trunk_or_of_all(place: Path) -> None:
    _, _, model = trained(place / "run")
    assert len(relus(model, "trunk")) == 4 < len(relus(model, "all"))


def test_as_it_is_typed(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, data = str(place / "run"), ["--data", str(place / "scenes")]
    few = ["--iterations", "3", "--scenes", "4"]
    out = str(tmp_path / "out")
    for _ in range(2):
        assert quire.main(["craft", run, *data, *few, "--out", out]) == 0
        said = capsys.readouterr().out
        assert f"gd-uap-none, {SIDE}x{SIDE}: changes" in said
    assert quire.main(["show", out]) == 0
    assert "crafted" in capsys.readouterr().out
    for arguments, reason in (
        ([run, *data, "--reference-quirk"], "reference_quirk is of scenes"),
        ([run, *data, "--scenes", "0"], "scenes"),
        ([run, *data, "--xi", "-1"], "xi is -1"),
        ([run, "--data", str(tmp_path / "nowhere")], "nowhere"),
        ([run, "--data", out], ""),
        ([str(tmp_path), *data], str(tmp_path)),
    ):
        assert quire.main(["craft", *arguments, "--out", str(tmp_path / "bad")]) == 1
        told = capsys.readouterr()
        assert reason in told.err and told.err.count("\n") == 1 and not told.out
    assert PERTURBATIONS == "perturbations.h5" and (Path(out) / PERTURBATIONS).exists()


def test_an_objective_that_is_not_finite_ends_it(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "run", tmp_path / "run")
    _, _, model = trained(tmp_path / "run")
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    save_weights(tmp_path / "run" / MODEL, model)
    with pytest.raises(RunError, match="the objective is inf in step 0"):
        craft(tmp_path / "run", tmp_path / "out", data=str(place / "scenes"), config=QUICK)


def test_runs_are_measured_under_perturbations(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(place / "scenes"), tmp_path / "out"
    config = replace(QUICK, schedule=replace(QUICK.schedule, xi=30, lr=1.5))
    craft(place / "run", out, data=data, config=config, device="cpu")
    before = count(place / "run", data, how=Measure(images=12), device="cpu")
    (clean,) = before.over()
    under = Measure(images=12, perturbation=(str(out), "gd-uap-none"))
    for _ in range(2):  # the second time it is read
        (found,) = count(place / "run", data, how=under, device="cpu").over()
    (one,) = read_perturbations(open_bundle(out))
    assert found.flipped == pytest.approx(one.flipped, abs=1e-12)  # of the scenes of its validation
    assert clean.flipped is None and found.mean_iou < clean.mean_iou
    nothing = replace(one, name="nothing", delta=0 * one.delta)

    def change(file: h5py.File) -> None:
        for name in list(file):
            del file[name]
        write_perturbations(file, [one, nothing])

    with_table(out, PERTURBATIONS, change)
    same = Measure(images=12, perturbation=(str(out), "nothing"))
    unmoved = count(place / "run", data, how=same, device="cpu")
    assert torch.equal(unmoved.answers["target"], before.answers["target"])
    assert not unmoved.flipped["target"].any()
    capsys.readouterr()
    asked = ["evaluate", str(place / "run"), "--data", data, "--images", "12"]
    assert quire.main([*asked, "--perturbations", str(out)]) == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert f"{100 * clean.mean_iou:.2f}" in rows["none"]
    assert f"{100 * found.mean_iou:.2f}" in rows["gd-uap-none"] and "0.00" in rows["nothing"]
    for wrong, reason in ((data, "perturbations"), (str(tmp_path / "no"), "no")):
        assert quire.main([*asked, "--perturbations", wrong]) == 1
        assert reason in (told := capsys.readouterr().err) and told.count("\n") == 1
    with pytest.raises(BundleError, match="no perturbation is called 'x'"):
        count(place / "run", data, how=Measure(perturbation=(str(out), "x")))


def test_a_list_names_the_scenes_of_a_prior(place: Path, tmp_path: Path) -> None:
    """Lines as GD-UAP has them, with folders and what follows, are keys of scenes."""
    data, config = str(place / "scenes"), replace(QUICK, prior="part")
    names = tmp_path / "list.txt"
    names.write_text("/JPEGImages/s07.jpg /SegmentationClass/s07.png\ns03\n\n")
    craft(place / "run", tmp_path / "out", data=data, listed=names, config=config, device="cpu")
    inputs = open_bundle(tmp_path / "out").manifest.identity.inputs
    assert inputs["listed"] == sha256(names) and verify(tmp_path / "out") == ()
    seen = _rows_of_prior(config, Location(data), ["s07", "s03"])
    assert seen == [7, 3]
    for text, other, message in (
        ("s07\nnobody\n", config, "has no scene nobody, which is listed"),
        ("s07\n", replace(config, prior="all"), "the prior part, not of all"),
    ):
        names.write_text(text)
        with pytest.raises(RunError, match=message):
            craft(place / "run", tmp_path / "no", data=data, listed=names, config=other)
        assert not (tmp_path / "no/manifest.json").exists()
