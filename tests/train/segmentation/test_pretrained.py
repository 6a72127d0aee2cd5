"""Trunks that stay as they were learned, and scenes that are brought to one size."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from quire.artifacts.crop import centre_crop, cropped, cropped_mask
from quire.artifacts.errors import RunError
from quire.loaders.augment import to_float
from quire.models.deeplab import upsampled
from quire.train.engine.options import key
from quire.train.engine.pretrained import INSTALLED, load_pretrained
from quire.train.engine.runs import MODEL, read_run
from quire.train.segmentation.measure import Measure, Predictor, count
from quire.train.segmentation.run import SEPARATION, build_model, trained
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from tests.models.test_efficientnet_lite import wants_weights
from tests.train.segmentation.small import RUNNING, SHAPES, bundles, of, scenes

VAL = replace(SHAPES, split="val", length=7, size=(46, 36))
LITE = {"trunk": "efficientnet-lite0", "weights": INSTALLED, "frozen": True, "mean": (), "std": ()}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundles]:
    return bundles(tmp_path_factory.mktemp("bundles"))


@wants_weights
def test_a_frozen_trunk_stays_and_the_heads_learn(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    config = of("binding-cm", **LITE)
    train_segmentation(config, places["binding-cm"], tmp_path / "run", running=RUNNING)
    first = build_model(config, 21)
    load_pretrained(first.encoder, INSTALLED)
    separated, last = (load_file(tmp_path / "run" / name) for name in (SEPARATION, MODEL))
    for name, value in first.encoder.state_dict().items():
        assert torch.equal(last[f"encoder.{name}"], value), name
    heads = {name for name in last if name.split(".")[0] in ("target", "phantom")}
    learned = {name for name in heads if name.endswith("weight")}
    assert learned and all(not torch.equal(last[n], separated[n]) for n in learned)
    record = read_run(tmp_path / "run").config
    assert record["frozen"] and record["mean"] == [0.5] * 3 and "weights" not in record
    _, again, _ = trained(tmp_path / "run")
    assert again.fill == (128, 128, 128) and again.normalised_by == ((0.5,) * 3, (0.5,) * 3)


def test_what_is_frozen_begins_with_something(places: dict[str, Bundles], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="a frozen trunk stays as it begins, here at random"):
        train_segmentation(of("baseline", frozen=True), places["baseline"], tmp_path / "run")
    with pytest.raises(RunError, match="weights are installed of efficientnet-lite0 alone"):
        of("baseline", trunk="resnet50", weights=INSTALLED)
    with pytest.raises(RunError, match="longest is 0"):
        of("baseline", longest=0)


def test_new_fields_are_on_record_where_they_are_used(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    for name, fields in (("plain", {}), ("small", {"longest": 30})):
        train_segmentation(
            of("baseline", **fields), places["baseline"], tmp_path / name, running=RUNNING
        )
        assert {"longest", "frozen", "least"} & read_run(tmp_path / name).config.keys() == {*fields}


def test_scenes_are_measured_whole(places: dict[str, Bundles], tmp_path: Path) -> None:
    scenes(tmp_path / "val", VAL)
    config, val = of("baseline", crop=24, longest=32), str(tmp_path / "val")
    train_segmentation(config, places["baseline"], tmp_path / "run", running=RUNNING)
    _, trained_as, model = trained(tmp_path / "run")
    assert trained_as.longest == 32 and trained_as.test_crop == 32
    predictor = Predictor(model, trained_as, torch.device("cpu"))
    counted = count(tmp_path / "run", val, device="cpu")
    crop = centre_crop(36, 46, size=32, longest=32)
    assert (crop.height, crop.width) == (25, 32)  # all of it
    seen = [VAL.scene(number) for number in range(len(VAL))]
    images = np.stack([cropped(scene.image, crop, fill=trained_as.fill) for scene in seen])
    answers = predictor.answers(torch.from_numpy(images).movedim(-1, 1))["target"].numpy()
    for number, (scene, predicted) in enumerate(zip(seen, answers, strict=True)):
        mask = cropped_mask(scene.truth.mask, crop)
        expected = np.zeros((21, 21), np.int64)
        np.add.at(expected, (mask[mask != 255], predicted[mask != 255]), 1)
        assert np.array_equal(counted.answers["target"][number].numpy(), expected)
    other = count(tmp_path / "run", val, how=Measure(longest=46, crop=46), device="cpu")
    native = sum(int((VAL.mask(number) != 255).sum()) for number in range(len(VAL)))
    assert int(other.answers["target"].sum()) == native


def test_a_whole_image_is_looked_at_as_in_training(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    config = of("baseline", longest=32)
    train_segmentation(config, places["baseline"], tmp_path / "run", running=RUNNING)
    _, trained_as, model = trained(tmp_path / "run")
    predictor = Predictor(model, trained_as, torch.device("cpu"))
    image = VAL.scene(0).image
    found = predictor.of_whole(torch.from_numpy(image).movedim(-1, 0), "target")
    assert found.shape == (21, 36, 46)
    small = cropped(image, centre_crop(36, 46, size=32, longest=32), fill=trained_as.fill)
    padded = np.empty((40, 40, 3), np.uint8)  # as the crops are
    padded[:] = trained_as.fill
    padded[:25, :32] = small[4:29]  # the rows of the scene, which lie in the square's middle there
    pixels = to_float(torch.from_numpy(padded).movedim(-1, 0)[None])
    expected = upsampled(predictor.scores(pixels)["target"][..., :25, :32], (36, 46))
    torch.testing.assert_close(found, expected[0])


@pytest.mark.parametrize("size", [(33, 33), (49, 65), (40, 150), (48, 160), (34, 245)])
def test_scores_of_whole_images_lie_where_they_did_in_training(size: tuple[int, int]) -> None:
    """A network that says how bright its cells are, of images that grow brighter to the right."""
    config = of("baseline", crop=33, mean=(0.0,) * 3, std=(1.0,) * 3)
    model = build_model(config, 1)

    class Brightness(torch.nn.Module):
        """Cells lie on every sixteenth pixel, the first one included, as those of convolutions."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 255 * images[:, :1, ::16, ::16]

    model.encoder, model.head = Brightness(), torch.nn.Identity()
    predictor = Predictor(model, config, torch.device("cpu"))
    height, width = size
    ramp = torch.arange(width, dtype=torch.uint8).expand(3, height, width)
    found = predictor.of_whole(ramp, "target")[0, height // 2]
    known = width if (width - 33) % 16 == 0 else (width - 1) // 16 * 16 - 15  # not what is beside
    errors = (found - ramp[0, 0])[:known]
    assert abs(float(errors.mean())) < 3 and float(errors.abs().max()) < 9  # pixels


def test_heads_learn_as_many_times_as_fast(places: dict[str, Bundles], tmp_path: Path) -> None:
    """Of an SGD without momentum or decay a step is the rate times the gradient."""
    plain = of("baseline", epochs=1, batch_size=20, momentum=0.0, weight_decay=0.0)
    found = {}
    for times in (1.0, 10.0):
        run = tmp_path / f"{times}"
        config = replace(plain, head_lr=times)
        train_segmentation(config, places["baseline"], run, running=RUNNING)
        found[times] = load_file(run / MODEL)
        assert ("head_lr" in read_run(run).config) == (times != 1)
    torch.manual_seed(key(plain.seed, "weights"))
    first = build_model(plain, 21).state_dict()
    for name, value in first.items():
        if "running" in name or "tracked" in name:
            continue
        one, ten = (found[times][name] - value for times in (1.0, 10.0))
        factor = 10.0 if name.startswith("head.") else 1.0
        torch.testing.assert_close(ten, factor * one, rtol=0.02, atol=1e-5)


def test_batch_normalisation_of_the_trunk_can_stay(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    config = of("baseline", batch_norm="frozen")
    train_segmentation(config, places["baseline"], tmp_path / "run", running=RUNNING)
    torch.manual_seed(key(config.seed, "weights"))
    first, last = build_model(config, 21).state_dict(), load_file(tmp_path / "run" / MODEL)
    stayed = {name for name, value in first.items() if torch.equal(last[name], value)}
    trunk = {name for name in first if name.startswith("encoder.")}
    assert trunk & stayed == {name for name in trunk if name.split(".")[2] == "1"}
    assert not {name for name in stayed if name.startswith("head.") and name.endswith("_mean")}
    with pytest.raises(RunError, match="head_lr is 0"):
        of("baseline", head_lr=0.0)
