"""A bundle as batches of tensors: exact epochs, and a state that resumes anywhere."""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.manifest import Manifest
from quire.artifacts.processors import memory, processors
from quire.loaders.batches import Batches, Layout, Position
from quire.loaders.decode import Array
from quire.loaders.order import Blocks, Order, Rows, Sequential, Shuffle, Uniform, shuffled
from quire.loaders.reader import Batch, Reader
from quire.loaders.reading.opening import open_to_read, shards_of
from quire.loaders.sampler import Ranges

Value = str | int | float
_WINDOWS = 3  # that are in memory at a time, at most


class Stream:
    """The batches of a bundle for one rank; made by `stream`.

    Each `iter()` begins the next epoch, with an order of its own where the stream is shuffled; the
    first one after `load_state_dict` goes on in the midst of one.
    """

    def __init__(
        self,
        manifest: Manifest,
        index: Index,
        rows: Rows,
        batches: Batches,
        *,
        seed: int,
    ) -> None:
        self.manifest = manifest
        self.index = index
        self.rows = rows
        self._batches = batches
        self._identity = {
            "bundle": manifest.sha256,
            "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
            "order": batches.order.name,
            "seed": seed,
        }
        self._next = Position(0, self._whole)
        self._now: Position | None = None

    @property
    def _whole(self) -> Ranges:
        return [(0, len(self.rows))]

    def __len__(self) -> int:
        """Batches of one epoch; the same for every rank."""
        return self._batches.count(self._whole)

    def __iter__(self) -> Iterator[Batch]:
        position = self._next
        self._next = Position(position.epoch + 1, self._whole)
        for batch, ranges in self._batches.iterate(position):
            self._now = Position(position.epoch, ranges)
            yield batch
        self._now = None

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin this epoch."""
        self._next, self._now = Position(epoch, self._whole), None

    def keys(self, rows: torch.Tensor) -> list[str]:
        """The keys of a batch's samples, from its `row`. (B,) int64 -> B keys."""
        return [key.decode() for key in self.index.rows.keys[rows.cpu().numpy()].tolist()]

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is: a batch that was handed over counts as used."""
        position = self._now or self._next
        if not self._batches.count(position.ranges):
            position = Position(position.epoch + 1, self._whole)
        ranges = [[int(start), int(stop)] for start, stop in position.ranges]
        return {**self._identity, "epoch": position.epoch, "remaining": ranges}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another stream was, whatever its rank, world size, workers and batch size.

        Raises:
            ValueError: the state is of another bundle, selection, order or seed.
        """
        for field, ours in self._identity.items():
            if state.get(field) != ours:
                raise ValueError(f"the state has {field} {state.get(field)!r}, not {ours!r}")
        ranges = [(int(start), int(stop)) for start, stop in state["remaining"]]
        self._next, self._now = Position(int(state["epoch"]), ranges), None


def stream(
    bundle: str | os.PathLike[str],
    *,
    split: str | None = None,
    select: Mapping[str, Value | Collection[Value]] | None = None,
    rows: Sequence[int] | None = None,
    columns: Sequence[str] = ("label",),
    batch_size: int = 256,
    shuffle: bool | Literal["full"] | Shuffle = False,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
    workers: int = 0,
    threads: int | None = None,
    device: str | torch.device | None = None,
    verify: bool = False,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int | None = None,
) -> Stream:
    """Stream a bundle as batches: dicts of tensors, one epoch for each `iter()`.

    A batch has `image` (B, C, H, W) uint8 in 0..255 (other members under their own names: `mask`
    (B, H, W) uint8 ids, `array`, `record`), the index columns asked for, such as `label` (B,)
    int64, and `row` (B,) int64, each sample's row in the index. Where samples differ in size a
    member is a list of B tensors. Nothing is normalised or augmented here.

    In an epoch each sample comes once over all ranks and workers, and every rank gets the same
    number of batches. The last may be smaller: what is left is shared out evenly, and where fewer
    samples than ranks are left the batch before gives some of its own. `drop_last` leaves out
    what does not fill a batch on every rank.

    The order of an epoch follows from the bundle, the selection, `seed`, the epoch's number and
    `shuffle` alone: not from ranks, workers, batch size, memory, or where the bundle lies.

    Args:
        bundle: a folder, or an address (http, https, or another that fsspec knows).
        split: refuse the bundle when it is of another split.
        select: only samples whose column has this value, or one of these:
            `{"corruption": "fog", "severity": [1, 3]}`.
        rows: only these rows of the index, in this order; not together with `select`.
        columns: numeric index columns to deliver.
        batch_size: samples of one batch on one rank.
        shuffle: another random order in every epoch. True: that of `quire.Shuffle()`, which is
            uniformly random where what is wanted takes at most 256 MiB, and else random blocks of
            1 MiB, mixed within windows of 256 MiB. A `quire.Shuffle` has other sizes; "full" is
            uniformly random whatever the size, and slow where the bundle is larger than memory.
            Of blocks, ranks share each window out, so with many a larger one mixes better.
        seed: of the shuffle.
        rank: this process's number among `world_size`.
        world_size: processes that share the epochs.
        drop_last: leave out the remainder.
        workers: processes that decode; 0 decodes in this one. Raw images, of which nothing is to
            be decoded, are read in this process whatever `workers` is, and so are bundles at an
            address, and batches too large for the machine's shared memory, by as many threads.
        threads: that decode in each process; default: the processors here, 1 with workers.
        device: where the batches' tensors are; on CUDA they are copied ahead from pinned memory.
        verify: check every shard's digest when it is first needed, not only its size, and the
            rest of the folder now.
        cache: a folder that keeps what comes from an address, for all processes of a machine;
            default: the environment variable QUIRE_CACHE, or none.
        cache_bytes: how much it keeps, about: what was used longest ago goes first; default: the
            environment variable QUIRE_CACHE_BYTES, or no limit.

    Raises:
        BundleError: the bundle is incomplete, damaged or hostile, or lacks what is asked for; or
            windows do not fit in memory, or the cache cannot be written.
        ValueError: rank, world size, batch size, workers, rows or shuffle make no sense.
    """
    layout = Layout(batch_size, rank, world_size, workers, drop_last)
    opened = open_to_read(bundle, verify=verify)
    manifest, index = opened.manifest, opened.index
    _check_split(manifest, split)
    wanted = chosen(index, select, rows)
    for name in columns:
        column_of(index, name, "biuf")
    order = order_of(index, wanted, shuffle, seed)
    check_window(order, world_size)
    shards = shards_of(
        opened,
        wanted,
        verify=verify,
        in_order=not shuffle,
        cache=cache,
        cache_bytes=cache_bytes,
    )
    if opened.remote:
        layout = replace(layout, workers=0)  # each worker process would fetch everything
    reader = Reader(shards, wanted, columns=columns, threads=decoders(threads, layout.workers))
    target = None if device is None else torch.device(device)
    batches = Batches(reader, order, layout, target)
    return Stream(manifest, index, wanted, batches, seed=seed)


