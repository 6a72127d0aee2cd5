"""Generated images beside the bins of a dataset: a run's, a bundle's and anybody's files."""

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

import quire
from quire.artifacts.errors import RunError
from quire.builders.engine.run import build
from quire.builders.recipes.bins import ImageBins
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.samples import Digits
from quire.train.engine.runs import EVALUATIONS
from quire.train.gan import evaluate as module
from quire.train.gan.evaluate import Comparison, compare
from quire.train.gan.ndb import spread_of
from quire.train.gan.run import trained
from quire.train.gan.steps import generated
from quire.train.gan.subjects import digest_of_images, holds_images, is_run
from quire.train.gan.training import train
from tests.train.gan.small import RUNNING, SMALL

DIGITS = Digits("test", side=32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in `images`, their bins in `bins`, and the same digits as files in `files`."""
    folder = tmp_path_factory.mktemp("digits")
    build(Corrupted(corruptions=()), DIGITS, folder / "images")
    build(ImageBins(split="test", bins=5, restarts=1), DIGITS, folder / "bins")
    (folder / "files/deep").mkdir(parents=True)
    for number, image in enumerate(np.array(DIGITS.read(0, len(DIGITS)).images)):
        where = folder / "files" / ("deep" if number % 2 else ".")
        Image.fromarray(image).save(where / f"{number:03d}.png")
    (folder / "files/notes.txt").write_text("these are digits")
    train(SMALL, str(folder / "images"), folder / "run", running=RUNNING)
    return folder


def measured(place: Path, what: str, **how: Any) -> Any:
    return compare(str(place / what), str(place / "bins"), how=Comparison(**how), device="cpu")


def test_a_bundle_and_files_of_the_same_images_spread_alike(place: Path) -> None:
    bundle, files = measured(place, "images"), measured(place, "files")
    assert bundle.spread == files.spread
    assert bundle.spread.images == 360 and bundle.spread.different == 0
    assert bundle.spread.js == pytest.approx(0, abs=1e-12)  # the bins are of these images


def test_so_many_images_are_looked_at_as_are_asked_for(place: Path) -> None:
    for what in ("images", "files", "run"):
        assert measured(place, what, images=130).spread.images == 130
    assert measured(place, "run").spread.images == SMALL.samples


def test_a_run_is_measured_once_and_on_other_noise_than_in_training(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(place, "run", images=77)
    _, config, pair = trained(place / "run")
    images = torch.cat([*generated(config, pair.generator, "evaluated", 77)])
    assert found.spread == spread_of([images], _bins(place))
    in_training = torch.cat([*generated(config, pair.generator, "measured", 77)])
    assert not torch.equal(images, in_training)
    records = [json.loads(p.read_text()) for p in (place / "run" / EVALUATIONS).iterdir()]
    assert any(record["question"]["images"] == 77 for record in records)
    monkeypatch.setattr(module, "spread_of", None)  # which cannot be called again
    assert measured(place, "run", images=77) == found


def _bins(place: Path) -> Any:
    from quire.artifacts.bins_table import read_bins
    from quire.artifacts.bundle import open_bundle

    return read_bins(open_bundle(place / "bins"))


def test_images_all_alike_miss_every_bin_but_one(place: Path, tmp_path: Path) -> None:
    for number in range(200):
        Image.new("RGB", (32, 32), (9, 9, 9)).save(tmp_path / f"{number}.png")
    build(ImageBins(split="test", bins=5, restarts=1), DIGITS, tmp_path / "bins")
    spread = compare(str(tmp_path), str(place / "bins"), device="cpu").spread
    assert spread.different == 5 and spread.score == 1


def test_what_is_no_image_is_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is no run: it has no run\.json, no manifest\.json and no"):
        compare(str(tmp_path), str(place / "bins"))
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(RunError, match=r"b\.png cannot be read: no BMP"):
        compare(str(tmp_path), str(place / "bins"))
    Image.new("RGB", (32, 30)).save(tmp_path / "b.png")
    with pytest.raises(RunError, match="has images of different sizes"):
        compare(str(tmp_path), str(place / "bins"))
    (tmp_path / "b.png").unlink()
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(RunError, match="images are 64x64 of 3 channels; the bins are of 32x32"):
        compare(str(tmp_path), str(place / "bins"))
    with pytest.raises(RunError, match="images is 1; it must be at least 2"):
        Comparison(images=1)


def test_grey_bins_take_grey_files_alone(tmp_path: Path) -> None:
    build(ImageBins(split="test", bins=3, restarts=1), Digits("test"), tmp_path / "bins")
    (tmp_path / "files").mkdir()
    images = np.array(Digits("test").read(0, 360).images)
    for number, image in enumerate(images[..., 0]):
        Image.fromarray(image).save(tmp_path / "files" / f"{number:03d}.png")
    assert compare(str(tmp_path / "files"), str(tmp_path / "bins")).spread.different == 0
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "files/999.png")
    with pytest.raises(RunError, match=r"999\.png is in colour; the bins are of grey images"):
        compare(str(tmp_path / "files"), str(tmp_path / "bins"))


def inception(folder: Path) -> Path:
    """Weights of Inception at random, in the file that torch-fidelity reads."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    pytest.importorskip("torchmetrics")
    torch.manual_seed(0)
    extractor = fidelity.FeatureExtractorInceptionV3.__new__(fidelity.FeatureExtractorInceptionV3)
    known: dict[str, Any] = {}

    class Built(Exception):
        pass

    def instead(*_: Any, **__: Any) -> None:
        raise Built

    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(fidelity, "load_state_dict_from_url", instead)
        with pytest.raises(Built):
            extractor.__init__("inception-v3-compat", ["2048"])
    known = extractor.state_dict()
    torch.save(known, folder / "inception.pth")
    return folder / "inception.pth"


def test_fid_is_left_out_where_its_weights_are_not(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    found = measured(place, "images")
    assert found.fid is None and "Inception's weights are not at hand: --inception" in found.without
    with pytest.raises(RunError, match=r"nothing\.pth is no file of Inception's weights"):
        measured(place, "images", inception=tmp_path / "nothing.pth")
    (tmp_path / "other.pth").write_bytes(b"no weights")
    with pytest.raises(RunError, match=r"other\.pth does not hold Inception's weights"):
        compare(
            str(place / "run"),
            str(place / "bins"),
            how=Comparison(inception=tmp_path / "other.pth"),
            device="cpu",
        )


def test_fid_is_left_out_where_no_library_has_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quire.train.gan import fid

    monkeypatch.setattr(fid, "find_spec", lambda name: None)
    found = measured(place, "images")
    assert found.fid is None
    assert found.without == (
        "torchmetrics, torch_fidelity not installed: pip install quire-vision[fid]"
    )


@pytest.mark.slow
def test_fid_of_the_same_images_is_nothing_and_of_others_is_not(
    place: Path, tmp_path: Path
) -> None:
    """By a network at random, as nobody's weights are at hand: it is the way that is tried."""
    weights = inception(tmp_path)
    real, bins = tmp_path / "real", str(place / "bins")
    real.mkdir()
    for path in sorted((place / "files").glob("0*.png"))[:24]:
        (real / path.name).write_bytes(path.read_bytes())
    how = Comparison(images=24, inception=weights)
    same = compare(str(real), bins, how=how, real=str(real), device="cpu")
    others = compare(str(place / "run"), bins, how=how, real=str(real), device="cpu")
    assert same.fid is not None and others.fid is not None
    assert abs(same.fid) < 1e-3 * others.fid  # about 4e-12: such a network sees little
    assert compare(str(place / "run"), bins, how=how, real=str(real), device="cpu") == others
    without = compare(str(real), bins, how=how, device="cpu")
    assert without.fid is None and "--context" in without.without


def test_what_is_measured_is_known_by_what_lies_there(place: Path, tmp_path: Path) -> None:
    run, images, files = (str(place / name) for name in ("run", "images", "files"))
    assert is_run(run) and not is_run(images)
    assert holds_images(run) and holds_images(images) and holds_images(files)
    assert not holds_images(str(tmp_path / "nothing"))
    assert digest_of_images(images) != images and digest_of_images(files) == files


def test_a_bundle_at_an_address_is_measured(place: Path) -> None:
    fsspec.filesystem("memory").put(str(place / "images"), "/measured/images", recursive=True)
    found = compare("memory://measured/images", str(place / "bins"), how=Comparison(images=150))
    assert found.spread == measured(place, "images", images=150).spread


def test_as_a_user_types_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(place / name) for name in ("run", "images", "files")]
    table = place / "table.csv"
    command = ["evaluate", *names, "--data", str(place / "bins"), "--images", "300"]
    assert quire.main([*command, "--csv", str(table)]) == 0
    said = capsys.readouterr().out
    assert "NDB/K" in said and "JS (nats)" in said and "about 0.05 where" in said
    assert "FID is left out" in said
    assert len(table.read_text().splitlines()) >= 5
    for option, message in {
        "--anchors": "generated images have no anchors, no subsets",
        "--seed": "generated images know images alone",
    }.items():
        assert quire.main([*command, option, "3"]) == 1
        assert message in capsys.readouterr().err
    assert quire.main(["evaluate", str(place / "run"), "--data", str(place / "images")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "bins" in error
