"""Blends: Algorithm 1 as loops, exact bytes, and draws that are a sample's own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from quire.artifacts.blend import PARTS
from quire.artifacts.blend import blended as blended_bytes
from quire.loaders.draws import Draws
from quire.train.segmentation.blending import (
    Blended,
    beta_parts,
    blend_by_cooccurrence,
    blended,
    classes_present,
    cutmix,
    dominant_parts,
    mixup,
    ring,
)

C, VOID = 7, 255


def draws_of(count: int, seed: int = 0) -> Draws:
    return Draws(seed, 1, torch.arange(count) * 3 + 5)


def masks_of(lists: list[set[int]]) -> Tensor:
    """A mask for each list of classes, with background and void beside them."""
    masks = torch.zeros(len(lists), 6, 6, dtype=torch.uint8)
    masks[:, 0] = VOID
    for mask, classes in zip(masks, lists, strict=True):
        for place, number in enumerate(sorted(classes)):
            mask[1 + place % 5, place] = number
    return masks


def images_of(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, 6, 6), generator=generator, dtype=torch.uint8)


def counts_of(seed: int) -> Tensor:
    """Counts of which many are equal, and many 0."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(3, (C, C), generator=generator)
    return (counts + counts.T).fill_diagonal_(0)


def algorithm_1(
    masks: Tensor, counts: Tensor, drawn: list[int], gamma: int | None, max_total: int | None
) -> tuple[list[int], list[int]]:
    """Loops over the batch, its pairs and their classes. -> partners, parts."""
    partners, parts = [], []
    unique = [sorted(set(mask.flatten().tolist()) - {0, VOID}) for mask in masks]
    for k in range(len(masks)):
        similarity, mixed = [0] * len(masks), [0] * len(masks)
        for m in range(len(masks)):
            few = max_total is None or len(unique[k]) + len(unique[m]) <= max_total
            if m != k and len(unique[k]) >= 1 and len(unique[m]) >= 1 and few:
                similarity[m] = sum(int(counts[i, j]) for i in unique[m] for j in unique[k])
                mixed[m] = len(unique[m]) + len(unique[k])
        top = similarity.index(max(similarity))
        delta = drawn[k]
        if gamma is not None and mixed[top] > gamma:
            delta = 922  # of 1024: 0.9
        if max(similarity) == 0:
            top, delta = k, PARTS
        partners.append(top)
        parts.append(delta)
    return partners, parts


class_lists = st.lists(st.sets(st.integers(1, C - 1), max_size=4), min_size=1, max_size=7)


@settings(max_examples=100)
@given(
    class_lists,
    st.integers(0, 10**6),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([None, 2, 3, 4]),
)
def test_blends_are_those_of_algorithm_1(
    lists: list[set[int]], seed: int, gamma: int | None, max_total: int | None
) -> None:
    masks, images, counts = masks_of(lists), images_of(len(lists)), counts_of(seed)
    if seed % 2:
        counts = counts.triu()  # nothing hangs on its being symmetric
    draws = draws_of(len(lists), seed)
    found = blend_by_cooccurrence(
        images, masks, counts, draws=draws, alpha=0.7, gamma=gamma, max_total=max_total
    )
    drawn = dominant_parts(draws, alpha=0.7).tolist()
    partners, parts = algorithm_1(masks, counts, drawn, gamma, max_total)
    assert found.partner.tolist() == partners
    assert found.parts.tolist() == parts
    assert torch.equal(found.masks, masks)
    for k, (partner, own) in enumerate(zip(partners, parts, strict=True)):
        expected = blended_bytes(images[k].numpy(), images[partner].numpy(), own)
        assert np.array_equal(found.images[k], expected)
        assert torch.equal(found.phantom_masks[k], masks[partner])


def test_a_delta_does_not_leak_into_the_samples_after_it() -> None:
    lists: list[set[int]] = [{1, 2, 3}, {4, 5}, {6}, {1}]
    counts = torch.zeros(C, C, dtype=torch.int64)
    counts[1, 4] = counts[4, 1] = 9  # 0 and 1 have five classes together
    counts[1, 6] = counts[6, 1] = 5  # 2 goes with 0 and 3: the first
    draws = draws_of(4)
    drawn = dominant_parts(draws, alpha=1.0)
    assert 922 not in drawn
    found = blend_by_cooccurrence(images_of(4), masks_of(lists), counts, draws=draws, gamma=4)
    assert found.partner.tolist() == [1, 0, 0, 1]
    assert found.parts.tolist() == [922, 922, *drawn[2:].tolist()]


def test_who_scores_with_nobody_stays_as_it_is() -> None:
    counts = torch.zeros(C, C)
    counts[1, 2] = counts[2, 1] = 4
    masks, images = masks_of([{3}, {1}, set(), {2}]), images_of(4)
    found = blend_by_cooccurrence(images, masks, counts, draws=draws_of(4))
    assert found.partner.tolist() == [0, 3, 2, 1]
    assert found.delta[[0, 2]].tolist() == [1, 1]
    assert torch.equal(found.images[[0, 2]], images[[0, 2]])
    assert torch.equal(found.phantom_masks[[0, 2]], masks[[0, 2]])


