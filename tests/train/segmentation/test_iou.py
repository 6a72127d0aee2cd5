"""Intersection over union, against sets of pixels."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quire.train.segmentation.iou import confusion, iou, mean_iou

C, VOID = 5, 255


def scenes(seed: int, images: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    size = (images, 3, 4)
    predicted = torch.randint(C - 1, size, generator=generator)  # the last is never said
    masks = torch.randint(C + 1, size, generator=generator)
    return predicted, torch.where(masks == C, VOID, masks).to(torch.uint8)


def slow_mean(predicted: Tensor, masks: Tensor) -> float:
    """Of sets of pixels, class by class."""
    told, true = predicted.flatten().tolist(), masks.flatten().tolist()
    shares = []
    for number in range(C):
        said = {i for i, one in enumerate(told) if one == number and true[i] != VOID}
        are = {i for i, one in enumerate(true) if one == number}
        if said | are:
            shares.append(len(said & are) / len(said | are))
    return sum(shares) / len(shares) if shares else math.nan


@given(st.integers(0, 10**6), st.sets(st.integers(0, 3), min_size=1))
def test_counts_measure_every_subset(seed: int, chosen: set[int]) -> None:
    predicted, masks = scenes(seed)
    counts = confusion(predicted, masks, classes=C)
    assert counts.shape == (4, C, C) and counts.dtype == torch.int64
    part = sorted(chosen)
    found = mean_iou(counts[part].sum(0))
    torch.testing.assert_close(found, slow_mean(predicted[part], masks[part]))


@given(st.integers(0, 10**6))
def test_counts_are_of_true_and_predicted_and_add_up(seed: int) -> None:
    predicted, masks = scenes(seed)
    counts = confusion(predicted, masks, classes=C)
    for image in range(4):
        for true in range(C):
            for said in range(C):
                both = (masks[image] == true) & (predicted[image] == said)
                assert counts[image, true, said] == both.sum()
    parts = [confusion(predicted[i : i + 1], masks[i : i + 1], classes=C) for i in range(4)]
    assert torch.equal(torch.cat(parts), counts)


def test_a_class_only_predicted_counts_0_and_one_in_neither_is_left_out() -> None:
    masks = torch.tensor([[[0, 0], [1, VOID]]], dtype=torch.uint8)
    predicted = torch.tensor([[[0, 2], [1, 3]]])  # 2 never occurs; 3 is said of a void pixel alone
    found = iou(confusion(predicted, masks, classes=C)[0])
    assert found[:3].tolist() == [0.5, 1.0, 0.0]
    assert found[3:].isnan().all()
    assert mean_iou(confusion(predicted, masks, classes=C)[0]) == 0.5


def test_nothing_but_void_has_no_mean() -> None:
    masks = torch.full((1, 2, 2), VOID, dtype=torch.uint8)
    counts = confusion(torch.zeros(1, 2, 2, dtype=torch.int64), masks, classes=C)
    assert counts.sum() == 0
    assert math.isnan(mean_iou(counts[0]))


def test_ids_beyond_the_classes_do_not_count_whatever_their_number() -> None:
    masks = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    counts = confusion(torch.zeros(1, 16, 16, dtype=torch.int64), masks, classes=C)
    assert counts[0, :, 0].tolist() == [1] * C and counts.sum() == C
