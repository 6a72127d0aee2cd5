"""The whole classifier: normalisation in the model, and a head that sees the batch."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quire.models.classifier import ENCODERS, Classifier, head_of, resized
from quire.models.similarity_graph import GraphConfig, LinearHead, SimilarityGraphHead


def make(
    graph: GraphConfig | None,
    mean: Sequence[float] = (0.5, 0.4, 0.3),
    std: Sequence[float] = (0.2, 0.25, 0.3),
    resize: int | None = None,
) -> Classifier:
    torch.manual_seed(0)
    encoder = ENCODERS["resnet20"](3)
    head = head_of(graph, encoder.features, 7)
    return Classifier(encoder, head, mean=mean, std=std, resize=resize)


def test_images_are_normalised_by_channel_before_they_are_encoded() -> None:
    model = make(None).eval()
    images = torch.rand(4, 3, 8, 8)
    normal = torch.stack(
        [(images[:, c] - m) / s for c, (m, s) in enumerate(((0.5, 0.2), (0.4, 0.25), (0.3, 0.3)))],
        dim=1,
    )
    torch.testing.assert_close(model.features(images), model.encoder(normal))
    torch.testing.assert_close(model(images), model.head(model.encoder(normal)))


def test_the_normalisation_is_saved_with_the_weights_and_is_not_trained() -> None:
    state = make(None).state_dict()
    assert state["mean"].flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert {"mean", "std"}.isdisjoint(name for name, _ in make(None).named_parameters())


def test_one_number_normalises_every_channel() -> None:
    model = make(None, mean=[0.5], std=[0.5]).eval()
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(model.features(images), model.encoder(2 * images - 1))


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (20, 12), (5, 40)])
def test_images_are_resized_before_they_are_normalised(size: tuple[int, int]) -> None:
    model = make(None, resize=16)
    images = torch.rand(2, 3, *size)
    square = F.interpolate(images, (16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(resized(images, 16), square)
    if size == (16, 16):
        torch.testing.assert_close(square, images)
    model.eval()
    torch.testing.assert_close(
        model.features(images), model.encoder((square - model.mean) / model.std)
    )


def test_images_see_each_other_through_a_graph_alone() -> None:
    images = torch.rand(5, 3, 8, 8)
    others = torch.cat([images[:1], torch.rand(4, 3, 8, 8)])
    for graph, sees in ((None, False), (GraphConfig(k=2), True)):
        model = make(graph).eval()
        with torch.no_grad():
            same = torch.allclose(model(images)[0], model(others)[0], atol=1e-6)
        assert same != sees


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_fits_every_head(name: str) -> None:
    with torch.device("meta"):
        for graph in (None, GraphConfig(attention=True)):
            features = ENCODERS[name](1).features
            head = head_of(graph, features, 7)
            assert isinstance(head, LinearHead if graph is None else SimilarityGraphHead)
            linear = head.final if isinstance(head, LinearHead) else head.layers[0].linear
            assert isinstance(linear, nn.Linear)
            assert linear.in_features == features
