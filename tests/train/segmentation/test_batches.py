"""What a step is given: crops and masks as they were, and blends by the book."""

import numpy as np
import pytest
import torch

from quire.artifacts.blend import PARTS
from quire.artifacts.bundle import open_bundle
from quire.artifacts.cooccurrence_table import read_cooccurrence
from quire.loaders.draws import Draws
from quire.loaders.stream import stream
from quire.train.segmentation.blending import beta_parts, classes_present
from quire.train.segmentation.stages import Bundles
from tests.train.segmentation.small import (
    SHAPES,
    SIDE,
    VARIANTS,
    batches_of,
    bundles,
    of,
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundles]:
    return bundles(tmp_path_factory.mktemp("bundles"))


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


def test_mixup_by_cooccurrence_has_the_blends_of_binding(places: dict[str, Bundles]) -> None:
    given = places["binding-cm"]
    both = (batches_of(of(name), given) for name in ("mixup-cm", "binding-cm"))
    for (_, one), (_, other) in zip(*both, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.parts, other.parts)
        assert torch.equal(one.phantom_masks, other.phantom_masks)


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
