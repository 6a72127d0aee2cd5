"""A classifier of images: normalisation, an encoder, and a head that sees the features of a batch.

Normalisation is part of the model, so whoever corrupts or attacks an image does so in [0, 1].
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn, tensor

from quire.models.efficientnet_lite import EfficientNetLite0Encoder
from quire.models.imagenet_resnet import ImageNetResNet, imagenet_resnet18, imagenet_resnet34
from quire.models.resnet import ResNet, SmallResNet, resnet8, resnet18, resnet20, resnet50
from quire.models.similarity_graph import GraphConfig, LinearHead, SimilarityGraphHead
from quire.models.wide_resnet import WideResNet

# Each says how many `features` it makes.
Encoder: TypeAlias = ResNet | SmallResNet | WideResNet | ImageNetResNet | EfficientNetLite0Encoder

ENCODERS: Mapping[str, Callable[[int], Encoder]] = {
    "resnet8": lambda channels: resnet8(channels=channels),
    "resnet18": lambda channels: resnet18(channels=channels),
    "resnet20": lambda channels: resnet20(channels=channels),
    "resnet50": lambda channels: resnet50(channels=channels),
    "wrn-28-10": lambda channels: WideResNet(channels=channels),
    "imagenet-resnet18": lambda channels: imagenet_resnet18(),
    "imagenet-resnet34": lambda channels: imagenet_resnet34(),
    "efficientnet-lite0": lambda channels: EfficientNetLite0Encoder(),
}


class NormalisedEncoder(nn.Module):
    """Computes encoder((x - mean) / std): what every model of images in [0, 1] begins with.

    With `resize`, images are brought to so many pixels square before that.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        resize: int | None = None,
    ) -> None:
        """`mean` and `std` have a number for each channel, or one for all."""
        super().__init__()
        self.encoder = encoder
        self.resize = resize
        self.register_buffer("mean", tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", tensor(std).view(-1, 1, 1))

    def features(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, F)."""
        if self.resize is not None:
            images = resized(images, self.resize)
        features: Tensor = self.encoder((images - self.mean) / self.std)
        return features


def resized(images: Tensor, size: int) -> Tensor:
    """Bilinear, smoothed where it makes images smaller. (B, C, H, W) -> (B, C, size, size)."""
    smaller = max(images.shape[2:]) > size
    return F.interpolate(images, (size, size), mode="bilinear", antialias=smaller)


class Classifier(NormalisedEncoder):
    """Computes head(encoder((x - mean) / std)).

    Shape: ``(B, channels, H, W)``, float in [0, 1] ``-> (B, C)`` logits.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: LinearHead | SimilarityGraphHead,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        resize: int | None = None,
    ) -> None:
        """See `NormalisedEncoder`."""
        super().__init__(encoder, mean=mean, std=std, resize=resize)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits of a batch whose images may see each other. (B, channels, H, W) -> (B, C)."""
        logits: Tensor = self.head(self.features(images))
        return logits


def head_of(
    graph: GraphConfig | None, features: int, classes: int
) -> LinearHead | SimilarityGraphHead:
    """A head with fresh weights: a similarity graph over the batch, or none (the baseline)."""
    if graph is None:
        return LinearHead(features, classes)
    return SimilarityGraphHead(features, classes, graph)
