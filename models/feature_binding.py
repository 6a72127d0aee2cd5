r"""The feature binding network (SegMix): two sources told apart, then bound again.

Of a blend of a dominant and a phantom image, one trunk makes a map $\hat f$, and two heads score
the classes of either source: $S_t = F_t(\hat f)$, $S_p = F_p(\hat f)$ (Eq. 3). What the phantom's
head has kept of the dominant image comes back in a third answer for it,
$S_{fb} = F_{fb}([S_t, S_p])$ (Eq. 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quire.models.classifier import NormalisedEncoder
from quire.models.deeplab import IMAGENET_MEAN, IMAGENET_STD, TRUNKS, DeepLabHead, Trunk


@dataclass(frozen=True, slots=True)
class Scores:
    """What the network says of a batch, at the trunk's resolution."""

    target: Tensor  # (B, C, h, w): S_t, of the dominant image
    phantom: Tensor  # (B, C, h, w): S_p, of the other one
    bound: Tensor | None  # (B, C, h, w): S_fb, of the dominant image once more


class FeatureBindingHead(nn.Sequential):
    """Two 1x1 convolutions with a ReLU between: both sources' scores become the dominant one's.

    Shape: ``(B, 2 C, h, w) -> (B, C, h, w)``. For 21 classes there are 1,365 parameters.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(2 * classes, classes, 1), nn.ReLU(), nn.Conv2d(classes, classes, 1)
        )


class FeatureBinding(NormalisedEncoder):
    """A trunk, the heads of two sources, and the head that binds them.

    Shape: ``(B, 3, H, W)``, float in [0, 1] ``-> Scores``. In the second stage the binding head is
    not trained: `binding.requires_grad_(False)`.
    """

    def __init__(
        self,
        trunk: Trunk,
        classes: int,
        *,
        binds: bool = True,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        """See `NormalisedEncoder`; without `binds` the two sources are told apart, and no more."""
        super().__init__(trunk, mean=mean, std=std)
        self.target = DeepLabHead(trunk.features, classes, width=trunk.width)
        self.phantom = DeepLabHead(trunk.features, classes, width=trunk.width)
        self.binding = FeatureBindingHead(classes) if binds else None

    def forward(self, images: Tensor) -> Scores:
        """(B, 3, H, W) -> three of (B, C, h, w)."""
        features = self.features(images)
        target, phantom = self.target(features), self.phantom(features)
        if self.binding is None:
            return Scores(target, phantom, None)
        return Scores(target, phantom, self.binding(torch.cat([target, phantom], dim=1)))


def feature_binding(
    trunk: str,
    *,
    classes: int,
    binds: bool = True,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> FeatureBinding:
    """A network with fresh weights.

    >>> feature_binding("small", classes=21)(torch.rand(2, 3, 96, 90)).bound.shape
    torch.Size([2, 21, 12, 12])

    Raises:
        KeyError: there is no such trunk.
    """
    return FeatureBinding(TRUNKS[trunk](), classes, binds=binds, mean=mean, std=std)
