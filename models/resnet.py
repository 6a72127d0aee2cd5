"""Residual networks for small images (He et al. 2016), as encoders without a classifier.

The blocks are torchvision's. A 32 x 32 image cannot afford the stem that was made for 224 x 224
(stride 2, then max-pooling: 8 x 8 are left), so the first convolution is 3 x 3 with stride 1 and
nothing is pooled before the end.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as ImageNetResNet


class ResNet(nn.Module):
    """Stem, four stages of blocks at 1, 1/2, 1/4 and 1/8 of the resolution, global average pooling.

    Shape: ``(B, channels, H, W) -> (B, features)``, float; any H and W of at least 1.
    """

    features: int

    def __init__(
        self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], *, channels: int = 3
    ) -> None:
        """`depths` has the number of blocks of each of the four stages."""
        super().__init__()
        self.features = 512 * block.expansion
        self.network = ImageNetResNet(block, depths, num_classes=1)
        self.network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.network.conv1.weight, mode="fan_out", nonlinearity="relu")
        self.network.maxpool = nn.Identity()
        self.network.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, features)."""
        features: Tensor = self.network(images)
        return features


class SmallResNet(nn.Module):
    """Three stages of 16, 32 and 64 channels at 1, 1/2 and 1/4 of the resolution, then pooling.

    The networks that He et al. made for CIFAR (section 4.2): 6 n + 2 layers with a classifier.
    Where the shape changes, the shortcut is a 1 x 1 convolution (their option B).

    Shape: ``(B, channels, H, W) -> (B, 64)``, float; any H and W of at least 1.
    """

    features = 64

    def __init__(self, n: int, *, channels: int = 3) -> None:
        """`n` blocks in each stage."""
        super().__init__()
        self.stem = _convolution(channels, 16, 3)
        widths = [16] * n + [32] * n + [64] * n
        inputs = [16, *widths]
        self.blocks = nn.Sequential(*(_block(a, b) for a, b in zip(inputs, widths, strict=False)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, 64)."""
        maps: Tensor = self.blocks(self.stem(images).relu())
        return maps.mean(dim=(-2, -1))


def _block(inputs: int, outputs: int) -> BasicBlock:
    if inputs == outputs:
        return BasicBlock(inputs, outputs)
    return BasicBlock(inputs, outputs, 2, _convolution(inputs, outputs, 1, stride=2))


def _convolution(inputs: int, outputs: int, size: int, *, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps H and W but for the stride, and its batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def resnet18(*, channels: int = 3) -> ResNet:
    """18 layers with a classifier; 512 features."""
    return ResNet(BasicBlock, [2, 2, 2, 2], channels=channels)


def resnet8(*, channels: int = 3) -> SmallResNet:
    """8 layers with a classifier, for trying things out; 64 features."""
    return SmallResNet(1, channels=channels)


def resnet20(*, channels: int = 3) -> SmallResNet:
    """20 layers with a classifier, for small work; 64 features."""
    return SmallResNet(3, channels=channels)


def resnet50(*, channels: int = 3) -> ResNet:
    """50 layers with a classifier; 2048 features."""
    return ResNet(Bottleneck, [3, 4, 6, 3], channels=channels)
