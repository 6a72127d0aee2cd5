"""Training of GANs: what a run leaves, that it goes on to the same bits, and what is refused."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from quire.artifacts.errors import RunError
from quire.builders.engine.run import build
from quire.builders.recipes.bins import ImageBins
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.samples import Digits
from quire.models.batch_features import EdgeGraphConfig, MinibatchConfig
from quire.train.engine.metrics import read_metrics
from quire.train.engine.ranks import Ranks
from quire.train.gan import training as module
from quire.train.gan.run import Gan, build_pair, described, trained
from quire.train.gan.steps import Training, generated, noise_of
from quire.train.gan.training import batches_of, train
from tests.bundles import image_bundle
from tests.train.gan.small import KINDS, RUNNING, SMALL, squares

DIGITS = Digits("test", side=32)
CPU = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return squares(tmp_path_factory.mktemp("data") / "bundle")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits of 32x32 in `images`, and their bins in `bins`."""
    folder = tmp_path_factory.mktemp("digits")
    build(Corrupted(corruptions=()), DIGITS, folder / "images")
    build(ImageBins(split="test", bins=5, restarts=1), DIGITS, folder / "bins")
    return folder


class Stop(Exception):
    pass


def stopping_at(step: int) -> Any:
    def report(done: int, total: int) -> None:
        assert total == SMALL.iterations
        if done == step:
            raise Stop

    return report


def without_times(run: Path) -> list[dict[str, float]]:
    timed = {"seconds", "images_per_second", "data_wait"}
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(run)]


def bytes_of(run: Path) -> dict[str, bytes]:
    """The weights and the pictures of a run."""
    files = [run / "model.safetensors", *(run / "samples").iterdir()]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


def test_a_run_has_its_losses_its_grids_and_its_measurements(digits: Path, tmp_path: Path) -> None:
    run, bins = tmp_path / "run", str(digits / "bins")
    images = str(digits / "images")
    assert train(SMALL, images, run, bins=bins, running=RUNNING)
    lines = read_metrics(run)
    steps = [line for line in lines if "generator" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    for line in steps:
        assert line["loss"] == pytest.approx(line["generator"] + line["discriminator"])
    rounds = [line for line in lines if "ndb" in line]
    assert [line["step"] for line in rounds] == [3, 6]
    for line in rounds:
        assert line["ndb_score"] == line["ndb"] / 5 and 0 <= line["js"] <= np.log(2)
        assert 0 < line["real"] < 1 and 0 < line["generated"] < 1
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "00000003.png",
        "00000006.png",
    ]
    with Image.open(run / "samples/00000006.png") as grid:
        assert grid.size == (320, 320) and grid.mode == "RGB"
    record, config, pair = trained(run)
    assert config == replace(SMALL, size=32) and record.channels == 3 and not pair.training
    assert record.inputs.keys() == {"bins"}
    assert not train(SMALL, images, run, bins=bins, running=RUNNING)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [2, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    kind: str, step: int, data: Path, tmp_path: Path
) -> None:
    config = KINDS[kind]
    train(config, str(data), tmp_path / "whole", running=RUNNING)
    with pytest.raises(Stop):
        train(config, str(data), tmp_path / "run", running=RUNNING, report=stopping_at(step))
    train(config, str(data), tmp_path / "run", running=RUNNING)
    assert without_times(tmp_path / "run") == without_times(tmp_path / "whole")
    assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole")
    assert not [*(tmp_path / "run").glob("checkpoint-*")]


