"""Residual networks as they were made for ImageNet (He et al. 2016), without the classifier.

torchvision's networks, stem and all: a map at the end has 1/32 of the resolution, so small images
are best enlarged first (see `quire.models.classifier.NormalisedEncoder`). Weights that were learned
on ImageNet come from whoever has them.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet


class ImageNetResNet(nn.Module):
    """Stem with pooling, four stages of basic blocks at 1/4 to 1/32, global average pooling.

    Shape: ``(B, 3, H, W) -> (B, 512)``, float; any H and W of at least 1. Of images of one channel
    three copies are taken, ``(B, 1, H, W) -> (B, 512)``.
    """

    features = 512

    def __init__(self, depths: Sequence[int]) -> None:
        """`depths` has the number of blocks of each stage."""
        super().__init__()
        self.network = ResNet(BasicBlock, list(depths), num_classes=1)
        self.network.fc = nn.Identity()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights of torchvision's network of this depth, its classifier's left out.

        Raises:
            RuntimeError: a weight is missing, unknown or of another shape; the message names it.
        """
        ours = {name: value for name, value in weights.items() if not name.startswith("fc.")}
        self.network.load_state_dict(ours)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3 or 1, H, W) -> (B, 512)."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        features: Tensor = self.network(images)
        return features


def imagenet_resnet18() -> ImageNetResNet:
    """18 layers with a classifier; 512 features."""
    return ImageNetResNet([2, 2, 2, 2])


def imagenet_resnet34() -> ImageNetResNet:
    """34 layers with a classifier; 512 features."""
    return ImageNetResNet([3, 4, 6, 3])
