"""The six ways in which Ben Amor, Stier & Granitzer initialise a sparse network.

A weight is drawn for what its dense matrix would be: the fans are the widths of the two layers
that it connects, however few of their pairs are edges.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Spread = Callable[[Tensor, Tensor], Tensor]  # of fan_in and fan_out


@dataclass(frozen=True)
class Initialisation:
    """A distribution around 0. Draws are float32 on the CPU, so they are the same everywhere."""

    normal: bool  # or uniform
    spread: Spread  # the standard deviation, or the bound
    biases: bool = False  # drawn too, or 0

    def weights(self, fan_in: Tensor, fan_out: Tensor, *, generator: torch.Generator) -> Tensor:
        """A weight for each pair of fans. Equal shapes of float32 >= 1 -> that shape."""
        if self.normal:
            unit = torch.randn(fan_in.shape, generator=generator)
        else:
            unit = 2 * torch.rand(fan_in.shape, generator=generator) - 1
        return unit * self.spread(fan_in, fan_out)

    def bias(self, size: int, *, generator: torch.Generator) -> Tensor:
        """A bias for each node. -> (size,)."""
        if not self.biases:
            return torch.zeros(size)
        return self.weights(torch.ones(size), torch.ones(size), generator=generator)


def _constant(value: float) -> Spread:
    return lambda fan_in, fan_out: torch.full_like(fan_in, value)


_GAIN = math.sqrt(2)

INITIALISATIONS = {
    # the paper's N, U, G_N, G_U, He_N and He_U
    "normal": Initialisation(True, _constant(0.1), biases=True),
    "uniform": Initialisation(False, _constant(0.1), biases=True),
    "glorot_normal": Initialisation(True, lambda i, o: _GAIN * (2 / (i + o)).sqrt()),
    "glorot_uniform": Initialisation(False, lambda i, o: _GAIN * (6 / (i + o)).sqrt()),
    "he_normal": Initialisation(True, lambda i, o: _GAIN * (1 / i).sqrt()),
    "he_uniform": Initialisation(False, lambda i, o: _GAIN * (3 / i).sqrt()),
}
