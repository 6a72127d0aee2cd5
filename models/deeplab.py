"""DeepLabv3 (Chen et al. 2017, "Rethinking atrous convolution"): a score for every pixel and class.

A trunk makes a map of features, of 1/16 of the resolution where it is a residual network whose
last stage is dilated instead of strided; a head looks at that map at several rates and scores the
classes. Blocks are torchvision's, so weights that were learned on ImageNet fit. A trunk says how
many `features` it makes, and how many channels a head on it has inside: `width`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.models.segmentation.deeplabv3 import ASPP

from quire.models import efficientnet_lite
from quire.models.classifier import NormalisedEncoder
from quire.models.efficientnet_lite import EfficientNetLite0

RATES = (6, 12, 18)  # of the dilated convolutions of a head, at an output stride of 16
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNetTrunk(nn.Module):
    """The residual networks of ImageNet up to `res5c`, at an output stride of 16.

    Shape: ``(B, 3, H, W) -> (B, 2048, ceil(H / 16), ceil(W / 16))``, float.
    """

    features = 2048
    width = 256

    def __init__(self, depths: Sequence[int]) -> None:
        """`depths` has the number of blocks of each of the four stages."""
        super().__init__()
        dilated = [False, False, True]
        self.network = ResNet(Bottleneck, list(depths), 1, replace_stride_with_dilation=dilated)
        self.network.avgpool = self.network.fc = nn.Identity()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of torchvision's network of this depth, its classifier's left out.

        Raises:
            RuntimeError: a weight is missing, unknown or of another shape; the message names it.
        """
        ours = {name: value for name, value in weights.items() if not name.startswith("fc.")}
        self.network.load_state_dict(ours)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2048, h, w)."""
        net = self.network
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        assert isinstance(x, Tensor)
        return x


class SmallTrunk(nn.Sequential):
    """Four convolutions at an output stride of 8, for scenes of about 100 pixels; our own.

    Shape: ``(B, 3, H, W) -> (B, 64, ceil(H / 8), ceil(W / 8))``, float.
    """

    features = 64
    width = 64

    def __init__(self) -> None:
        super().__init__(_block(3, 32, 2), _block(32, 64, 2), _block(64, 64, 2), _block(64, 64, 1))


Trunk: TypeAlias = ResNetTrunk | EfficientNetLite0 | SmallTrunk

TRUNKS: Mapping[str, Callable[[], Trunk]] = {
    "resnet50": lambda: ResNetTrunk([3, 4, 6, 3]),
    "resnet101": lambda: ResNetTrunk([3, 4, 23, 3]),
    "efficientnet-lite0": EfficientNetLite0,
    "small": SmallTrunk,
}
# The mean and the deviation of each channel that a trunk's images are normalised by.
NORMALISED_BY: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    **dict.fromkeys(TRUNKS, (IMAGENET_MEAN, IMAGENET_STD)),
    "efficientnet-lite0": (efficientnet_lite.MEAN, efficientnet_lite.STD),
}


class DeepLabHead(nn.Sequential):
    """Scores of the classes: pyramid pooling, a 3x3 convolution, a 1x1 convolution.

    Shape: ``(B, F, h, w) -> (B, C, h, w)``. It looks at the mean of the whole map too, and
    normalises that over the batch: in training a batch of one is a ValueError.
    """

    def __init__(self, features: int, classes: int, *, width: int = 256) -> None:
        """`width` channels inside, for each of the pyramid's five parts and after."""
        super().__init__(
            ASPP(features, RATES, width),
            _block(width, width, 1),
            nn.Conv2d(width, classes, 1),
        )


class DeepLab(NormalisedEncoder):
    """Computes head(trunk((x - mean) / std)): the baseline of segmentation.

    Shape: ``(B, 3, H, W)``, float in [0, 1] ``-> (B, C, h, w)`` scores at the trunk's resolution;
    see `upsampled`.
    """

    def __init__(
        self, trunk: Trunk, classes: int, *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """See `NormalisedEncoder`."""
        super().__init__(trunk, mean=mean, std=std)
        self.head = DeepLabHead(trunk.features, classes, width=trunk.width)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w)."""
        scores: Tensor = self.head(self.features(images))
        return scores


def deeplab(
    trunk: str,
    *,
    classes: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> DeepLab:
    """A network with fresh weights.

    >>> deeplab("small", classes=21)(torch.rand(2, 3, 96, 90)).shape
    torch.Size([2, 21, 12, 12])

    Raises:
        KeyError: there is no such trunk.
    """
    return DeepLab(TRUNKS[trunk](), classes, mean=mean, std=std)


def upsampled(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores at another resolution, bilinear; pixels are areas, not points.

    (B, C, h, w) -> (B, C, *size), float32 at least, under autocast too.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)


def num_parameters(module: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(parameter.numel() for parameter in module.parameters())


def _block(channels: int, width: int, stride: int) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU."""
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
