"""The feature binding network: two answers from one map, and a third from both."""

import torch
from torch import nn

from quire.models.deeplab import deeplab, num_parameters
from quire.models.feature_binding import FeatureBindingHead, feature_binding


def test_sizes() -> None:
    assert num_parameters(FeatureBindingHead(21)) == 1_365
    with torch.device("meta"):
        model, plain = feature_binding("resnet50", classes=21), deeplab("resnet50", classes=21)
    heads = num_parameters(plain.head)
    assert num_parameters(model) == num_parameters(plain) + heads + 1_365


def test_scores_are_the_equations() -> None:
    model = feature_binding("small", classes=4).eval()
    images = torch.rand(2, 3, 40, 33)
    scores = model(images)
    assert scores.target.shape == scores.phantom.shape == scores.bound.shape == (2, 4, 5, 5)
    features = model.encoder((images - model.mean) / model.std)
    assert torch.equal(scores.target, model.target(features))
    assert torch.equal(scores.phantom, model.phantom(features))
    assert model.binding is not None
    first, _, last = model.binding
    assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
    assert first.bias is not None and last.bias is not None
    both = torch.cat([scores.target, scores.phantom], 1)[0, :, 2, 3]
    hidden = (first.weight[:, :, 0, 0] @ both + first.bias).relu()
    expected = last.weight[:, :, 0, 0] @ hidden + last.bias
    torch.testing.assert_close(scores.bound[0, :, 2, 3], expected)


def test_the_binding_head_hears_both_sources_and_trains_both() -> None:
    model = feature_binding("small", classes=4)
    model(torch.rand(3, 3, 32, 32)).bound.square().sum().backward()
    for head in (model.target, model.phantom):
        *_, last = head.parameters()
        assert last.grad is not None and last.grad.abs().sum() > 0


def test_without_the_binding_head_two_sources_are_told_apart_and_no_more() -> None:
    torch.manual_seed(0)
    model = feature_binding("small", classes=21, binds=False).eval()
    torch.manual_seed(0)
    whole = feature_binding("small", classes=21).eval()
    assert num_parameters(whole) == num_parameters(model) + 1_365
    images = torch.rand(2, 3, 40, 33)
    scores, others = model(images), whole(images)
    assert scores.bound is None
    assert torch.equal(scores.target, others.target)
    assert torch.equal(scores.phantom, others.phantom)


def test_classes_are_not_bound_to_21() -> None:
    assert num_parameters(FeatureBindingHead(2)) == 4 * 2 + 2 + 2 * 2 + 2