@pytest.mark.parametrize("name", ["cooccurrence", "mixup", "cutmix"])
def test_a_batch_of_one_stays_as_it_is(name: str) -> None:
    masks, images = masks_of([{1}, {1}]), images_of(2)
    alone = MIXES[name](images[:1], masks[:1], draws_of(1))
    assert torch.equal(alone.images, images[:1]) and torch.equal(alone.masks, masks[:1])
    assert alone.delta.tolist() == [1] and alone.partner.tolist() == [0]
    assert not torch.equal(MIXES[name](images, masks, draws_of(2)).images, images)


def test_sharing_a_class_is_worth_what_the_diagonal_says() -> None:
    masks = masks_of([{1}, {2}, {1}])
    counts = torch.zeros(C, C)
    counts[1, 2] = counts[2, 1] = 4
    assert _partners(masks, counts) == [1, 0, 1]
    counts[1, 1] = 5
    assert _partners(masks, counts) == [2, 0, 0]


def _partners(masks: Tensor, counts: Tensor) -> list[int]:
    found = blend_by_cooccurrence(images_of(3), masks, counts, draws=draws_of(3))
    return found.partner.tolist()


def test_large_counts_are_told_apart() -> None:
    counts = torch.zeros(C, C, dtype=torch.int64)
    counts[1, 2], counts[1, 3] = 2**40, 2**40 + 1
    assert _partners(masks_of([{2}, {3}, {1}]), counts + counts.T)[2] == 1


def test_background_and_void_are_no_classes() -> None:
    found = classes_present(masks_of([{1, 6}, set(), {3}]), C)
    assert [row.nonzero()[:, 0].tolist() for row in found] == [[1, 6], [], [3]]


MIXES: dict[str, Callable[[Tensor, Tensor, Draws], Blended]] = {
    "cooccurrence": lambda images, masks, draws: blend_by_cooccurrence(
        images, masks, torch.ones(C, C), draws=draws
    ),
    "mixup": lambda images, masks, draws: mixup(images, masks, draws=draws),
    "cutmix": lambda images, masks, draws: cutmix(images, masks, draws=draws),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXES)
@given(lists=class_lists, seed=st.integers(0, 10**6))
def test_ids_are_never_blended(name: str, lists: list[set[int]], seed: int) -> None:
    masks, images = masks_of(lists), images_of(len(lists), seed)
    before = masks.clone(), images.clone()
    found = MIXES[name](images, masks, draws_of(len(lists), seed))
    for number, partner in enumerate(found.partner.tolist()):
        own, other = set(masks[number].unique().tolist()), set(masks[partner].unique().tolist())
        assert set(found.masks[number].unique().tolist()) <= own | other
        if name != "cutmix":
            assert set(found.phantom_masks[number].unique().tolist()) == other
    assert found.images.dtype == torch.uint8 and found.masks.dtype == torch.uint8
    assert torch.equal(masks, before[0]) and torch.equal(images, before[1])


@pytest.mark.parametrize("name", MIXES)
def test_floats_are_blended_like_bytes(name: str) -> None:
    masks, images = masks_of([{1, 2}, {3}, {2}, {1}]), images_of(4)
    draws = draws_of(4)
    coarse = MIXES[name](images, masks, draws).images
    fine = MIXES[name](images.double(), masks, draws).images
    assert fine.dtype == torch.float64
    assert (fine - coarse.double()).abs().max() <= 0.5


def test_a_blend_of_bytes_is_the_same_here_as_when_a_bundle_is_built() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    one, other = (grid.contiguous() for grid in torch.meshgrid(levels, levels, indexing="ij"))
    parts = torch.tensor([*range(0, PARTS, 37), 1, 511, 512, 513, 922, PARTS - 1, PARTS])
    for some in parts.split(16):
        size = (len(some), 256, 256)
        found = blended(one.expand(size), other.expand(size), some)
        for number, own in zip(some.tolist(), found, strict=True):
            assert np.array_equal(own, blended_bytes(one.numpy(), other.numpy(), number))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_parts_have_a_beta_distribution(alpha: float) -> None:
    parts = beta_parts(draws_of(20_000), "test", alpha=alpha)
    assert parts.min() >= 0 and parts.max() <= PARTS and parts.dtype == torch.int64
    found = torch.bincount(parts, minlength=PARTS + 1).cumsum(0).numpy()[:-1] / 20_000
    expected = stats.beta(alpha, alpha).cdf((np.arange(PARTS) + 0.5) / PARTS)
    assert np.abs(found - expected).max() < 1.95 / np.sqrt(20_000)  # Kolmogorov, 1 in 1000


