"""The ImageNet networks, against published sizes and torchvision's own."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import nn

from quire.models.imagenet_resnet import ImageNetResNet, imagenet_resnet18, imagenet_resnet34


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("make", "published"), [(imagenet_resnet18, 11_689_512), (imagenet_resnet34, 21_797_672)]
)
def test_sizes_are_the_published_ones(make: Callable[[], ImageNetResNet], published: int) -> None:
    with torch.device("meta"):
        encoder = make()
    assert parameters(encoder) + parameters(nn.Linear(512, 1000)) == published


@pytest.mark.parametrize("size", [1, 32, 64])
def test_features_are_what_torchvision_feeds_its_classifier(size: int) -> None:
    theirs = torchvision.models.resnet18(num_classes=7).eval()
    encoder = imagenet_resnet18().eval()
    encoder.load(theirs.state_dict())
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(theirs.fc(encoder(images)), theirs(images))


def test_a_channel_alone_is_taken_three_times() -> None:
    encoder = imagenet_resnet18().eval()
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(encoder(images), encoder(torch.cat([images] * 3, dim=1)))


def test_weights_of_another_depth_are_refused() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.resnet18().state_dict()
        with pytest.raises(RuntimeError, match=r"layer1\.2\.conv1\.weight"):
            imagenet_resnet34().load(theirs)


def test_every_weight_learns() -> None:
    encoder = imagenet_resnet18()
    encoder(torch.randn(2, 3, 64, 64)).square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
