"""Weights that somebody else has learned, from a file that the user names."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from quire.artifacts.digest import sha256
from quire.artifacts.errors import RunError
from quire.models.deeplab import ResNetTrunk
from quire.models.imagenet_resnet import ImageNetResNet


def load_pretrained(encoder: nn.Module, weights: str) -> None:
    """Fill an `ImageNetResNet` or a `ResNetTrunk` with torchvision's weights of its depth.

    The file is safetensors, by its name, or what `torch.save` made of a state_dict, of which
    nothing but tensors is read.

    Raises:
        RunError: it cannot be read, or is of another network.
    """
    assert isinstance(encoder, ImageNetResNet | ResNetTrunk)  # others have no `weights`
    path = Path(weights)
    try:
        encoder.load(_read(path))
    except (OSError, RuntimeError, SafetensorError, UnpicklingError, EOFError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise RunError(f"{path} does not hold the weights of this encoder ({first})") from error


def digest_of(weights: str) -> str:
    """The sha256 of a file of weights, which stands for it in a run's record.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return sha256(Path(weights))
    except OSError as error:
        raise RunError(f"the weights cannot be read ({error})") from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise RuntimeError("it is no dict of tensors")
    return found
