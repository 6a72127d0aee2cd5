"""Loaders of the same images, ours and others, each as epochs of batches of tensors."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import webdataset as wds
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.timing import Run
from quire.loaders.order import epoch_rng
from quire.loaders.stream import stream

Batch: TypeAlias = Mapping[str, Tensor]  # image (B, 3, H, W), with label (B,) or mask (B, H, W)
Epochs: TypeAlias = Callable[[], Iterable[Batch]]  # each call begins an epoch
Loader: TypeAlias = Callable[[], Epochs]  # makes what then gives epochs

_BUFFER = 1000  # samples among which webdataset shuffles
_NAMES = {"ppm": "image", "jpg": "image", "cls": "label", "mask.png": "mask"}


def drained(load: Loader) -> Run:
    """Make a loader; each run takes all batches of an epoch."""
    epochs = load()
    return lambda: sum(len(batch["image"]) for batch in epochs())


def sums(batches: Iterable[Batch], names: Sequence[str]) -> list[tuple[int, ...]]:
    """What the samples of an epoch add up to, in whatever order they came."""
    found: list[tuple[int, ...]] = []
    for batch in batches:
        columns = [batch[name].long().reshape(len(batch[name]), -1).sum(1) for name in names]
        found += zip(*(column.tolist() for column in columns), strict=True)
    return sorted(found)


def ours(folder: Path, batch_size: int, *, labels: bool, workers: int, threads: int) -> Epochs:
    """This project's stream, shuffled over the whole bundle."""
    batches = stream(
        folder,
        columns=("label",) if labels else (),
        batch_size=batch_size,
        shuffle=True,
        workers=workers,
        threads=threads,
    )
    return lambda: batches


def in_memory(images: NDArray[np.uint8], labels: NDArray[np.int64], batch_size: int) -> Epochs:
    """Fancy indexing into an array: what no loader that reads from elsewhere can be asked to beat.

    (N, H, W, 3), (N,); the order is that of `ours`.
    """
    epoch = iter(range(1 << 62))
    every = np.arange(len(images))

    def batches() -> Iterator[Batch]:
        order = epoch_rng(0, next(epoch)).permutation(every)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            pixels = torch.from_numpy(images[rows]).permute(0, 3, 1, 2)
            yield {"image": pixels, "label": torch.from_numpy(labels[rows])}

    return batches


def tars(paths: Sequence[Path], *, shuffle: bool = True) -> Any:
    """The samples of tars as files, by webdataset as its documentation has it."""
    urls = [str(path) for path in paths]
    samples = wds.WebDataset(urls, shardshuffle=len(urls) if shuffle else False, seed=0)
    return samples.shuffle(_BUFFER) if shuffle else samples


def webdataset(
    paths: Sequence[Path], batch_size: int, *, decode: Any, members: Sequence[str], workers: int
) -> Epochs:
    """Plain webdataset: decoded to arrays, shuffled, batched."""
    samples = tars(paths).decode(decode).to_tuple(*members)
    names = [_NAMES[member] for member in members]
    batches = samples.batched(batch_size, collation_fn=partial(_tensors, names))
    if not workers:
        return lambda: batches
    loader = DataLoader(batches, batch_size=None, num_workers=workers, persistent_workers=True)
    return lambda: loader


def by_pillow(key: str, data: bytes) -> NDArray[np.uint8] | None:
    """A decoder for webdataset that, unlike its own, leaves palette ids as they are."""
    if not key.endswith((".jpg", ".png")):
        return None
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


def _tensors(names: Sequence[str], samples: Sequence[tuple[Any, ...]]) -> Batch:
    arrays = [torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True)]
    return {
        name: array.permute(0, 3, 1, 2) if name == "image" else array
        for name, array in zip(names, arrays, strict=True)
    }


def write_litdata(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """The images as litdata keeps arrays.

    Raises:
        ImportError: litdata is not here.
    """
    import litdata

    litdata.optimize(
        partial(_sample, images, labels),
        list(range(len(images))),
        str(folder),
        chunk_bytes="64MB",
        num_workers=1,
        start_method=multiprocessing.get_start_method(),  # its own would stay set for all others
        verbose=False,
    )


def _sample(images: NDArray[np.uint8], labels: NDArray[np.int64], row: int) -> dict[str, Any]:
    return {"image": images[row], "label": int(labels[row])}


def litdata(folder: Path, batch_size: int, *, workers: int) -> Epochs:
    """litdata's streaming of arrays, shuffled."""
    import litdata

    loader = litdata.StreamingDataLoader(
        litdata.StreamingDataset(str(folder), shuffle=True),
        batch_size=batch_size,
        num_workers=workers,
        shuffle=True,
        persistent_workers=workers > 0,
    )

    def batches() -> Iterator[Batch]:
        for batch in loader:
            yield {"image": batch["image"].permute(0, 3, 1, 2), "label": batch["label"]}

    return batches


def litdata_of(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], batch_size: int
) -> Epochs:
    """Images written and streamed by litdata, in this process.

    Raises:
        ImportError: litdata is not here.
    """
    write_litdata(folder, images, labels)
    return litdata(folder, batch_size, workers=0)


def mosaicml(
    folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], batch_size: int
) -> Epochs:
    """Images written and streamed by mosaicml's streaming, shuffled, in this process.

    Raises:
        ImportError: it is not here.
    """
    from streaming import MDSWriter

    columns = {"image": f"ndarray:uint8:{','.join(map(str, images.shape[1:]))}", "label": "int"}
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for image, label in zip(images, labels.tolist(), strict=True):
            writer.write({"image": image, "label": label})
    return _mosaicml(batch_size, local=str(folder))


def mosaicml_from(remote: str, local: Path, batch_size: int) -> Epochs:
    """Images that lie at an address, as mosaicml's streaming wrote them; it keeps copies here.

    Raises:
        ImportError: it is not here.
    """
    return _mosaicml(batch_size, remote=remote, local=str(local))


def _mosaicml(batch_size: int, **place: str) -> Epochs:
    from streaming import StreamingDataset

    dataset = StreamingDataset(shuffle=True, batch_size=batch_size, **place)
    loader = DataLoader(dataset, batch_size=batch_size, collate_fn=_joined)
    return lambda: loader


def _joined(samples: Sequence[Mapping[str, Any]]) -> Batch:
    names = ("image", "label")
    return _tensors(names, [tuple(sample[name] for name in names) for sample in samples])
