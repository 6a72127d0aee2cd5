"""The Fréchet Inception distance (Heusel et al. 2017), by torchmetrics and torch-fidelity.

Both are an extra of this package, and the network's weights are somebody else's: a file that
torch-fidelity fetched before, or that is named.
"""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from quire.artifacts.errors import RunError

_WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"  # as torch-fidelity keeps them
_BATCH = 32


class NotAtHandError(RunError):
    """The distance cannot be had here; the message says what is lacking."""


def weights_at_hand(named: Path | None) -> Path:
    """The file of Inception's weights: the one that is named, or torch-fidelity's own.

    Raises:
        NotAtHandError: there is none, or no library that reads it.
        RunError: there is no such file as is named.
    """
    if lacking := [name for name in ("torchmetrics", "torch_fidelity") if not find_spec(name)]:
        raise NotAtHandError(f"{', '.join(lacking)} not installed: pip install quire-vision[fid]")
    if named is not None:
        if not named.is_file():
            raise RunError(f"{named} is no file of Inception's weights")
        return named
    path = Path(torch.hub.get_dir()) / "checkpoints" / _WEIGHTS
    if not path.is_file():
        raise NotAtHandError(f"Inception's weights are not at hand: --inception FILE, or {path}")
    return path


def fid(
    real: Iterable[Tensor], generated: Iterable[Tensor], weights: Path, device: torch.device
) -> float:
    """The distance of generated images from real ones; batches of each are in [-1, 1].

    Images are enlarged without antialiasing, as where the published figures come from.

    Raises:
        RunError: the file does not hold Inception's weights, or there are fewer than two images.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance  # slow to import

    try:
        metric = FrechetInceptionDistance(
            feature_extractor_weights_path=str(weights), antialias=False
        ).to(device)
    except (OSError, RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise RunError(f"{weights} does not hold Inception's weights ({first})") from error
    counts = []
    for images, is_real in ((real, True), (generated, False)):
        count = 0
        for batch in images:
            for some in batch.split(_BATCH):
                metric.update(_levels(some).to(device), real=is_real)
                count += len(some)
        counts.append(count)
    if min(counts) < 2:
        raise RunError(f"FID wants two images of each at least; there are {counts[0]}, {counts[1]}")
    return float(metric.compute())


def _levels(images: Tensor) -> Tensor:
    """(B, channels, H, W) in [-1, 1] -> (B, 3, H, W) uint8."""
    levels = ((images.float() + 1) * 127.5).round().to(torch.uint8)
    return levels.expand(-1, 3, -1, -1)