def check_window(order: Order, world_size: int) -> None:
    """Refuse windows of which a rank cannot hold its share of three: two, and one that ends.

    Raises:
        BundleError: memory is too small.
    """
    if isinstance(order, Blocks):
        needed, there = _WINDOWS * order.window // world_size, memory()
        if needed > there:
            raise BundleError(
                f"a shuffle by windows of {order.window:,} bytes needs {needed:,} bytes of memory;"
                f" this process may use {there:,}: take smaller windows, which are another"
                " order (shuffle=quire.Shuffle(window=...))"
            )


def order_of(
    index: Index, rows: Rows, shuffle: bool | Literal["full"] | Shuffle, seed: int
) -> Order:
    """The order that `stream` is asked for, by its arguments.

    Raises:
        ValueError: it is none.
    """
    if shuffle is False:
        return Sequential(index, rows)
    if shuffle == "full":
        return Uniform(index, rows, seed)
    if shuffle is True:
        shuffle = Shuffle()
    if not isinstance(shuffle, Shuffle):
        raise ValueError(f'shuffle is {shuffle!r}; it must be True, False, "full" or a Shuffle')
    return shuffled(index, rows, shuffle, seed)


def decoders(threads: int | None, workers: int) -> int:
    """Threads that decode in each process: as asked, or the processors here, or 1 with workers."""
    return threads or (1 if workers else processors())


def _check_split(manifest: Manifest, split: str | None) -> None:
    found = manifest.identity.recipe.get("split")
    if split is not None and split != found:
        raise BundleError(f"the bundle is of split {found!r}, not {split!r}")


def chosen(
    index: Index,
    select: Mapping[str, Value | Collection[Value]] | None,
    rows: Sequence[int] | None,
) -> Rows:
    """The rows whose columns have the values asked for, in order; or those given. -> (M,).

    Raises:
        BundleError: there is no such column, or no such row.
        ValueError: of the rows given one is not there, there are none, or there is a selection too.
    """
    if rows is None:
        return _selected(index, select or {})
    wanted = np.asarray(rows, np.int64)
    if select or not len(wanted) or wanted.min() < 0 or wanted.max() >= len(index):
        raise ValueError(f"rows must be some of 0..{len(index) - 1}, and given without select")
    return wanted


def _selected(index: Index, select: Mapping[str, Value | Collection[Value]]) -> Rows:
    wanted = np.ones(len(index), np.bool_)
    for name, values in select.items():
        if isinstance(values, str | int | float):
            values = (values,)
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        wanted &= np.isin(column_of(index, name, "biufS"), encoded)
    rows = np.flatnonzero(wanted)
    if not len(rows):
        raise BundleError(f"no sample of the bundle fits {dict(select)}")
    return rows


def column_of(index: Index, name: str, kinds: str) -> Array:
    """A column of the index, when there is one of this name and of one of these numpy kinds.

    Raises:
        BundleError: there is none.
    """
    table = index.rows.columns
    if name in table and table[name].dtype.kind in kinds:
        return table[name]
    fitting = sorted(column for column in table if table[column].dtype.kind in kinds)
    raise BundleError(f"there is no column {name!r} here; there are: {', '.join(fitting)}")
