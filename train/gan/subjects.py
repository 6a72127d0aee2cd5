"""What makes or holds images that are measured: a run of ours, a bundle, or anybody's folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.address import is_address
from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import RunError
from quire.artifacts.manifest import MANIFEST
from quire.builders.sources.folders import SUFFIXES
from quire.builders.sources.pictures import decode
from quire.builders.sources.source import Image
from quire.builders.sources.tree import UnfitError
from quire.loaders.stream import stream
from quire.train.engine.options import best_device
from quire.train.engine.runs import RUN, read_run
from quire.train.gan.run import Gan, trained
from quire.train.gan.steps import generated, to_signed

_BATCH = 128
_PURPOSE = "evaluated"  # of the noise: not that which the generator was measured on in training


@dataclass(frozen=True, slots=True)
class Images:
    """So many images, as often as they are asked for."""

    count: int
    batches: Callable[[], Iterator[Tensor]]  # (B, channels, H, W) float32 in [-1, 1]


def is_run(place: str) -> bool:
    """Whether a model of ours was trained there."""
    return not is_address(place) and (Path(place) / RUN).exists()


def holds_images(place: str) -> bool:
    """Whether images are to be measured here, and not what a model makes of others."""
    if is_run(place):
        return read_run(Path(place)).method == Gan.method
    return is_address(place) or Path(place).is_dir()


def digest_of_images(place: str) -> str:
    """What stands for the images of a bundle; for those of a folder, where it is."""
    return read_manifest(place).sha256 if _is_bundle(place) else place


def images_of(place: str, images: int | None, *, channels: int, device: str | None) -> Images:
    """So many of the images that are there; of a generator as many as in training, else all.

    Raises:
        RunError: there is nothing of the kind, or a run is not finished.
        BundleError: a bundle is damaged.
    """
    if is_run(place):
        _, config, pair = trained(Path(place))
        count, generator = images or config.samples, pair.generator.to(best_device(device))
        return Images(count, partial(generated, config, generator, _PURPOSE, count))
    if _is_bundle(place):
        batches = stream(place, columns=(), batch_size=_BATCH)
        count = min(images or len(batches.rows), len(batches.rows))
        rows = batches.rows[:count].tolist()
        return Images(count, partial(_of_bundle, place, rows))
    folder = Path(place)
    names = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:images]
    if not names:
        raise RunError(f"{folder} is no run: it has no {RUN}, no {MANIFEST} and no images")
    return Images(len(names), partial(_of_files, folder, names, channels))


def _is_bundle(place: str) -> bool:
    return is_address(place) or (Path(place) / MANIFEST).exists()


def _of_bundle(place: str, rows: list[int]) -> Iterator[Tensor]:
    for batch in stream(place, rows=rows, columns=(), batch_size=_BATCH):
        if not isinstance(batch["image"], Tensor):
            raise RunError(f"{place} has images of different sizes")
        yield to_signed(batch["image"])


def _of_files(folder: Path, names: list[Path], channels: int) -> Iterator[Tensor]:
    for start in range(0, len(names), _BATCH):
        pictures = [_decoded(path, channels) for path in names[start : start + _BATCH]]
        if len({picture.shape for picture in pictures}) > 1:
            raise RunError(f"{folder} has images of different sizes")
        yield to_signed(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def _decoded(path: Path, channels: int) -> Image:
    """(H, W, channels)."""
    try:
        pixels = decode(path.read_bytes())
    except UnfitError as unfit:
        raise RunError(f"{path} cannot be read: {unfit}") from unfit
    if channels == 1 and not (pixels == pixels[..., :1]).all():
        raise RunError(f"{path} is in colour; the bins are of grey images")
    return pixels[..., :channels]
