"""Wide residual networks (Zagoruyko & Komodakis 2016), as encoders without a classifier.

WRN-28-10 by default. No convolution has a bias (a batch normalisation follows each, or the sum of
its block does), and there is no dropout: with a linear classifier of ten classes that makes the
36,479,194 parameters of the published network.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class WideBlock(nn.Module):
    r"""Computes $s(a) + w_2 * a_2(w_1 * a)$ with $a = a_1(x)$; each $a_i$ is a BN and a ReLU.

    The shortcut $s$ is $x$ itself where the block keeps its shape. Where it does not, $s$ is a
    1 x 1 convolution of the *activated* input $a$, as in the authors' code.

    Shape: ``(B, n, H, W) -> (B, m, H / stride, W / stride)``, rounded up.
    """

    def __init__(self, n: int, m: int, *, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n)
        self.conv1 = nn.Conv2d(n, m, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(m)
        self.conv2 = nn.Conv2d(m, m, 3, padding=1, bias=False)
        changes = n != m or stride != 1
        self.shortcut = nn.Conv2d(n, m, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, H, W) -> (B, m, H / stride, W / stride)."""
        activated = F.relu(self.norm1(x))
        kept: Tensor = x if self.shortcut is None else self.shortcut(activated)
        added: Tensor = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return kept + added


class WideResNet(nn.Module):
    """Stem of 16 channels, three stages `width` times as wide as 16, 32 and 64, BN, ReLU, pooling.

    The stages run at 1, 1/2 and 1/4 of the resolution. `depth` counts every convolution, those of
    the three changing shortcuts too, and so is 6 n + 4 for n blocks a stage.

    Shape: ``(B, channels, H, W) -> (B, 64 width)``, float; any H and W of at least 1.

    Raises:
        ValueError: `depth` is not 6 n + 4.
    """

    features: int

    def __init__(self, depth: int = 28, width: int = 10, *, channels: int = 3) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth is {depth}; it must be 6 n + 4: 10, 16, 22, 28, ...")
        self.features = 64 * width
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.stages = nn.Sequential(
            _stage(16, 16 * width, blocks, stride=1),
            _stage(16 * width, 32 * width, blocks, stride=2),
            _stage(32 * width, 64 * width, blocks, stride=2),
        )
        self.norm = nn.BatchNorm2d(self.features)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, features)."""
        maps = F.relu(self.norm(self.stages(self.stem(images))))
        return maps.mean(dim=(2, 3))


def _stage(n: int, m: int, blocks: int, *, stride: int) -> nn.Sequential:
    """Blocks of one width; the first changes width and resolution."""
    rest = (WideBlock(m, m, stride=1) for _ in range(blocks - 1))
    return nn.Sequential(WideBlock(n, m, stride=stride), *rest)
