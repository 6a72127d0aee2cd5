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
from quire.artifacts.processors import memory, memory_in_use, processors
from quire.loaders.batches import Batches, Layout, Position
from quire.loaders.mixed_index import mixed_index
from quire.loaders.mixed_order import Mixed
from quire.loaders.mixed_reader import MixedReader
from quire.loaders.order import Blocks, Order, Rows, Sequential, Shuffle, Uniform, shuffled
from quire.loaders.reader import Batch, Reader
from quire.loaders.reading.opening import open_to_read, shards_of
from quire.loaders.sampler import Ranges
from quire.loaders.selection import Value, chosen, column_of

_WINDOWS = 3  # that are in memory at a time, at most


class Stream:
    """The batches of a bundle, or of several, for one rank; made by `stream`.

    `manifest` is that of the first bundle, and `rows` (N,) are those of it that an epoch delivers;
    `index` is of all bundles, their rows laid end to end.

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
        others: Sequence[tuple[Manifest, Rows]] = (),
    ) -> None:
        """`others` are further bundles, and the rows of them that are delivered."""
        self.manifest = manifest
        self.index = index
        self.rows = rows
        self._batches = batches
        wanted = hashlib.sha256(rows.tobytes())
        for other, further in others:
            wanted.update(f"{other.sha256} {len(further)}".encode() + further.tobytes())
        self._identity = {
            "bundle": manifest.sha256,
            "rows": wanted.hexdigest(),
            "order": batches.order.name,
            "seed": seed,
        }
        self._next = Position(0, self._whole)
        self._now: Position | None = None

    @property
    def _whole(self) -> Ranges:
        return [(0, len(self._batches.order))]

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
    bundle: str | os.PathLike[str] | Sequence[tuple[str | os.PathLike[str], float]],
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

    Several bundles are mixed by shares: `stream([(a, .7), (b, .3)])`. Every batch has each share,
    to less than one sample for each bundle after the first. An epoch is that of the first bundle;
    the others go round by themselves, and go on in the next epoch. `row` then counts the rows of
    all bundles laid end to end, and `bundle` (B,) int64 tells which each is of.

    Args:
        bundle: a folder, or an address (http, https, or another that fsspec knows); or several,
            each with its share.
        split: refuse the bundle when it is of another split.
        select: only samples whose column has this value, or one of these:
            `{"corruption": "fog", "severity": [1, 3]}`; of several bundles, of each.
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
        verify: check digests, not only sizes: of every shard when it is first needed, or where it
            is read in windows of every piece, and of the rest of the folder now.
        cache: a folder that keeps what comes from an address, for all processes of a machine;
            default: the environment variable QUIRE_CACHE, or none.
        cache_bytes: how much it keeps, about: what was used longest ago goes first; default: the
            environment variable QUIRE_CACHE_BYTES, or no limit.

    Raises:
        BundleError: the bundle is incomplete, damaged or hostile, or lacks what is asked for; or
            windows do not fit in memory, or the cache cannot be written.
        ValueError: rank, world size, batch size, workers, rows, shuffle or shares make no sense.
    """
    layout = Layout(batch_size, rank, world_size, workers, drop_last)
    places, shares = _places(bundle)
    if len(places) > 1 and rows is not None:
        raise ValueError("rows are those of one bundle; several are mixed by select")
    opened = [open_to_read(place, verify=verify) for place in places]
    if any(one.remote for one in opened):
        layout = replace(layout, workers=0)  # each worker process would fetch everything
    threads = decoders(threads, layout.workers)
    parts = []
    for number, one in enumerate(opened):
        _check_split(one.manifest, split)
        wanted = chosen(one.index, select, rows)
        for name in columns:
            column_of(one.index, name, "biuf")
        order = order_of(one.index, wanted, shuffle, _seed(seed, number))
        shards = shards_of(
            one,
            wanted,
            verify=verify,
            in_order=not shuffle,
            cache=cache,
            cache_bytes=cache_bytes,
        )
        parts.append((wanted, order, Reader(shards, wanted, columns=columns, threads=threads)))
    orders, readers = [order for _, order, _ in parts], [reader for *_, reader in parts]
    check_window(orders, world_size)
    target = None if device is None else torch.device(device)
    if len(places) == 1:
        index, batches = opened[0].index, Batches(readers[0], orders[0], layout, target)
    else:
        index = mixed_index(opened)
        mixed = Mixed(orders, [len(one.index) for one in opened], shares)
        batches = Batches(MixedReader(readers, mixed.firsts), mixed, layout, target)
    first, *others = [
        (one.manifest, wanted) for one, (wanted, *_) in zip(opened, parts, strict=True)
    ]
    return Stream(first[0], index, first[1], batches, seed=seed, others=others)


def _places(
    bundle: str | os.PathLike[str] | Sequence[tuple[str | os.PathLike[str], float]],
) -> tuple[list[str | os.PathLike[str]], list[float]]:
    """The bundles that are asked for, and the share of each."""
    if isinstance(bundle, str | os.PathLike):
        return [bundle], [1.0]
    if not bundle:
        raise ValueError("no bundle is named")
    if any(isinstance(one, str | os.PathLike) or len(one) != 2 for one in bundle):
        raise ValueError("several bundles are named with their shares: [(bundle, share), ...]")
    return [place for place, _ in bundle], [share for _, share in bundle]


def _seed(seed: int, number: int) -> int:
    """The seed of the order of a bundle among several: no two have the same order."""
    if number == 0:
        return seed
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0])


def check_window(orders: Sequence[Order], world_size: int) -> None:
    """Refuse windows of which a rank cannot hold its share of three: two, and one that ends.

    Raises:
        BundleError: memory is too small.
    """
    windows = [order.window for order in orders if isinstance(order, Blocks)]
    needed = _WINDOWS * sum(windows) // world_size
    if needed and needed > (there := memory() - memory_in_use()):
        raise BundleError(
            f"a shuffle by windows of {max(windows):,} bytes needs {needed:,} bytes of memory;"
            f" this process may use {max(0, there):,} more: take smaller windows, which are another"
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
