"""How sparse networks are trained: the fields that every method of it has."""

import math
from dataclasses import dataclass
from typing import ClassVar

from quire.artifacts.errors import RunError


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
        if self.seed < 0:
            raise RunError(f"seed is {self.seed}; it must be at least 0")
        for name, value in vars(self).items():  # every whole number but the seed counts something
            if isinstance(value, int) and name not in ("lr", "seed") and value < 1:
                raise RunError(f"{name} is {value}; it must be at least 1")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RunError(f"betas are {self.betas}; they must be in [0, 1)")
