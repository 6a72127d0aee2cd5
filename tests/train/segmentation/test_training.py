"""Every variant learns, resumes to the same weights, and refuses what it cannot be trained on."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torchvision.models.resnet import Bottleneck, ResNet

from artifacts.blend import PARTS
from artifacts.bundle import open_bundle
from artifacts.cooccurrence_table import read_cooccurrence
from artifacts.errors import BundleError, RunError
from artifacts.masks import mask_file
from artifacts.members import raw_images
from loaders.draws import Draws
from loaders.stream import stream
from models.deeplab import ResNetTrunk
from models.feature_binding import FeatureBinding
from tests.bundles import image_bundle, random_images, write_bundle
from tests.train.corrupted import with_manifest
from tests.train.segmentation.small import QUICK, RUNNING, SHAPES, SIDE, blends, bundles, scenes
from train.metrics import read_metrics
from train.pretrained import load_pretrained
from train.ranks import Ranks
from train.segmentation.blending import beta_parts, classes_present
from train.segmentation.run import Segment, build_model, trained
from train.segmentation.scenes import Batch
from train.segmentation.stages import Bundles, prepared
from train.segmentation.training import Training, train_segmentation

VARIANTS = ("baseline", "mixup", "cutmix", "binding-cm", "binding-cc")
ALONE = Ranks(0, 1, torch.device("cpu"))
RARE = replace(RUNNING, checkpoint_seconds=1e9)
STEPS = 3  # of an epoch of 20 scenes in batches of 6


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundles]:
    return bundles(tmp_path_factory.mktemp("bundles"))


class Stop(Exception):
    pass


def stopping_at(step: int) -> Any:
    def report(done: int, total: int) -> None:
        if done == step:
            raise Stop

    return report


def of(variant: Any, **fields: Any) -> Segment:
    return replace(QUICK, variant=variant, **fields)


def steps(run: Path) -> list[dict[str, float]]:
    return [line for line in read_metrics(run) if "loss" in line]


def without_times(run: Path) -> list[dict[str, float]]:
    timed = {"seconds", "images_per_second", "data_wait"}
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(run)]


def batches_of(config: Segment, given: Bundles, stage: int = 0) -> Iterator[tuple[Batch, Any]]:
    """The batches of an epoch, and what they are blended to."""
    found = prepared(config, given, ALONE, RUNNING)[1][stage]
    for batch in found.batches:
        yield batch, found.blend(batch, Draws(found.seed, 0, batch["row"]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_learns(variant: str, places: dict[str, Bundles], tmp_path: Path) -> None:
    config = of(variant, epochs=4, denoising_epochs=0)
    given = replace(places[variant], clean=None)
    assert train_segmentation(config, given, tmp_path / "run", running=RARE)
    epochs = [line["mean_loss"] for line in read_metrics(tmp_path / "run") if "mean_loss" in line]
    assert len(epochs) == 4 and epochs[-1] < 0.75 * epochs[0]
    assert len(steps(tmp_path / "run")) == 4 * STEPS  # what fills no batch is left out
    _, config_read, model = trained(tmp_path / "run")
    assert config_read.variant == variant and not model.training
    assert isinstance(model, FeatureBinding) == variant.startswith("binding")


@pytest.mark.parametrize(
    ("variant", "step"),
    [*(("binding-cm", step) for step in (1, 3, 6, 8)), ("binding-cc", 5), ("binding-cc", 7)],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_losses(
    variant: str,
    step: int,
    places: dict[str, Bundles],
    whole: dict[str, Path],
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train_segmentation(
            of(variant), places[variant], run, running=RUNNING, report=stopping_at(step)
        )
    assert len(steps(run)) == step
    assert train_segmentation(of(variant), places[variant], run, running=RUNNING)
    assert without_times(run) == without_times(whole[variant])
    for name in ("separation.safetensors", "model.safetensors"):
        expected, found = load_file(whole[variant] / name), load_file(run / name)
        assert all(torch.equal(expected[key], found[key]) for key in expected)
    assert not train_segmentation(of(variant), places[variant], run, running=RUNNING)


@pytest.fixture(scope="module")
def whole(places: dict[str, Bundles], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for variant in ("binding-cm", "binding-cc"):
        train_segmentation(of(variant), places[variant], folder / variant, running=RARE)
    return {variant: folder / variant for variant in ("binding-cm", "binding-cc")}


def test_a_run_has_its_record_its_terms_and_both_weights(
    places: dict[str, Bundles], whole: dict[str, Path]
) -> None:
    run = whole["binding-cm"]
    names = {path.name for path in run.iterdir()}
    assert names == {
        *("run.json", "metrics.jsonl", "lock", "separation.safetensors", "model.safetensors")
    }
    lines = steps(run)
    first, last = lines[0], lines[-1]
    assert set(first) == {"step", "loss", "lr", "loss_bound", "loss_target", "loss_phantom"}
    assert first["loss"] == pytest.approx(
        first["loss_bound"] + first["loss_target"] + first["loss_phantom"], rel=1e-6
    )
    assert set(last) == {"step", "loss", "lr", "loss_target", "loss_penalty"}
    rates = [line["lr"] for line in lines]
    assert rates[0] == QUICK.lr and rates[6] == QUICK.denoising_lr
    assert rates[5] == pytest.approx(QUICK.lr * (1 / 6) ** 0.9)
    record = json.loads((run / "run.json").read_text())
    place = places["binding-cm"].cooccurrence
    assert place is not None
    digest = stream(places["binding-cm"].data, columns=()).state_dict()["bundle"]
    assert record["bundle"] == digest and record["inputs"].keys() == {"cooccurrence"}
    assert record["places"] == {"cooccurrence": str(place)}
    cc = json.loads((whole["binding-cc"] / "run.json").read_text())
    assert cc["inputs"] == {"clean": digest}
    assert not cc["config"].keys() & {"alpha", "gamma", "max_total", "weights"}


def test_the_second_stage_leaves_the_binding_head_as_it_is(whole: dict[str, Path]) -> None:
    for run in whole.values():
        before = load_file(run / "separation.safetensors")
        after = load_file(run / "model.safetensors")
        for name in before:
            learned = not name.startswith("binding.") and name not in ("mean", "std")
            assert torch.equal(before[name], after[name]) != learned, name
        assert trained(run, separation=True)[2].state_dict()["binding.0.weight"].shape[0] == 21


def test_the_second_stage_does_not_train_the_binding_head(places: dict[str, Bundles]) -> None:
    config = of("binding-cm")
    model = build_model(config, 21)
    assert isinstance(model, FeatureBinding)
    binding = {id(parameter) for parameter in model.binding.parameters()}
    for stage in prepared(config, places["binding-cm"], ALONE, RUNNING)[1]:
        (group,) = Training.new(config, stage, model, ALONE).optimizer.param_groups
        trained_ones = {id(parameter) for parameter in group["params"]}
        assert binding.isdisjoint(trained_ones) == (stage.number == 2)
        assert len(trained_ones | binding) == len(list(model.parameters()))


def test_masks_in_batches_have_the_ids_that_they_had(places: dict[str, Bundles]) -> None:
    ids = [set(np.unique(SHAPES.mask(index)).tolist()) for index in range(len(SHAPES))]
    for variant in VARIANTS:
        for batch, blend in batches_of(of(variant), places[variant]):
            for place, row in enumerate(batch["row"].tolist()):
                own, other = ids[row], ids[int(batch["row"][blend.partner[place]])]
                if variant == "binding-cc":
                    other = ids[row - 1]
                shown = set(blend.masks[place].unique().tolist())
                assert shown <= own | {255} | (other if variant == "cutmix" else set())
                if variant != "cutmix":
                    assert set(blend.phantom_masks[place].unique().tolist()) <= other | {255}


def test_delta_of_a_crowded_blend_does_not_leak(places: dict[str, Bundles]) -> None:
    """Each sample's weight follows from its own draw and its own pair alone."""
    config, given = of("binding-cm", gamma=3, batch_size=20), places["binding-cm"]
    after_a_crowded_one = 0
    for batch, blend in batches_of(config, given):
        present, crowded = classes_present(batch["mask"], 21), False
        drawn = beta_parts(Draws(config.seed, 0, batch["row"]), "blend", alpha=1.0)
        for place, partner in enumerate(blend.partner.tolist()):
            if partner == place:
                assert blend.parts[place] == PARTS
            elif present[place].sum() + present[partner].sum() > 3:
                assert blend.parts[place] == 922
                crowded = True
            else:
                assert blend.parts[place] == max(int(drawn[place]), PARTS - int(drawn[place]))
                after_a_crowded_one += crowded
    assert after_a_crowded_one


