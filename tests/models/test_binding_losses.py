"""The losses, against loops over pixels, and at their edges."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quire.models.binding_losses import (
    VOID,
    denoising_loss,
    mixed_loss,
    phantom_activation,
    segmentation_loss,
    separation_loss,
)
from quire.models.feature_binding import Scores

B, C = 3, 5


def scores_of(seed: int, size: tuple[int, int] = (4, 3)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, C, *size, generator=generator, dtype=torch.float64)


def masks_of(seed: int, size: tuple[int, int] = (7, 9)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(C + 1, (B, *size), generator=generator)
    return torch.where(masks == C, VOID, masks).to(torch.uint8)


def by_pixel(scores: Tensor, masks: Tensor, weights: list[float]) -> float:
    """A loop over the pixels of scores that are upsampled by hand."""
    rows, columns = masks.shape[1:]
    total, pixels = 0.0, 0
    for b in range(len(masks)):
        for i in range(rows):
            for j in range(columns):
                if masks[b, i, j] == VOID:
                    continue
                values = [at(scores[b, c], i, j, rows, columns) for c in range(scores.shape[1])]
                chance = math.exp(values[int(masks[b, i, j])]) / sum(map(math.exp, values))
                total, pixels = total - weights[b] * math.log(chance), pixels + 1
    return total / pixels


def at(grid: Tensor, i: int, j: int, rows: int, columns: int) -> float:
    height, width = grid.shape
    y = max(0.0, (i + 0.5) * height / rows - 0.5)
    x = max(0.0, (j + 0.5) * width / columns - 0.5)
    top, left = int(y), int(x)
    below, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = grid[top, left] * (1 - x + left) + grid[top, right] * (x - left)
    lower = grid[below, left] * (1 - x + left) + grid[below, right] * (x - left)
    return float(upper * (1 - y + top) + lower * (y - top))


def test_stage_1_is_equation_5_pixel_by_pixel() -> None:
    scores = Scores(scores_of(0), scores_of(1), scores_of(2))
    masks, phantoms = masks_of(0), masks_of(1)
    delta = [0.7, 1.0, 0.55]
    found = separation_loss(scores, masks, phantoms, torch.tensor(delta, dtype=torch.float64))
    assert found.bound is not None and scores.bound is not None
    assert found.bound.item() == pytest.approx(by_pixel(scores.bound, masks, [1, 1, 1]))
    assert found.target.item() == pytest.approx(by_pixel(scores.target, masks, delta))
    rest = [1 - one for one in delta]
    assert found.phantom.item() == pytest.approx(by_pixel(scores.phantom, phantoms, rest))
    assert found.total.item() == pytest.approx(
        found.bound.item() + found.target.item() + found.phantom.item()
    )


def test_stage_1_without_a_binding_head_is_equation_5_without_its_first_term() -> None:
    masks, phantoms, delta = masks_of(0), masks_of(1), torch.tensor([0.7, 1.0, 0.55])
    whole = separation_loss(
        Scores(scores_of(0), scores_of(1), scores_of(2)), masks, phantoms, delta
    )
    alone = separation_loss(Scores(scores_of(0), scores_of(1), None), masks, phantoms, delta)
    assert alone.bound is None and whole.bound is not None
    torch.testing.assert_close(alone.total, whole.total - whole.bound)


def test_equal_weights_are_a_factor_of_the_usual_loss() -> None:
    scores, masks = scores_of(0), masks_of(0)
    usual = F.cross_entropy(
        F.interpolate(scores, masks.shape[1:], mode="bilinear"), masks.long(), ignore_index=VOID
    )
    torch.testing.assert_close(segmentation_loss(scores, masks), usual)
    quarter = torch.full((B,), 0.25, dtype=torch.float64)
    torch.testing.assert_close(segmentation_loss(scores, masks, quarter), usual / 4)


@given(st.integers(0, 9), st.integers(0, B - 1))
def test_an_image_without_partner_is_not_held_against_its_phantom(seed: int, alone: int) -> None:
    masks, phantoms, other = masks_of(seed), masks_of(seed + 1), masks_of(seed + 1)
    delta = torch.full((B,), 0.6, dtype=torch.float64)
    delta[alone] = 1
    valid = phantoms[alone] != VOID
    other[alone] = torch.where(valid, (phantoms[alone] + 1) % C, VOID)
    scores = Scores(scores_of(0), scores_of(1).requires_grad_(), scores_of(2))
    found = separation_loss(scores, masks, phantoms, delta).phantom
    assert torch.equal(found, separation_loss(scores, masks, other, delta).phantom)
    (gradient,) = torch.autograd.grad(found, scores.phantom)
    assert not gradient[alone].any()
    assert all(gradient[b].any() for b in range(B) if b != alone)


def test_masks_without_a_class_give_zero_and_no_gradient() -> None:
    scores = scores_of(0).requires_grad_()
    masks = torch.full((B, 7, 9), VOID, dtype=torch.uint8)
    delta = torch.full((B,), 0.6, dtype=torch.float64)
    found = separation_loss(Scores(scores, scores, scores), masks, masks, delta)
    assert found.total.item() == 0
    (gradient,) = torch.autograd.grad(found.total, scores)
    assert not gradient.any()


def test_void_pixels_do_not_count() -> None:
    scores, masks = scores_of(0, (7, 9)).requires_grad_(), masks_of(0)
    (gradient,) = torch.autograd.grad(segmentation_loss(scores, masks), scores)
    assert torch.equal(gradient.any(dim=1), masks != VOID)


def test_a_silent_phantom_costs_exactly_nothing() -> None:
    for scores in (torch.zeros(B, C, 4, 3), -torch.rand(B, C, 4, 3)):
        scores.requires_grad_()
        found = phantom_activation(scores)
        assert found.item() == 0
        (gradient,) = torch.autograd.grad(found, scores)
        assert not gradient.any()  # nor is it NaN


def test_stage_2_is_a_loop_over_images() -> None:
    scores = Scores(scores_of(0), scores_of(1), scores_of(2))
    masks = masks_of(0)
    found = denoising_loss(scores, masks)
    sums = [sum(max(0.0, x) for x in image.flatten().tolist()) for image in scores.phantom]
    assert found.penalty.item() == pytest.approx(sum(math.log(1 + one) for one in sums) / B)
    assert found.target.item() == pytest.approx(by_pixel(scores.target, masks, [1, 1, 1]))
    assert found.total.item() == pytest.approx(found.target.item() + found.penalty.item())


def test_the_penalty_falls_on_what_is_active_alone() -> None:
    scores = scores_of(1).requires_grad_()
    (gradient,) = torch.autograd.grad(phantom_activation(scores), scores)
    assert torch.equal(gradient > 0, scores > 0)


def test_half_precision_is_summed_in_float32() -> None:
    many = torch.full((1, 21, 33, 33), 1.0, dtype=torch.bfloat16)
    assert phantom_activation(many).item() == pytest.approx(math.log(1 + 21 * 33 * 33))
    scores, masks = scores_of(0).bfloat16(), masks_of(0)
    assert segmentation_loss(scores, masks).dtype == torch.float32


def test_mixup_weighs_both_sources() -> None:
    scores, masks, others = scores_of(0), masks_of(0), masks_of(1)
    delta = [0.3, 1.0, 0.0]
    found = mixed_loss(scores, masks, others, torch.tensor(delta, dtype=torch.float64))
    expected = by_pixel(scores, masks, delta) + by_pixel(scores, others, [1 - d for d in delta])
    assert found.item() == pytest.approx(expected)
