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


def resnet18(*, channels: int = 3) -> ResNet:
    """18 layers with a classifier; 512 features."""
    return ResNet(BasicBlock, [2, 2, 2, 2], channels=channels)


def resnet50(*, channels: int = 3) -> ResNet:
    """50 layers with a classifier; 2048 features."""
    return ResNet(Bottleneck, [3, 4, 6, 3], channels=channels)
