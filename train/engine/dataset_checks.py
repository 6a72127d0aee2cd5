"""What a run wants of a bundle of images: named classes and one size, and later the same again."""

from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream
from quire.train.engine.runs import Run


def class_names(batches: Stream, data: str) -> tuple[str, ...]:
    """The names of a bundle's classes, in the order of their labels.

    Raises:
        RunError: there are none.
    """
    names = batches.manifest.identity.source.get("class_names")
    if not names:
        raise RunError(f"{data} names no classes")
    return tuple(map(str, names))


def shape_of(batches: Stream, data: str) -> tuple[int, int, int]:
    """Channels, height and width of a bundle's images; begins an epoch.

    Raises:
        RunError: they differ in size.
    """
    images = next(iter(batches))["image"]
    if not isinstance(images, Tensor):
        raise RunError(f"{data} has images of different sizes; a batch needs one size")
    channels, height, width = images.shape[1:]
    return channels, height, width


def check_classes(classes: tuple[str, ...], batches: Stream, data: str) -> None:
    """Refuse a bundle whose labels or ids mean something else than a run has learned.

    Raises:
        RunError: the bundle has other classes, or none.
    """
    if tuple(map(str, batches.manifest.identity.source.get("class_names") or ())) != classes:
        raise RunError(f"{data} has other classes than the run was trained on")


def check_same_kind(run: Run, batches: Stream, data: str) -> tuple[int, int, int]:
    """The shape of a bundle's images, when a run can be measured on them.

    Raises:
        RunError: it has other classes, whose labels mean something else, or other images.
    """
    check_classes(run.classes, batches, data)
    shape = shape_of(batches, data)
    if (found := shape[0]) != run.channels:
        raise RunError(f"{data} has images of {found} channels; the run's have {run.channels}")
    return shape