def training_of(config: Gan, data: Path) -> Training:
    batches = batches_of(config, str(data), CPU, RUNNING)
    config, run = described(config, str(data), batches)
    torch.manual_seed(0)
    return Training.new(config, build_pair(config, run), batches, CPU, lambda step: {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_adam_on_the_two_losses(kind: str, data: Path) -> None:
    """As it is written in a few plain lines: the discriminator first, then the generator."""
    ours, plain = (training_of(KINDS[kind], data) for _ in range(2))
    generator, discriminator = plain.model.generator, plain.model.discriminator
    entropy = nn.BCEWithLogitsLoss()
    adams = [
        torch.optim.Adam(network.parameters(), lr=lr, betas=(0.5, 0.999))
        for network, lr in ((discriminator, 1e-4), (generator, 2e-4))
    ]
    batches = ours.left()
    for _ in range(3):
        batch = next(batches)
        noise = noise_of(plain.config, "step", ours.step, 8)
        found = ours.update(batch)
        real, ones = batch["image"].float() / 127.5 - 1, torch.ones(8)
        made = generator(noise)
        first = entropy(discriminator(real), ones) + entropy(discriminator(made.detach()), 0 * ones)
        adams[0].zero_grad()
        first.backward()
        adams[0].step()
        second = entropy(discriminator(made), ones)
        adams[1].zero_grad()
        second.backward()
        adams[1].step()
        torch.testing.assert_close(found.loss, (first + second).detach())
    wanted = plain.model.state_dict()
    for name, value in ours.model.state_dict().items():
        if value.dim() > 1:  # a bias before batch normalisation has no gradient but rounding
            assert (value - wanted[name]).abs().mean() < 0.1 * 1e-4, name  # of a step of Adam


def test_an_image_hangs_on_its_own_noise_alone(data: Path) -> None:
    training = training_of(SMALL, data)
    config, generator = training.config, training.model.generator
    for number in range(30):  # until batch normalisation knows what it normalises
        generator(noise_of(config, "step", number, 8))
    few, many = (torch.cat([*generated(config, generator, "some", n)]) for n in (3, 20))
    assert few.shape == (3, 1, 32, 32) and many.shape == (20, 1, 32, 32)
    torch.testing.assert_close(few, many[:3])
    assert generator.training
    other = torch.cat([*generated(config, generator, "others", 3)])
    assert (other - few).abs().max() > 1e-4


def test_a_loss_that_is_not_finite_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The generator's too, whatever the discriminator's is."""
    real = build_pair

    def broken(*arguments: Any) -> Any:
        pair = real(*arguments)
        calls = []

        def spoil(_: Any, __: Any, images: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return images * (float("nan") if len(calls) == 3 else 1)

        pair.generator.register_forward_hook(spoil)
        return pair

    monkeypatch.setattr(module, "build_pair", broken)
    with pytest.raises(RunError, match="the loss of step 3 is nan; its batch of 8 begins with"):
        train(SMALL, str(data), tmp_path / "run", running=replace(RUNNING, log_every=50))
    failed = json.loads((tmp_path / "run/failed.json").read_text())
    assert failed["step"] == 3 and len(failed["keys"]) == 8
    assert not (tmp_path / "run/model.safetensors").exists()


@pytest.mark.parametrize("size", [16, 28, 48])
def test_other_sizes_are_refused(size: int, tmp_path: Path) -> None:
    data = squares(tmp_path / "bundle", size=size)
    with pytest.raises(RunError, match=f"images are {size}x{size}; a GAN is for 32x32 or 64x64"):
        train(SMALL, str(data), tmp_path / "run", running=RUNNING)
    assert not (tmp_path / "run").exists()


def test_images_that_are_no_square_and_another_size_than_asked_for(tmp_path: Path) -> None:
    image_bundle(
        tmp_path / "wide",
        np.zeros((10, 32, 64, 3), np.uint8),
        np.zeros(10, np.int64),
        samples_per_shard=10,
    )
    with pytest.raises(RunError, match="images of 32x64; the run wants a square"):
        train(SMALL, str(tmp_path / "wide"), tmp_path / "run", running=RUNNING)
    data = squares(tmp_path / "bundle")
    with pytest.raises(RunError, match="images of 32x32; the run wants 64"):
        train(replace(SMALL, size=64), str(data), tmp_path / "run", running=RUNNING)


def test_no_batch_is_smaller_than_the_others(tmp_path: Path) -> None:
    """Of 33 images in batches of 8 one is left out of each epoch, and not a batch of its own."""
    data = squares(tmp_path / "bundle", images=33)
    batches = islice(training_of(SMALL, data).left(), 9)  # of three epochs
    assert [len(batch["row"]) for batch in batches] == [8] * 9
    few = squares(tmp_path / "few", images=7)
    with pytest.raises(RunError, match="has fewer images than a batch, 8"):
        train(SMALL, str(few), tmp_path / "run", running=RUNNING)
    with pytest.raises(RunError, match="a batch of one has no variance"):
        replace(SMALL, batch_size=1)


def test_bins_of_another_source_are_refused(digits: Path, data: Path, tmp_path: Path) -> None:
    build(ImageBins(bins=5, restarts=1), Digits("train", side=32), tmp_path / "train")
    images = str(digits / "images")
    with pytest.raises(RunError, match="bins of another source than the images: its split is"):
        train(SMALL, images, tmp_path / "run", bins=str(tmp_path / "train"), running=RUNNING)
    with pytest.raises(RunError, match="its kind is 'digits', theirs 'made'"):
        train(SMALL, str(data), tmp_path / "run", bins=str(digits / "bins"), running=RUNNING)
    build(ImageBins(split="test", bins=5, restarts=1), Digits("test", side=64), tmp_path / "64")
    with pytest.raises(RunError, match="its sha256 is"):
        train(SMALL, images, tmp_path / "run", bins=str(tmp_path / "64"), running=RUNNING)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_taken_up_with_other_bins(digits: Path, tmp_path: Path) -> None:
    images, bins = str(digits / "images"), str(digits / "bins")
    with pytest.raises(Stop):
        train(SMALL, images, tmp_path / "run", bins=bins, running=RUNNING, report=stopping_at(2))
    build(ImageBins(split="test", bins=4, restarts=1), DIGITS, tmp_path / "4")
    for others in (str(tmp_path / "4"), None):
        with pytest.raises(RunError, match=r"belongs to another run; inputs.bins is"):
            train(SMALL, images, tmp_path / "run", bins=others, running=RUNNING)
    assert train(SMALL, images, tmp_path / "run", bins=bins, running=RUNNING)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"iterations": 7}, "no multiple of measure_every, 3: the end would not be measured"),
        ({"lr_generator": 0.0}, "learning rates must be above 0"),
        ({"betas": (0.5, 1.0)}, "each must be at least 0 and below 1"),
        ({"width": 0}, "width is 0; it must be at least 1"),
        ({"samples": 0}, "samples is 0"),
        ({"graph": EdgeGraphConfig(heads=2)}, "graph is given, but the discriminator is vanilla"),
        ({"minibatch": MinibatchConfig(kernels=2)}, "minibatch is given, but"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RunError, match=said):
        replace(SMALL, **fields)


def test_the_record_says_nothing_that_a_discriminator_has_not(data: Path, tmp_path: Path) -> None:
    train(KINDS["minibatch"], str(data), tmp_path / "run", running=RUNNING)
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert config["minibatch"]["kernels"] == 3 and "graph" not in config
    assert trained(tmp_path / "run")[1] == replace(KINDS["minibatch"], size=32)


def test_the_weights_are_safetensors_of_both_networks(data: Path, tmp_path: Path) -> None:
    train(SMALL, str(data), tmp_path / "run", running=RUNNING)
    names = {name.split(".")[0] for name in load_file(tmp_path / "run/model.safetensors")}
    assert names == {"generator", "discriminator"}
