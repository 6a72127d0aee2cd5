"""How the rivals of similarity graphs learn: the options of each objective.

Where the references of a method disagree, what is done here is said with its options. Mondal, Jain
& Siddiqi do not say with which they trained.
"""

import math
from dataclasses import dataclass

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least


@dataclass(frozen=True, kw_only=True)
class SupConConfig:
    """Supervised contrastive learning (Khosla et al. 2020): an encoder first, then a linear layer.

    Two views of each image by the run's own augmentation, in one forward pass. The linear layer
    learns from the features before the projection, of images that are only cropped and flipped, and
    the encoder is in evaluation mode. Defaults of the second part are those of SupContrast.
    """

    temperature: float = 0.07
    """Of the contrast; its loss is scaled by temperature / .07."""
    width: int = 128
    """Numbers of an embedding that is contrasted."""
    epochs: int = 100
    """Times that the linear layer sees every image."""
    lr: float = 0.1
    """Learning rate of the linear layer."""
    milestones: tuple[float, ...] = (0.6, 0.75, 0.9)
    """Parts of its epochs after which that falls."""
    gamma: float = 0.2
    """What it is multiplied by when it falls."""

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            RunError: a field is.
        """
        check_at_least(1, self, "width", "epochs", error=RunError)
        if not 0 < self.temperature < math.inf:
            raise RunError(f"temperature is {self.temperature}; it must be above 0")


@dataclass(frozen=True, kw_only=True)
class AffinityConfig:
    """Affinity supervision (Wang et al. 2020) of features beside cross-entropy."""

    weight: float = 0.01
    """Of the affinity loss, where cross-entropy has 1. No public code tells it; of .01, .1
    and 1 it was the best on 5,000 training images of CIFAR-10 that were not trained on (41.0, 35.4
    and 18.6 % after six epochs of 5,000 others by ResNet-20, one seed)."""
    gamma: float = 2.0
    """Focus: the loss is -(1 - M)^gamma log M of the affinity mass M."""

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            RunError: a field is.
        """
        if not (0 <= self.weight < math.inf and (self.gamma == 0 or 1 <= self.gamma < math.inf)):
            raise RunError("weight must be at least 0, and gamma 0 or at least 1")


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """Data-distortion guided self-distillation (Xu & Liu 2019) between two views of each image.

    The mean cross-entropy of both views, so that a learning rate means what it does without; both
    directions of the divergence, whose targets have no gradient; and the squared distance of the
    views' mean features, as vectors. Its two public codes disagree in each of these.
    """

    temperature: float = 3.0
    """Of the softmax whose divergence counts; it is multiplied by the square."""
    weight: float = 1.0
    """Of the divergence."""
    discrepancy: float = 5e-4
    """Weight of the distance of mean features."""

    def __post_init__(self) -> None:
        """Refuse what is out of range.

        Raises:
            RunError: a field is.
        """
        if not 0 < self.temperature < math.inf:
            raise RunError(f"temperature is {self.temperature}; it must be above 0")
        check_at_least(0, self, "weight", "discrepancy", error=RunError)