def test_each_part_has_its_share_exactly() -> None:
    # uniform numbers at alpha 1: a part is what is nearest to 1024 u, halves up
    draws = draws_of(5_000)
    uniforms = draws.uniforms("test", 1)[:, 0].double()
    assert torch.equal(
        beta_parts(draws, "test", alpha=1.0), (uniforms * PARTS + 0.5).floor().long()
    )


def test_the_sample_itself_dominates() -> None:
    parts = dominant_parts(draws_of(5_000), alpha=1.0)
    assert parts.min() >= PARTS // 2 and parts.max() > PARTS * 0.99
    assert abs(parts.double().mean() / PARTS - 0.75) < 0.01


def test_a_sample_is_weighed_the_same_in_any_batch() -> None:
    rows = torch.tensor([9, 4, 7])
    whole = dominant_parts(Draws(0, 2, rows), alpha=0.5)
    assert torch.equal(whole[[2, 0]], dominant_parts(Draws(0, 2, rows[[2, 0]]), alpha=0.5))
    assert not torch.equal(whole, dominant_parts(Draws(0, 3, rows), alpha=0.5))


@given(st.integers(2, 9), st.integers(0, 10**6))
def test_partners_at_random_form_one_ring(count: int, seed: int) -> None:
    partner = ring(draws_of(count, seed)).tolist()
    place, seen = 0, []
    while place not in seen:
        seen.append(place)
        place = partner[place]
    assert place == 0 and sorted(seen) == list(range(count))


def test_every_ring_is_as_likely() -> None:
    rings = torch.stack([ring(draws_of(4, seed)) for seed in range(1200)])
    _, counts = rings.unique(dim=0, return_counts=True)
    assert len(counts) == 6 and stats.chisquare(counts.numpy()).pvalue > 0.001


def test_a_box_takes_image_and_mask_together() -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 40, 30) * 40
    masks = torch.arange(6, dtype=torch.uint8).view(6, 1, 1).expand(6, 40, 30)
    found = cutmix(images, masks, draws=draws_of(6, 3))
    assert torch.equal(found.images[:, 0], found.masks * 40)
    assert (found.delta == 1).all() and torch.equal(found.phantom_masks, found.masks)
    for number, partner in enumerate(found.partner.tolist()):
        pasted = found.masks[number] == partner
        rows, columns = pasted.any(1), pasted.any(0)
        assert torch.equal(pasted, rows[:, None] & columns)
        assert (rows.int().diff().abs().sum() <= 2) and (columns.int().diff().abs().sum() <= 2)
        assert (found.masks[number][~pasted] == number).all()


def test_boxes_have_the_share_that_was_drawn_less_what_lies_outside() -> None:
    count = 3_000
    masks = (torch.arange(count) % 2).to(torch.uint8).view(-1, 1, 1).expand(count, 32, 64)
    draws = draws_of(count)
    found = cutmix(masks[:, None].expand(count, 3, 32, 64), masks, draws=draws)
    drawn = 1 - beta_parts(draws, "cutmix", alpha=1.0).double() / PARTS
    differ = masks != masks[found.partner]
    share = (found.masks != masks).flatten(1).double().mean(1)
    some = differ[:, 0, 0]
    assert (share <= drawn + 1e-9).all()
    inside = some & (share > 0) & (share > 0.8 * drawn)
    assert inside.double().mean() > 0.05
    # of a box of side s, a half lies beside a border at most: E[share] = E[s^2 (1 - s/4)^2]
    side = drawn.sqrt()
    expected = (side * (1 - side / 4)).square()[some].mean()
    assert abs(share[some].mean() - expected) < 0.02


def test_a_box_is_as_likely_anywhere() -> None:
    count = 3_000
    masks = (torch.arange(count) % 2).to(torch.uint8).view(-1, 1, 1).expand(count, 32, 32)
    found = cutmix(masks[:, None].expand(count, 3, 32, 32), masks, draws=draws_of(count))
    pasted = found.masks != masks
    pasted = pasted[pasted.flatten(1).any(1)].double()
    places = torch.arange(32).double()
    rows = (pasted.mean(2) @ places) / pasted.mean(2).sum(1)  # the middle of each
    columns = (pasted.mean(1) @ places) / pasted.mean(1).sum(1)
    assert abs(rows.mean() - 15.5) < 1 and abs(columns.mean() - 15.5) < 1
    assert torch.corrcoef(torch.stack([rows, columns]))[0, 1].abs() < 0.15


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan")])
def test_alpha_is_positive(alpha: float) -> None:
    images, masks = images_of(2), masks_of([{1}, {2}])
    with pytest.raises(ValueError, match="alpha is"):
        blend_by_cooccurrence(images, masks, counts_of(0), draws=draws_of(2), alpha=alpha)
    for mix in (mixup, cutmix):
        with pytest.raises(ValueError, match="alpha is"):
            mix(images, masks, draws=draws_of(2), alpha=alpha)
