"""Drawn scenes that are learned in seconds, what is counted of them, and blends of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from quire.artifacts.blend import PARTS, blended
from quire.artifacts.bundle import open_bundle
from quire.artifacts.masks import mask_file
from quire.artifacts.members import raw_images
from quire.builders.engine.run import build
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.subsets import Subsets
from quire.builders.sources.shapes import Shapes
from quire.loaders.draws import Draws
from quire.train.engine.options import Running
from quire.train.engine.ranks import Ranks
from quire.train.segmentation.run import Segment
from quire.train.segmentation.scenes import Batch
from quire.train.segmentation.stages import Bundles, prepared
from tests.bundles import write_bundle
from tests.train.corrupted import with_manifest

SIDE = 40
SHAPES = Shapes("train", 20, (48, 40))
QUICK = Segment(
    trunk="small",
    variant="baseline",
    crop=SIDE,
    batch_size=6,
    epochs=2,
    lr=0.02,
    denoising_epochs=1,
    denoising_lr=0.005,
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
)
VARIANTS = ("baseline", "mixup", "mixup-cm", "cutmix", "binding-cm", "binding-cc")
ALONE = Ranks(0, 1, torch.device("cpu"))
RUNNING = Running(tensorboard=False, log_every=1, checkpoint_seconds=0.0)


def scenes(folder: Path, shapes: Shapes = SHAPES) -> Path:
    """A bundle of drawn scenes."""
    build(Scenes(split=shapes.split), shapes, folder)
    return folder


def cooccurrence(folder: Path) -> Path:
    """How often the classes of those scenes meet."""
    build(Cooccurrence(split="train"), SHAPES, folder)
    return folder


def subsets(folder: Path, shapes: Shapes) -> Path:
    """Subsets of those scenes."""
    recipe = Subsets(
        split=shapes.split, companion="blue_disc", partners=("red_ring",), thresholds=()
    )
    build(recipe, shapes, folder)
    return folder


def blends(folder: Path, *, side: int = SIDE, top: int | None = None) -> Path:
    """Scenes blended with the next one; some with themselves, which is not at all."""
    shapes = replace(SHAPES, size=(side, side))
    drawn = [shapes.scene(index) for index in range(len(shapes))]
    partners = [drawn[-1], *drawn[:-1]]
    parts = np.random.default_rng(0).integers(717, PARTS + 1, len(drawn))
    images = [
        blended(one.image, other.image, int(part))
        for one, other, part in zip(drawn, partners, parts, strict=True)
    ]
    write_bundle(
        folder,
        shapes.ids,
        {
            "ppm": raw_images(np.stack(images)),
            "mask.png": [mask_file(one.truth.mask) for one in drawn],
            "phantom.png": [mask_file(one.truth.mask) for one in partners],
        },
        {"parts": parts if top is None else np.full(len(drawn), top)},
        samples_per_shard=len(drawn),
    )
    source = open_bundle(folder).manifest.identity.source
    with_manifest(folder, source={**source, "class_names": list(shapes.class_names)})
    return folder


def bundles(folder: Path) -> dict[str, Bundles]:
    """What each variant is trained on."""
    plain = Bundles(data=str(scenes(folder / "scenes")))
    counted = replace(plain, cooccurrence=str(cooccurrence(folder / "cooccurrence")))
    return {
        "baseline": plain,
        "mixup": plain,
        "cutmix": plain,
        "mixup-cm": counted,
        "binding-cm": counted,
        "binding-cc": Bundles(data=str(blends(folder / "blends")), clean=plain.data),
    }


def of(variant: Any, **fields: Any) -> Segment:
    """The quick run of a variant, with other fields."""
    return replace(QUICK, variant=variant, **fields)


def batches_of(config: Segment, given: Bundles, stage: int = 0) -> Iterator[tuple[Batch, Any]]:
    """The batches of an epoch, and what they are blended to."""
    found = prepared(config, given, ALONE, RUNNING)[1][stage]
    for batch in found.batches:
        yield batch, found.blend(batch, Draws(found.seed, 0, batch["row"]))