def test_partners_are_of_the_counts_that_were_given(places: dict[str, Bundles]) -> None:
    given = places["binding-cm"]
    assert given.cooccurrence is not None
    counts = torch.from_numpy(read_cooccurrence(open_bundle(given.cooccurrence)).images)
    for batch, blend in batches_of(of("binding-cm"), given):
        present = classes_present(batch["mask"], 21).long()
        for place, partner in enumerate(blend.partner.tolist()):
            scores = present @ counts @ present[place]
            scores[place] = 0
            assert scores[partner] == scores.max()


def test_stored_blends_are_taken_as_they_are(places: dict[str, Bundles]) -> None:
    given = places["binding-cc"]
    stored = stream(given.data, columns=("parts",))
    everything = next(iter(stored))
    for batch, blend in batches_of(of("binding-cc"), given):
        rows = batch["row"]
        assert torch.equal(blend.images, everything["image"][rows])
        assert torch.equal(blend.masks, everything["mask"][rows])
        assert torch.equal(blend.phantom_masks, everything["phantom"][rows])
        assert torch.equal(blend.parts, everything["parts"][rows])
    for batch, blend in batches_of(of("binding-cc"), given, stage=1):
        assert torch.equal(blend.images, batch["image"]) and (blend.parts == PARTS).all()


