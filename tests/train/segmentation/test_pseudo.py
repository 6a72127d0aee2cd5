"""Pseudo labels: they choose partners, and no loss sees them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import quire
from quire.artifacts.bundle import open_bundle
from quire.artifacts.cooccurrence_table import read_cooccurrence
from quire.artifacts.errors import RunError
from quire.artifacts.masks import mask_file
from quire.builders.engine.run import build
from quire.builders.recipes.scenes import Scenes
from quire.builders.sources.shapes import Shapes
from quire.loaders.crops import crop_masks, random_crops
from quire.loaders.draws import Draws
from quire.train.engine.runs import read_run
from quire.train.segmentation.blending import classes_present, partners
from quire.train.segmentation.pseudo import KIND, MEMBER, PseudoLabels
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from tests.bundles import write_bundle
from tests.train.corrupted import with_manifest
from tests.train.segmentation.small import RUNNING, SHAPES, batches_of, cooccurrence, of, scenes

SALIENT = replace(SHAPES, salient=True)
ALL_OF_IT = {"scale": (1.0, 1.0), "flip": False, "crop": 48}  # crops that show a whole scene


def labels(
    folder: Path, masks: Mapping[str, NDArray[np.uint8]], names: tuple[str, ...] | None = None
) -> str:
    """A bundle of predictions."""
    write_bundle(
        folder,
        list(masks),
        {MEMBER: [mask_file(mask) for mask in masks.values()]},
        {"source_index": np.arange(len(masks))},
        samples_per_shard=7,
    )
    identity = open_bundle(folder).manifest.identity
    with_manifest(
        folder,
        recipe={**identity.recipe, "kind": KIND},
        source={**identity.source, "class_names": list(names or SHAPES.class_names)},
    )
    return str(folder)


def true_masks() -> dict[str, NDArray[np.uint8]]:
    return {key: SHAPES.mask(row) for row, key in enumerate(SHAPES.ids)}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """Salient shapes, their classes as pseudo labels, and how often the classes meet."""
    folder = tmp_path_factory.mktemp("salient")
    build(Scenes(split="train"), SALIENT, folder / "scenes")
    return Bundles(
        data=str(folder / "scenes"),
        cooccurrence=str(cooccurrence(folder / "cooccurrence")),
        pseudo=labels(folder / "pseudo", dict(reversed(true_masks().items()))),
    )


def test_partners_are_those_of_the_pseudo_labels(given: Bundles) -> None:
    assert given.pseudo and given.cooccurrence
    counts = torch.from_numpy(read_cooccurrence(open_bundle(given.cooccurrence)).images)
    config, differ = of("binding-cm", scale=(1.0, 1.5)), 0
    for batch, blend in batches_of(config, given):
        rows = batch["row"].tolist()
        # the same crop as the scene, of the mask of the same key
        masks = [torch.from_numpy(SHAPES.mask(row)) for row in rows]
        images = [torch.zeros(3, *mask.shape) for mask in masks]
        draws = Draws(config.seed, 0, batch["row"])
        crops = random_crops(images, draws=draws, size=config.crop, scale=config.scale)
        wanted = crop_masks(masks, crops)
        assert torch.equal(batch["pseudo"], wanted)
        present = classes_present(wanted, 21, least=0.01)
        expected, _ = partners(present, counts)
        assert torch.equal(blend.partner, expected)
        own, _ = partners(classes_present(batch["mask"], 21), counts)
        differ += int((own != expected).sum())
        assert set(blend.masks.unique().tolist()) <= {0, 1, 255}
        assert torch.equal(blend.masks, batch["mask"])
        assert torch.equal(blend.phantom_masks, batch["mask"][blend.partner])
    assert differ > 5  # by the two classes of the scenes nobody has a partner


def losses(run: Path) -> str:
    return (run / "metrics.jsonl").read_text().split('"seconds"')[0]


def test_no_loss_sees_them(given: Bundles, tmp_path: Path) -> None:
    """Other pixels, and void ones, of the same classes: the same losses to the last bit."""
    changed = {}
    for key, mask in true_masks().items():
        other = np.full_like(mask, 255)
        ids = [class_id for class_id in np.unique(mask) if class_id not in (0, 255)]
        for place, class_id in enumerate(ids):
            other[2 * place : 2 * place + 2] = class_id
        changed[key] = other
    config = of("binding-cm", least=0.0, **ALL_OF_IT)
    for name, one in (
        ("plain", given),
        ("changed", replace(given, pseudo=labels(tmp_path / "pseudo", changed))),
    ):
        train_segmentation(config, one, tmp_path / name, running=RUNNING)
    assert losses(tmp_path / "plain") == losses(tmp_path / "changed")
    run, again = (read_run(tmp_path / name) for name in ("plain", "changed"))
    assert run.inputs["pseudo"] != again.inputs["pseudo"] and run.classes == SALIENT.class_names
    assert run.places["pseudo"] == given.pseudo


@pytest.mark.parametrize("least", [0.0, 0.01, 0.3, 1.0])
def test_what_is_seen_in_few_pixels_is_not_there(least: float) -> None:
    rng = np.random.default_rng(0)
    masks = rng.choice([0, 1, 2, 3, 20, 255], (6, 10, 10), p=[0.4, 0.02, 0.1, 0.35, 0.03, 0.1])
    masks[5] = 3
    found = classes_present(torch.from_numpy(masks.astype(np.uint8)), 21, least=least)
    for mask, present in zip(masks, found, strict=True):
        wanted = {
            c for c in range(1, 21) if (mask == c).any() and (mask == c).sum() >= least * mask.size
        }
        assert set(present.nonzero()[:, 0].tolist()) == wanted


def test_what_does_not_fit_is_refused(given: Bundles, tmp_path: Path) -> None:
    masks = true_masks()
    first = next(iter(masks))
    few = dict(list(masks.items())[1:])
    odd = masks | {first: np.zeros((9, 9), np.uint8)}
    beyond = masks | {first: np.full_like(masks[first], 21)}
    cases: list[tuple[Any, str | None, str]] = [
        (of("binding-cm"), labels(tmp_path / "few", few), f"has no mask of {first}"),
        (of("binding-cm"), labels(tmp_path / "odd", odd), f"the mask of {first} .* another size"),
        (of("binding-cm"), labels(tmp_path / "beyond", beyond), f"{first} .* no class"),
        (of("binding-cm"), given.data, "no predicted masks: `quire predict` writes them"),
        (
            of("binding-cm"),
            labels(tmp_path / "names", masks, names=SALIENT.class_names),
            "has an id|other classes than the masks",
        ),
        (of("baseline"), given.pseudo, "pseudo is named, but baseline has no use for it"),
    ]
    for number, (config, pseudo, message) in enumerate(cases):
        one = replace(given, pseudo=pseudo)
        if config.variant == "baseline":
            one = replace(one, cooccurrence=None)
        with pytest.raises(RunError, match=message):
            train_segmentation(config, one, tmp_path / f"run{number}", running=RUNNING)
    with pytest.raises(RunError, match="other classes than the masks"):
        train_segmentation(
            of("binding-cm"), replace(given, pseudo=None), tmp_path / "run", running=RUNNING
        )
    mixed = replace(given, mixed=[(given.data, 1.0), (given.data, 1.0)])
    with pytest.raises(RunError, match="pseudo labels are of one bundle"):
        train_segmentation(of("binding-cm"), mixed, tmp_path / "run", running=RUNNING)


def test_as_it_is_typed(given: Bundles, tmp_path: Path) -> None:
    """From a network of shapes to one of what is salient."""
    data = str(scenes(tmp_path / "shapes"))
    common = "--trunk small --crop 40 --batch-size 6 --epochs 1 --denoising-epochs 0".split()
    first = ["train", "segment", "--variant", "baseline", "--data", data, *common]
    assert quire.main([*first, "--out", f"{tmp_path}/classes"]) == 0
    words = ["predict", f"{tmp_path}/classes", "--data", given.data, "--out", f"{tmp_path}/pseudo"]
    assert quire.main(words) == 0
    second = ["train", "segment", "--variant", "binding-cm", "--data", given.data, *common]
    second += ["--cooccurrence", str(given.cooccurrence), "--pseudo", f"{tmp_path}/pseudo"]
    assert quire.main([*second, "--least", "0", "--out", f"{tmp_path}/salient"]) == 0
    run = read_run(tmp_path / "salient")
    assert run.config["least"] == 0 and run.classes == ("background", "salient")
    assert PseudoLabels(f"{tmp_path}/pseudo").digest == run.inputs["pseudo"]


def test_drawn_shapes_can_be_salient_objects() -> None:
    assert isinstance(SALIENT, Shapes) and SALIENT.class_names == ("background", "salient")
    for row in range(len(SHAPES)):
        plain, salient = SHAPES.scene(row), SALIENT.scene(row)
        assert np.array_equal(plain.image, salient.image)
        assert np.array_equal(plain.truth.mask > 0, salient.truth.mask == 1)
        assert set(np.unique(salient.truth.mask)) <= {0, 1} and salient.truth.objects is None
    assert SALIENT.fingerprint() != SHAPES.fingerprint()
    assert not SALIENT.has_instances and not SALIENT.has_objects
