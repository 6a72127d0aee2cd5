"""Public data sets by torchvision's own downloaders, which check what they get.

This is in `train` because torchvision brings torch along, and builders do without.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from quire.artifacts.errors import SourceError


def download(
    kind: str, root: Path, *, datasets: Mapping[str, Callable[..., object]] | None = None
) -> None:
    """Fetch `cifar10`, `cifar100` or `mnist` into a folder, in the layout that torchvision makes.

    What is there already and has the right checksum is not fetched again. `datasets` has for each
    kind what is called as torchvision's class is; without it, these are called.

    Raises:
        SourceError: no network, no space, a wrong checksum, or another kind.
    """
    datasets = datasets if datasets is not None else _torchvision()
    if kind not in datasets:
        raise SourceError(f"{kind} cannot be downloaded; {', '.join(datasets)} can")
    try:
        datasets[kind](root=str(root), download=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError
        reason = " ".join(str(error).split())
        raise SourceError(f"{kind} could not be downloaded to {root}: {reason}") from error


def _torchvision() -> dict[str, Callable[..., object]]:
    from torchvision.datasets import CIFAR10, CIFAR100, MNIST  # takes seconds

    return {"cifar10": CIFAR10, "cifar100": CIFAR100, "mnist": MNIST}
