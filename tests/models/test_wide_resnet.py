"""The wide residual networks, against published sizes and the definition of a block."""

import pytest
import torch
from torch import nn

from quire.models.wide_resnet import WideBlock, WideResNet


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("classes", "count"), [(10, 36_479_194), (100, 36_536_884)])
def test_wrn_28_10_has_its_published_size(classes: int, count: int) -> None:
    with torch.device("meta"):
        encoder = WideResNet()
    assert encoder.features == 640
    assert parameters(encoder) + parameters(nn.Linear(640, classes)) == count


@pytest.mark.parametrize(
    ("depth", "width", "millions"),  # table 4 of Zagoruyko & Komodakis
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (40, 8, 35.7), (28, 12, 52.5), (22, 8, 17.2)],
)
def test_other_sizes_are_those_of_the_paper(depth: int, width: int, millions: float) -> None:
    with torch.device("meta"):
        encoder = WideResNet(depth, width)
    assert parameters(encoder) / 1e6 == pytest.approx(millions, abs=0.06)


def test_no_convolution_has_a_bias() -> None:
    convolutions = [m for m in WideResNet(16, 2).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 16
    assert all(convolution.bias is None for convolution in convolutions)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 1, 28, 28), (2, 4, 9, 5), (3, 3, 1, 1)])
def test_any_channels_and_any_size_become_features(shape: tuple[int, ...]) -> None:
    encoder = WideResNet(10, 2, channels=shape[1]).eval()
    features = encoder(torch.randn(shape))
    assert features.shape == (shape[0], 128)
    assert features.isfinite().all()
    assert (features >= 0).all() and features.any()  # a mean of what a ReLU let through


def test_stages_run_at_full_half_and_quarter_resolution() -> None:
    encoder = WideResNet(16, 2).eval()
    maps = encoder.stem(torch.randn(1, 3, 32, 32))
    sizes = []
    for stage in encoder.stages:
        maps = stage(maps)
        sizes.append(maps.shape[1:])
    assert sizes == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]


def test_a_block_that_adds_nothing_passes_its_raw_input_on() -> None:
    block = WideBlock(4, 4, stride=1)
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x)  # negative numbers too: nothing activates the shortcut


@pytest.mark.parametrize(("m", "stride"), [(8, 1), (8, 2), (4, 2)])
def test_a_block_that_changes_shape_projects_its_activated_input(m: int, stride: int) -> None:
    block = WideBlock(4, m, stride=stride).eval()
    nn.init.zeros_(block.conv2.weight)
    assert block.shortcut is not None
    x = torch.randn(2, 4, 6, 6)
    activated = (x / (1 + block.norm1.eps) ** 0.5).clamp(min=0)  # fresh statistics: mean 0, var 1
    kept = activated[:, :, ::stride, ::stride]  # what a 1 x 1 convolution sees
    expected = torch.einsum("mn,bnhw->bmhw", block.shortcut.weight[:, :, 0, 0], kept)
    torch.testing.assert_close(block(x), expected)


def test_a_block_adds_what_its_convolutions_make_of_the_activated_input() -> None:
    block = WideBlock(3, 3, stride=1).eval()
    nn.init.dirac_(block.conv1.weight)  # passes each channel on as it is
    nn.init.dirac_(block.conv2.weight)
    x = torch.randn(2, 3, 5, 5)
    scale = 1 / (1 + block.norm1.eps)  # of two normalisations
    torch.testing.assert_close(block(x), x + scale * x.clamp(min=0))


@pytest.mark.parametrize("depth", [27, 4, 5, -2])
def test_a_depth_without_whole_blocks_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth is {depth}; it must be 6 n \\+ 4"):
        WideResNet(depth)


def test_every_weight_learns() -> None:
    encoder = WideResNet(10, 1)
    encoder(torch.randn(4, 3, 16, 16)).square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
