"""What makes or holds images that are measured: a run of ours, a bundle, or anybody's folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.address import is_address, place_of
from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import RunError
from quire.artifacts.manifest import MANIFEST
from quire.builders.sources.folders import SUFFIXES
from quire.builders.sources.pictures import decode
from quire.builders.sources.tree import UnfitError
from quire.loaders.stream import stream
from quire.train.engine.options import best_device
from quire.train.engine.runs import RUN, read_run
from quire.train.gan.run import Gan, trained
from quire.train.gan.steps import generated, to_signed

_BATCH = 128
_PURPOSE = "evaluated"  # of the noise: not that which the generator was measured on in training


@dataclass(frozen=True, slots=True)
class Subject:
    """Images to be measured, by where they are or who makes them."""

    place: str  # a run, a bundle, an address of one, or a folder of image files

    @property
    def is_run(self) -> bool:
        """Whether a generator of ours makes them."""
        return (Path(self.place) / RUN).exists()

    def batches(self, images: int | None, channels: int, device: str | None) -> Iterator[Tensor]:
        """So many of them in batches. -> (B, channels, H, W) float32 in [-1, 1].

        Of a generator as many as in training unless said; else all.

        Raises:
            RunError: there is nothing of the kind, or files are no images.
            BundleError: a bundle is damaged.
        """
        if self.is_run:
            _, config, pair = trained(Path(self.place))
            generator = pair.generator.to(best_device(device))
            return generated(config, generator, _PURPOSE, images or config.samples)
        if self._is_bundle:
            return _of_bundle(self.place, images)
        return _of_files(Path(self.place), images, channels)

    @property
    def _is_bundle(self) -> bool:
        return is_address(self.place) or (Path(self.place) / MANIFEST).exists()

    @property
    def digest(self) -> str | None:
        """What stands for a bundle's images; nothing stands for those of a folder."""
        return read_manifest(place_of(self.place)).sha256 if self._is_bundle else None


def is_subject(place: str) -> bool:
    """Whether images are to be measured here, and not what a model makes of them."""
    if not (Path(place) / RUN).exists():
        return is_address(place) or Path(place).is_dir()
    return read_run(Path(place)).method == Gan.method


def _of_bundle(place: str, images: int | None) -> Iterator[Tensor]:
    batches = stream(place, columns=(), batch_size=_BATCH)
    left = images
    for batch in batches:
        found = batch["image"]
        if not isinstance(found, Tensor):
            raise RunError(f"{place} has images of different sizes")
        yield to_signed(found[:left])
        if left is not None and (left := left - len(found)) <= 0:
            return


def _of_files(folder: Path, images: int | None, channels: int) -> Iterator[Tensor]:
    """The image files below a folder, by their names."""
    names = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not names:
        raise RunError(f"{folder} is no run: it has no {RUN}, no {MANIFEST} and no images")
    chosen = names[:images]
    for start in range(0, len(chosen), _BATCH):
        pictures = [_decoded(path, channels) for path in chosen[start : start + _BATCH]]
        if len({picture.shape for picture in pictures}) > 1:
            raise RunError(f"{folder} has images of different sizes")
        yield to_signed(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))


def _decoded(path: Path, channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W, channels)."""
    try:
        pixels = decode(path.read_bytes())
    except UnfitError as unfit:
        raise RunError(f"{path} cannot be read: {unfit}") from unfit
    if channels == 1 and not (pixels == pixels[..., :1]).all():
        raise RunError(f"{path} is in colour; the bins are of grey images")
    return pixels[..., :channels]
