"""What supervised contrastive learning (Khosla et al. 2020, section 3.1) adds to an encoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.models.classifier import Classifier


class Projection(nn.Module):
    """Computes normalise(W2 relu(W1 h + b1) + b2).

    Shape: ``(B, F) -> (B, width)``, rows of length 1, in float32 at least.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(features, features)
        self.final = nn.Linear(features, width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, width)."""
        projected = self.final(self.hidden(features).relu())
        return F.normalize(projected.to(torch.promote_types(projected.dtype, torch.float32)), dim=1)


class Contrastive(nn.Module):
    """A classifier's encoder, and what projects its features onto the unit sphere.

    Shape: ``(B, channels, H, W)``, float in [0, 1] ``-> (B, width)``, rows of length 1.
    """

    def __init__(self, classifier: Classifier, width: int) -> None:
        """The classifier is not copied; its head has no part in this."""
        super().__init__()
        self.classifier = classifier
        self.projection = Projection(classifier.head.final.in_features, width)

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, width)."""
        embeddings: Tensor = self.projection(self.classifier.features(images))
        return embeddings
