"""The residual networks, against published sizes and torchvision's own."""

from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

from quire.models.resnet import ResNet, SmallResNet, resnet8, resnet18, resnet20, resnet50


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("make", "features", "alone", "with_ten_classes"),
    [
        (resnet18, 512, 11_168_832, 11_173_962),  # the sizes that CIFAR versions report
        (resnet50, 2048, 23_500_352, 23_520_842),
        # 269,722 with shortcuts without parameters; two of them and their norms are 2,752 more
        (resnet20, 64, 269_722 - 650 + 2_752, 269_722 + 2_752),
        (resnet8, 64, 77_392, 78_042),  # three of its nine blocks
    ],
)
def test_sizes_are_the_published_ones(
    make: Callable[[], ResNet | SmallResNet], features: int, alone: int, with_ten_classes: int
) -> None:
    with torch.device("meta"):
        encoder = make()
    assert encoder.features == features
    assert parameters(encoder) == alone
    assert alone + parameters(nn.Linear(features, 10)) == with_ten_classes


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 1, 28, 28), (2, 4, 9, 5), (3, 3, 1, 1)])
def test_any_channels_and_any_size_become_features(shape: tuple[int, ...]) -> None:
    encoder = resnet18(channels=shape[1]).eval()
    features = encoder(torch.randn(shape))
    assert features.shape == (shape[0], encoder.features)
    assert features.isfinite().all()


def test_the_small_network_is_the_plain_one_of_the_paper() -> None:
    encoder = resnet20(channels=1).eval()
    convolutions = [
        m for m in encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] == 3
    ]
    assert len(convolutions) == 19  # and the classifier makes 20
    maps: list[torch.Size] = []
    encoder.blocks.register_forward_hook(lambda module, inputs, output: maps.append(output.shape))
    assert encoder(torch.rand(2, 1, 32, 28)).shape == (2, 64)
    assert maps == [torch.Size([2, 64, 8, 7])]
    assert encoder(torch.rand(3, 1, 1, 1)).isfinite().all()


def test_bottlenecks_give_features_too() -> None:
    assert resnet50().eval()(torch.randn(2, 3, 8, 8)).shape == (2, 2048)


def test_stages_run_at_full_half_quarter_and_eighth_resolution() -> None:
    encoder = resnet18().eval()
    sizes: list[torch.Size] = []
    stages = [getattr(encoder.network, f"layer{i}") for i in range(1, 5)]
    for stage in stages:
        stage.register_forward_hook(lambda stage, given, made: sizes.append(made.shape[1:]))
    encoder(torch.randn(1, 3, 32, 32))
    assert sizes == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_weights_are_named_and_shaped_as_torchvision_has_them_but_for_stem_and_classifier() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.resnet50().state_dict()
        ours = resnet50().network.state_dict()
    assert list(ours) == [name for name in theirs if not name.startswith("fc.")]
    assert [name for name in ours if ours[name].shape != theirs[name].shape] == ["conv1.weight"]


def test_the_stem_starts_as_the_other_convolutions_do() -> None:
    weight: Tensor = resnet18().network.conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)


def test_in_evaluation_an_image_does_not_depend_on_its_batch() -> None:
    encoder = resnet18().eval()
    images = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(encoder(images)[:1], encoder(images[:1]), rtol=1e-4, atol=1e-5)


def test_every_weight_learns() -> None:
    encoder = resnet18()
    encoder(torch.randn(4, 3, 8, 8)).square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
