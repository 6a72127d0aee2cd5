"""How sparse networks are trained: the fields that every method of it has."""

import math
from dataclasses import dataclass
from typing import ClassVar

from quire.artifacts.errors import RunError

_NO_COUNTS = ("lr", "mean", "std", "seed")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Adam on batches that all networks of a group see."""

    method: ClassVar[str]

    batch_size: int = 64
    """Images in a batch, which all networks of a group see."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of Adam: what is kept of its means of gradients and of their squares, at every step."""
    mean: float = 0.1307
    """What pixels, in [0, 1], are normalised by within the networks: MNIST's mean by default."""
    std: float = 0.3081
    """And its standard deviation, which is the unit of attacks too; 0 and 1 leave images as they
    are."""
    images: int | None = None
    """Train on so many images, chosen at random once and for all; default: all."""
    seed: int = 0
    """Seed of the first weights, and of the order of the images."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the data.

        Raises:
            RunError: a field is out of range.
        """
        if not 0 < self.lr < math.inf:
            raise RunError(f"lr is {self.lr}; it must be above 0")
        if not (math.isfinite(self.mean) and 0 < self.std < math.inf):
            raise RunError(f"mean is {self.mean}, std is {self.std}: std must be above 0")
        if self.seed < 0:
            raise RunError(f"seed is {self.seed}; it must be at least 0")
        for name, value in vars(self).items():  # other whole numbers count something
            if isinstance(value, int) and name not in _NO_COUNTS and value < 1:
                raise RunError(f"{name} is {value}; it must be at least 1")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RunError(f"betas are {self.betas}; they must be in [0, 1)")
