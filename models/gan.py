"""Generator and discriminator of images (Mondal, Jain & Siddiqi 2021, earlier version, 6.3).

Both are for 32x32 and 64x64 alike: the stack of convolutions is the same, and the linear layers
are for 2x2 or 4x4 positions. Images are in [-1, 1]. What the paper leaves open is as in DCGAN
(Radford, Metz & Chintala 2016): the slope of LeakyReLU, and weights drawn from N(0, .02).
"""

from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn

from quire.models.batch_features import (
    EdgeGraph,
    EdgeGraphConfig,
    MinibatchConfig,
    MinibatchDiscrimination,
)

BatchConfig: TypeAlias = MinibatchConfig | EdgeGraphConfig

SIZES = (32, 64)
LATENT = 128
_SLOPE = 0.2  # of LeakyReLU
_DEVIATION = 0.02  # of the first weights
_HALVINGS = 4


class Generator(nn.Module):
    """Makes images of noise.

    Shape: ``(B, latent) -> (B, channels, size, size)`` in [-1, 1].

    >>> sum(p.numel() for p in Generator(64).parameters())
    19561987
    """

    def __init__(
        self, size: int, *, channels: int = 3, width: int = 64, latent: int = LATENT
    ) -> None:
        """`width` are the channels of the last hidden layer; the first has 16 times as many.

        Raises:
            ValueError: the size is neither 32 nor 64.
        """
        super().__init__()
        side, widths = _side(size), [width << step for step in range(_HALVINGS, -1, -1)]
        positions = widths[0] * side**2
        self.latent = latent
        self.start = nn.Sequential(
            nn.Linear(latent, positions), nn.BatchNorm1d(positions), nn.ReLU()
        )
        self.unflatten = nn.Unflatten(1, (widths[0], side, side))
        self.enlarge = nn.Sequential(*(_enlarging(*pair) for pair in pairwise(widths)))
        self.final = nn.ConvTranspose2d(width, channels, 5, 1, 2)
        _draw(self.start, self.enlarge, self.final)

    def forward(self, noise: Tensor) -> Tensor:
        """(B, latent) -> (B, channels, size, size)."""
        images: Tensor = self.final(self.enlarge(self.unflatten(self.start(noise))))
        return images.float().tanh()  # bfloat16 has but 256 steps in [.5, 1]


class Discriminator(nn.Module):
    """Says how real images look: the logit of each, whose sigmoid is the paper's output.

    Shape: ``(B, channels, size, size) -> (B,)``. A batch is of real images alone or of generated
    ones alone; with a `batch_layer` a logit hangs on the whole of it.

    >>> sum(p.numel() for p in Discriminator(64).parameters())
    2766657
    """

    def __init__(
        self,
        size: int,
        *,
        channels: int = 3,
        width: int = 64,
        batch_layer: BatchConfig | None = None,
    ) -> None:
        """`width` are the channels of the first layer; the last has 8 times as many.

        Raises:
            ValueError: the size is neither 32 nor 64.
        """
        super().__init__()
        widths = [channels, *(width << step for step in range(_HALVINGS))]
        features = widths[-1] * _side(size) ** 2
        self.encode = nn.Sequential(*(_halving(*pair) for pair in pairwise(widths)), nn.Flatten())
        self.batch_layer = _batch_layer(features, batch_layer)
        further = 0 if self.batch_layer is None else self.batch_layer.outputs
        self.final = nn.Linear(features + further, 1)
        _draw(self.encode, self.final)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, size, size) -> (B,)."""
        return self.judge(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the images look like, each by itself but for batch normalisation. -> (B, F)."""
        features: Tensor = self.encode(images)
        return features

    def judge(self, features: Tensor) -> Tensor:
        """The logits of a whole batch. (B, F) -> (B,), in float32 at least, under autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(torch.promote_types(features.dtype, torch.float32))
            if self.batch_layer is not None:
                features = torch.cat([features, self.batch_layer(features)], dim=1)
            logits: Tensor = self.final(features)
        return logits.squeeze(1)


def _draw(*parts: nn.Module) -> None:
    """Draw the first weights of convolutions and linear layers; their biases are zero."""
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, std=_DEVIATION)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)


def _side(size: int) -> int:
    """Positions along a side after four halvings."""
    if size not in SIZES:
        raise ValueError(f"images are {size}x{size}; a GAN is for 32x32 or 64x64")
    return size >> _HALVINGS


def _enlarging(inputs: int, outputs: int) -> nn.Sequential:
    """Twice as many positions along each side."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 5, 2, 2, output_padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    """Half as many positions along each side."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(_SLOPE)
    )


def _batch_layer(
    features: int, config: BatchConfig | None
) -> MinibatchDiscrimination | EdgeGraph | None:
    match config:
        case MinibatchConfig():
            return MinibatchDiscrimination(features, config)
        case EdgeGraphConfig():
            return EdgeGraph(features, config)
        case None:
            return None
