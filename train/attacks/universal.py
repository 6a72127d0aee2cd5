"""Universal perturbations: one that is added to every image (Moosavi-Dezfooli et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from quire.artifacts.perturbation_table import Perturbation


def at_size(perturbation: Perturbation, height: int, width: int) -> Tensor:
    """A perturbation for images of another size, within the same bound.

    -> (3, height, width) float32 in grey levels; bilinear, corners not aligned.
    """
    delta = torch.from_numpy(perturbation.delta)
    if delta.shape[1:] != (height, width):
        scaled = F.interpolate(delta[None], (height, width), mode="bilinear", align_corners=False)
        delta = scaled[0]
    return delta.clamp(-perturbation.xi, perturbation.xi)


def perturbed(images: Tensor, delta: Tensor) -> Tensor:
    """Images with a perturbation added, cut off at black and white.

    What lies around a scene that does not fill its square is perturbed too, as in GD-UAP's code.

    Args:
        images: (B, 3, H, W) uint8.
        delta: (3, H, W) in grey levels.

    Returns:
        (B, 3, H, W) float32 in [0, 1]; without a perturbation (delta 0) images / 255 to the bit.
    """
    return (images + delta.to(images.device, torch.float32)).clamp(0, 255) / 255
