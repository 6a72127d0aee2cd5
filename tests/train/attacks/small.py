"""Small models to attack."""

import torch
from torch import Tensor, nn

from quire.models.sparse import SparseNetwork
from quire.models.sparse_batch import SparseNetworks
from quire.train.attacks.targets import Alone


class Linear(nn.Module):
    """M linear models in float64, whose weights are multiples of 1/64.

    No sum of theirs is ever rounded, so an image has the same logits in whatever batch it is. It
    counts the images that it has seen, and keeps the size of the largest batch.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        """(M, D, C), (M, C)."""
        super().__init__()
        self.weight = nn.Parameter((weight.double() * 64).round() / 64)
        self.bias = nn.Parameter((bias.double() * 64).round() / 64)
        self.seen = 0
        self.largest = 0

    def __len__(self) -> int:
        return len(self.weight)

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(2).double()
        self.seen += flat.shape[0] * flat.shape[1]
        self.largest = max(self.largest, flat.shape[0] * flat.shape[1])
        logits: Tensor = flat @ self.weight + self.bias.unsqueeze(1)
        return logits

    def some(self, members: list[int]) -> "Linear":
        """Some of the models."""
        return Linear(self.weight[members].detach(), self.bias[members].detach())


def linear(members: int, inputs: int, classes: int, *, seed: int, scale: float = 1.0) -> Linear:
    """Random models for which a shade that is everywhere means nothing."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(members, inputs, classes, generator=generator) * scale
    bias = torch.randn(members, classes, generator=generator) / 4
    return Linear(weight - weight.mean(1, keepdim=True), bias)


def pictures(count: int, *shape: int, seed: int = 0) -> Tensor:
    """Bytes over 256, which are exact. -> (count, ...) float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 257, (count, *shape), generator=generator).double() / 256


def sparse() -> SparseNetworks:
    """Three networks of 12 inputs and 3 classes, with different graphs."""
    networks = []
    for member in range(3):
        edges = torch.tensor([[0, 1], [1, 2], [0, 2], [3, 2]][: 4 - member])
        network = SparseNetwork(edges, 8 + member, inputs=12, outputs=3).double()
        network.initialise("he_normal", generator=torch.Generator().manual_seed(5 + 10 * member))
        networks.append(network)
    return SparseNetworks(networks)


class Whole(nn.Module):
    """The same networks, which know no other way than to be shown whole images."""

    def __init__(self, networks: SparseNetworks) -> None:
        super().__init__()
        self.networks = networks

    def __len__(self) -> int:
        return len(self.networks)

    def forward(self, images: Tensor) -> Tensor:
        """(M, B, ...) -> (M, B, C)."""
        found: Tensor = self.networks(images)
        return found


def often(models: SparseNetworks, images: Tensor) -> Tensor:
    """Labels that most of the models find for most of the images. -> (B,)."""
    labels: Tensor = models(images).argmax(-1).mode(0).values
    labels[::7] = (labels[::7] + 1) % 3
    return labels


def moody() -> Alone:
    """A network that does something else in training, and changes when it is used so."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)
    )
    layers[2].eval()  # frozen, while the others are trained
    layers[1].weight.requires_grad_(False)
    return Alone(layers.double())
