"""Blends that are made when they are read: a virtual bundle of `segmix` as batches.

Such a bundle has each scene once, and a table that says of every blend which two scenes, seen how,
in which proportion. Reading one decodes two scenes and crops and blends them, to the bytes that a
materialised bundle of the same recipe has before it encodes them.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.blend import blended
from quire.artifacts.bundle import Bundle
from quire.artifacts.crop import cropped, cropped_mask
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.segmix_table import Blends, read_blends, row_crop
from quire.artifacts.shards import Rows as IndexRows
from quire.loaders.batches import Batches, Layout
from quire.loaders.order import Rows
from quire.loaders.reader import Batch, Reader, WindowsOf
from quire.loaders.reading.opening import open_to_read, shards_of
from quire.loaders.selection import Value, chosen, column_of
from quire.loaders.stream import Stream, decoders, order_of

_COLUMNS = ("source_index", "partner_index", "cluster", "partner_cluster", "parts")
_IMAGES = {"jpg", "png", "ppm"}


def stream_pairs(
    bundle: str | os.PathLike[str],
    *,
    select: Mapping[str, Value | Collection[Value]] | None = None,
    rows: Sequence[int] | None = None,
    columns: Sequence[str] = (),
    batch_size: int = 16,
    shuffle: bool = False,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
    workers: int = 0,
    threads: int | None = None,
    device: str | torch.device | None = None,
    verify: bool = False,
    blend: bool = True,
) -> Stream:
    """Stream the blends of a virtual bundle; epochs, ranks and states are those of `quire.stream`.

    A batch has `image` (B, 3, S, S), `mask` (B, S, S) of the dominant scenes and `phantom` (B, S,
    S) of the others, all uint8; `parts` (B,) int64, how much of `quire.artifacts.blend.PARTS` is of
    the dominant scene; and `row` (B,) int64, the blend's row in the table.

    Args:
        bundle: its folder.
        select: only blends whose number in the table is this, or one of these:
            `{"cluster": 15}`; see `quire.artifacts.segmix_table`.
        rows: only these rows of the table, in this order; not together with `select`.
        columns: further numbers of the table to deliver, such as `source_index`.
        batch_size: blends of one batch on one rank.
        shuffle: another random order in every epoch, by `seed` and the epoch's number.
        seed: of the shuffle.
        rank: this process's number among `world_size`.
        world_size: processes that share the epochs.
        drop_last: leave out the remainder.
        workers: processes that read; 0 reads in this one.
        threads: that decode, crop and blend in each process; default: the processors here, 1 with
            workers.
        device: where the batches' tensors are.
        verify: check every shard's digest when it is first needed, not only its size.
        blend: False gives `image` and `phantom_image` as they are, to be blended on a device.

    Raises:
        BundleError: the bundle is incomplete, damaged or hostile, or stores no scenes to blend.
        ValueError: rank, world size, batch size, workers or rows make no sense.
    """
    layout = Layout(batch_size, rank, world_size, workers, drop_last)
    opened = open_to_read(bundle, verify=verify)
    blends = read_blends(opened)
    index = _index(blends)
    wanted = chosen(index, select, rows)
    further = {name: column_of(index, name, "i") for name in columns}
    scenes = np.arange(len(opened.index))
    shards = shards_of(opened, scenes, verify=verify, in_order=False)
    if opened.remote:
        layout = replace(layout, workers=0)  # each worker process would fetch everything
    read = Reader(shards, scenes, columns=(), threads=decoders(threads, layout.workers))
    reader = PairReader(opened, read, blends, further, threads=read.threads, blend=blend)
    target = None if device is None else torch.device(device)
    batches = Batches(reader, order_of(index, wanted, shuffle, seed), layout, target)
    return Stream(opened.manifest, index, wanted, batches, seed=seed)


def _index(blends: Blends) -> Index:
    """The blends as rows of an index, though no shard holds them."""
    columns = {name: getattr(blends, name).astype(np.int64) for name in _COLUMNS}
    return Index(np.zeros(len(blends), np.int32), IndexRows(blends.keys, {}, {}, columns))


class PairReader:
    """Reads batches of blends by their rows in the table."""

    is_raw = False

    def __init__(
        self,
        bundle: Bundle,
        scenes: Reader,
        blends: Blends,
        columns: Mapping[str, NDArray[Any]],
        *,
        threads: int,
        blend: bool,
    ) -> None:
        """`scenes` reads any scene of `bundle`.

        Raises:
            BundleError: a scene of the table is not there, or scenes have no image or mask.
        """
        self.pin = False
        self._scenes = scenes
        self._blends = blends
        self._columns = columns
        self.threads = threads
        self._blend = blend
        self._fill = _fill(bundle)
        self._pair = _rows_of_scenes(bundle, blends)
        self._pool: ThreadPoolExecutor | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process: no threads."""
        return {**self.__dict__, "_pool": None, "_scenes": copy(self._scenes)}

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of some rows. (B,) -> see `stream_pairs`.

        Raises:
            BundleError: a shard is missing, truncated or (with `verify`) damaged; or a scene is.
        """
        if not len(rows):
            return {name: values[:0] for name, values in self[np.zeros(1, np.int64)].items()}
        needed, places = np.unique(self._pair[rows].T, return_inverse=True)
        scenes = self._scenes[needed]  # each is decoded once, whoever shares it
        first, second = places.reshape(2, len(rows)).tolist()
        views = self._views(rows)
        pixels = list(zip(*self._each(scenes, first, second, views), strict=True))
        names = ("image", "mask", "phantom") if self._blend else _APART
        made = {
            name: torch.from_numpy(np.stack(arrays))
            for name, arrays in zip(names, pixels, strict=True)
        }
        batch = {n: one.movedim(-1, 1) if one.ndim == 4 else one for n, one in made.items()}
        numbers = {"parts": self._blends.parts.astype(np.int64), **self._columns}
        told = {name: torch.from_numpy(column[rows]) for name, column in numbers.items()}
        return {**batch, **told, "row": torch.from_numpy(rows)}

    def begin(self, rows: Sequence[Rows], windows: WindowsOf) -> Iterable[Rows]:
        """The same: of scenes nobody knows which are next to each other."""
        return rows

    def _views(self, rows: Rows) -> list[tuple[list[int], list[int], int]]:
        """Two crops and the parts of each blend."""
        table = self._blends
        columns = (table.crop, table.partner_crop, table.parts)
        return list(zip(*(column[rows].tolist() for column in columns), strict=True))

    def _each(
        self, scenes: Batch, first: list[int], second: list[int], views: list[Any]
    ) -> Iterable[tuple[NDArray[np.uint8], ...]]:
        images = [_array(image) for image in scenes["image"]]
        masks = [mask.numpy() for mask in scenes["mask"]]

        def one(dominant: int, partner: int, view: Any) -> tuple[NDArray[np.uint8], ...]:
            crop, partner_crop = row_crop(view[0]), row_crop(view[1])
            image = cropped(images[dominant], crop, fill=self._fill)
            other = cropped(images[partner], partner_crop, fill=self._fill)
            shown = cropped_mask(masks[dominant], crop), cropped_mask(masks[partner], partner_crop)
            if self._blend:
                return blended(image, other, view[2]), *shown
            return image, *shown, other

        if self.threads < 2:
            return map(one, first, second, views)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads)
        return self._pool.map(one, first, second, views)


_APART = ("image", "mask", "phantom", "phantom_image")


def _array(image: Tensor) -> NDArray[np.uint8]:
    """(3, H, W) -> (H, W, 3)."""
    if len(image) != 3:
        raise BundleError(f"a scene has {len(image)} channels; blends are made of three")
    array: NDArray[np.uint8] = image.movedim(0, -1).numpy()
    return array


def _fill(bundle: Bundle) -> tuple[int, int, int]:
    """The colour beside a scene, as the recipe has it."""
    fill = bundle.manifest.identity.recipe.get("fill")
    if (
        not isinstance(fill, list)
        or len(fill) != 3
        or not all(isinstance(level, int) and 0 <= level <= 255 for level in fill)
    ):
        raise BundleError(f"{bundle}: the recipe has no colour to fill with, but {fill!r}")
    return fill[0], fill[1], fill[2]


def _rows_of_scenes(bundle: Bundle, blends: Blends) -> NDArray[np.int64]:
    """Where the scenes of each blend lie: rows of the bundle's index. -> (M, 2)."""
    index = bundle.index
    there = set(index.rows.offsets)
    if "mask.png" not in there or "phantom.png" in there or len(there & _IMAGES) != 1:
        raise BundleError(f"{bundle} stores no scenes to blend: it is no virtual bundle")
    numbers = column_of(index, "source_index", "i")
    order = np.argsort(numbers, kind="stable")
    asked = np.stack([blends.source_index, blends.partner_index], axis=1).astype(np.int64)
    places = np.searchsorted(numbers[order], asked).clip(max=len(numbers) - 1)
    found: NDArray[np.int64] = order[places]
    if (numbers[found] != asked).any():
        raise BundleError(f"{bundle}: a blend is of a scene that the bundle does not have")
    return found
