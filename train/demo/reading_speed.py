"""How fast a bundle of raw images is read, beside plain webdataset on the same shards."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import torch
import webdataset
from torch import Tensor

from quire.artifacts.errors import BundleError
from quire.artifacts.members import RAW_IMAGE
from quire.loaders.decode import raw
from quire.loaders.selection import Value
from quire.loaders.stream import Stream, stream

REPEATS = 5
_EPOCHS = 20  # of ours for one of webdataset's, so that the clock has something to measure
_BATCH = 256

Batch: TypeAlias = tuple[Tensor, Tensor]  # images (B, C, H, W) uint8, labels (B,) int64


@dataclass(frozen=True, slots=True)
class Rates:
    """Throughput in images/s, each the median of the repeats, and how many images there are."""

    ours: float
    theirs: float
    images: int

    @property
    def ratio(self) -> float:
        """How many times as fast as webdataset."""
        return self.ours / self.theirs


def reading_speed(
    folder: Path, *, select: Mapping[str, Value | Collection[Value]], repeats: int = REPEATS
) -> Rates:
    """Read some samples of a bundle of raw images of one size both ways, in turns, and time it.

    The samples selected must be all those of their shards. Both ways deliver batches of uint8
    tensors with labels, in this process and from the page cache: ours in another random order in
    each epoch, webdataset's in the order of the shards.

    Raises:
        BundleError: the two do not deliver the same images and labels.
    """
    ordered = stream(folder, select=select, batch_size=_BATCH)
    numbers = np.unique(ordered.index.shard[ordered.rows])
    paths = [folder / ordered.manifest.shards[number].name for number in numbers]
    shuffled = stream(folder, select=select, batch_size=_BATCH, shuffle=True)
    with warnings.catch_warnings():
        # webdataset leaves its files to the garbage collector
        warnings.simplefilter("ignore", ResourceWarning)
        _check_same(_joined(_ours(ordered, 1)), _joined(_theirs(paths)))
        _rate(_ours(shuffled, 1))  # maps the shards
        rates = [(_rate(_ours(shuffled, _EPOCHS)), _rate(_theirs(paths))) for _ in range(repeats)]
    ours, theirs = map(median, zip(*rates, strict=True))
    return Rates(ours, theirs, len(ordered.rows))


def _ours(batches: Stream, epochs: int) -> Iterator[Batch]:
    for _ in range(epochs):
        for batch in batches:
            yield batch["image"], batch["label"]


def _theirs(paths: Sequence[Path]) -> Iterator[Batch]:
    """As webdataset is fastest: the pixels are taken from the bytes, without its decoders."""
    names = [str(path.absolute()) for path in paths]
    samples = webdataset.WebDataset(names, shardshuffle=False).map(_decoded)
    for images, labels in samples.batched(_BATCH):
        yield torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def _decoded(sample: Mapping[str, Any]) -> tuple[Any, int]:
    [image] = [sample[extension] for extension in RAW_IMAGE.values() if extension in sample]
    return raw(image), int(sample["cls"])


def _joined(batches: Iterable[Batch]) -> Batch:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def _check_same(ours: Batch, theirs: Batch) -> None:
    if not all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)):
        raise BundleError("webdataset reads other images from the shards than the index says")


def _rate(batches: Iterable[Batch]) -> float:
    """Throughput in images/s."""
    begin = perf_counter()
    images = sum(len(labels) for _, labels in batches)
    return images / (perf_counter() - begin)