def test_stages_differ_in_order_and_crops(places: dict[str, Bundles]) -> None:
    first = [
        batch["row"].tolist() for batch, _ in batches_of(of("binding-cm"), places["binding-cm"])
    ]
    second = [
        batch["row"].tolist() for batch, _ in batches_of(of("binding-cm"), places["binding-cm"], 1)
    ]
    assert first != second


def test_without_flip_and_scale_a_crop_is_cut_out_of_the_scene(places: dict[str, Bundles]) -> None:
    config = of("baseline", flip=False, scale=(1.0, 1.0))
    for batch, _ in batches_of(config, places["baseline"]):
        for image, mask, row in zip(batch["image"], batch["mask"], batch["row"], strict=True):
            scene = SHAPES.scene(int(row))
            found = image.movedim(0, -1).numpy()
            starts = range(scene.image.shape[1] - SIDE + 1)
            assert any((scene.image[:, at:][:, :SIDE] == found).all() for at in starts)
            assert any((scene.truth.mask[:, at:][:, :SIDE] == mask.numpy()).all() for at in starts)


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


def test_a_loss_that_is_not_finite_ends_the_run_with_its_batch(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused(of("binding-cm", lr=1e30), places["binding-cm"], run, "its batch of 6 begins with")
    failed = json.loads((run / "failed.json").read_text())
    assert failed["keys"] and np.isfinite([line["loss"] for line in steps(run)]).all()


def test_a_folder_belongs_to_one_run(places: dict[str, Bundles], tmp_path: Path) -> None:
    given, run = places["binding-cm"], tmp_path / "run"
    with pytest.raises(Stop):
        train_segmentation(of("binding-cm"), given, run, running=RUNNING, report=stopping_at(1))
    refused(of("binding-cm", gamma=5), given, run, r"config\.gamma is 5 here, 3 there")
    refused(of("baseline"), places["baseline"], run, "belongs to another run")
    other = scenes(tmp_path / "other", replace(SHAPES, seed=3))
    refused(of("binding-cm"), replace(given, data=str(other)), run, "bundle is")


def test_fields_of_other_variants_are_not_on_record(
    places: dict[str, Bundles], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train_segmentation(
            of("mixup"), places["mixup"], run, running=RUNNING, report=stopping_at(1)
        )
    assert train_segmentation(of("mixup", gamma=9), places["mixup"], run, running=RUNNING)
    assert "alpha" in json.loads((run / "run.json").read_text())["config"]


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


def test_a_trunk_begins_with_the_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = ResNet(Bottleneck, [1, 1, 1, 1]).state_dict()
    torch.save(theirs, tmp_path / "weights.pth")
    trunk = ResNetTrunk([1, 1, 1, 1])
    load_pretrained(trunk, str(tmp_path / "weights.pth"))
    ours = trunk.network.state_dict()
    assert ours.keys() == theirs.keys() - {"fc.weight", "fc.bias"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    with pytest.raises(RunError, match="does not hold the weights"):
        load_pretrained(ResNetTrunk([1, 2, 1, 1]), str(tmp_path / "weights.pth"))


def test_weights_that_are_not_there_are_told(places: dict[str, Bundles], tmp_path: Path) -> None:
    config = of("baseline", trunk="resnet50", weights=str(tmp_path / "nothing.pth"))
    refused(config, places["baseline"], tmp_path / "run", "the weights cannot be read")


def test_the_batch_is_shared_by_as_many_as_can_normalise_it(places: dict[str, Bundles]) -> None:
    for size in (4, 6):
        with pytest.raises(RunError, match="cannot be shared by"):
            prepared(QUICK, places["baseline"], Ranks(0, size, torch.device("cpu")), RUNNING)
