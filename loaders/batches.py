"""From an epoch's order to batches in hand: for a bundle in a folder, and for one at an address."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch.utils.data import DataLoader

from quire.loaders.prefetch import ToDevice, ahead
from quire.loaders.reader import Batch
from quire.loaders.remote import RemoteReader
from quire.loaders.sampler import (
    Ranges,
    Rows,
    global_batches,
    merged,
    part,
    shares,
    slice_ranges,
    total,
)

_DEPTH = 2  # batches made ahead of their use

Order: TypeAlias = Callable[[int], Rows]  # an epoch's rows, in order


@dataclass(frozen=True, slots=True)
class Position:
    """An epoch and what is left of it: ranges of positions in its order."""

    epoch: int
    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Layout:
    """How batches are shared out."""

    batch_size: int
    rank: int
    world_size: int
    workers: int
    drop_last: bool

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise ValueError(f"batch_size is {self.batch_size} and workers {self.workers}")
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank is {self.rank}; it must be in [0, {self.world_size})")

    @property
    def full(self) -> int:
        """Samples that all ranks use in a step."""
        return self.batch_size * self.world_size


class Batches(Protocol):
    """The batches of one rank, and after each what is left of the epoch."""

    def count(self, ranges: Ranges) -> int:
        """How many batches a rank makes of what is left."""

    def iterate(self, position: Position) -> Iterator[tuple[Batch, Ranges]]:
        """The batches from a position to the end of its epoch, each with what is left behind it."""


class ByRow(Protocol):
    """What reads the samples of a bundle in a folder, such as `quire.loaders.reader.Reader`.

    It travels to worker processes.
    """

    pin: bool  # whether tensors should be in pinned memory, where that costs nothing

    @property
    def is_raw(self) -> bool:
        """Whether reading is so fast that a thread that reads ahead would cost more."""

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of some rows. (B,) -> a dict of tensors."""


class LocalBatches:
    """Interleaved batches of a bundle in a folder; worker processes only when asked for."""

    def __init__(
        self, reader: ByRow, order: Order, layout: Layout, device: torch.device | None
    ) -> None:
        self.reader = reader
        self.order = order
        self.layout = layout
        self.to_device = None if device is None else ToDevice(device)
        reader.pin = device is not None and device.type == "cuda" and layout.workers == 0
        self._rows: list[Rows] = []  # of the epoch that the worker processes are reading
        self._loader: DataLoader[Batch] | None = None

    def count(self, ranges: Ranges) -> int:
        """Full global batches, and unless dropped one more for the remainder."""
        whole, rest = divmod(total(ranges), self.layout.full)
        return whole + (rest > 0 and not self.layout.drop_last)

    def iterate(self, position: Position) -> Iterator[tuple[Batch, Ranges]]:
        """See `Batches`."""
        layout, ranges = self.layout, position.ranges
        samples = total(ranges)
        order = self.order(position.epoch)
        left = np.concatenate([order[start:stop] for start, stop in ranges] or [order[:0]])
        spans = list(
            global_batches(
                0,
                samples,
                batch_size=layout.batch_size,
                world_size=layout.world_size,
                drop_last=layout.drop_last,
            )
        )
        rows = [
            left[slice(*part(start, stop, number=layout.rank, parts=layout.world_size))]
            for start, stop in spans
        ]
        for (_, stop), batch in zip(spans, self._read(rows), strict=True):
            yield batch, slice_ranges(ranges, stop, samples)

    def _read(self, rows: list[Rows]) -> Iterator[Batch]:
        if self.layout.workers:
            return handed_over(self._by_workers(rows), self.to_device)
        if self.to_device is None and self.reader.is_raw:
            return map(self.reader.__getitem__, rows)
        to_device = self.to_device

        def make(wanted: Rows) -> Any:
            batch = self.reader[wanted]
            return batch if to_device is None else to_device.start(batch)

        made = ahead(make, rows, depth=_DEPTH)
        return made if to_device is None else map(to_device.finish, made)

    def _by_workers(self, rows: list[Rows]) -> Iterable[Batch]:
        """Worker processes are told which rows to read; they live as long as the stream."""
        self._rows[:] = rows
        if self._loader is None:
            self._loader = DataLoader(
                self.reader,  # type: ignore[arg-type]  # it has __getitem__, and needs no length
                batch_size=None,
                sampler=self._rows,
                num_workers=self.layout.workers,
                collate_fn=_as_it_is,
                persistent_workers=True,
            )
        return self._loader


class RemoteBatches:
    """Batches of a bundle at an address: every worker of every rank reads a run of shards."""

    def __init__(
        self,
        reader: Callable[[list[list[Rows]]], RemoteReader],
        order: Order,
        layout: Layout,
        device: torch.device | None,
    ) -> None:
        self.reader = reader
        self.order = order
        self.layout = layout
        self.to_device = None if device is None else ToDevice(device)
        self.readers = max(1, layout.workers)  # of this rank

    def _shares(self, ranges: Ranges) -> list[list[int]]:
        return shares(
            total(ranges),
            parts=self.readers * self.layout.world_size,
            batch_size=self.layout.batch_size,
            drop_last=self.layout.drop_last,
        )

    def count(self, ranges: Ranges) -> int:
        """As many for each reader of this rank."""
        return self.readers * (len(self._shares(ranges)[0]) - 1)

    def iterate(self, position: Position) -> Iterator[tuple[Batch, Ranges]]:
        """See `Batches`."""
        ranges = position.ranges
        ends = self._shares(ranges)
        order = self.order(position.epoch)
        left = np.concatenate([order[start:stop] for start, stop in ranges] or [order[:0]])
        mine = ends[self.layout.rank * self.readers :][: self.readers]
        rows = [[left[a:b] for a, b in itertools.pairwise(own)] for own in mine]
        loader = DataLoader(
            self.reader(rows),
            batch_size=None,
            num_workers=self.layout.workers,
            collate_fn=_as_it_is,
        )
        for used, batch in enumerate(handed_over(loader, self.to_device), start=1):
            yield batch, self._left(ranges, ends, used)

    def _left(self, ranges: Ranges, ends: list[list[int]], used: int) -> Ranges:
        """What is left when every rank has used as many batches; its readers take turns."""
        samples = total(ranges)
        found: list[tuple[int, int]] = []
        for reader, own in enumerate(ends):
            turns = -(-(used - reader % self.readers) // self.readers)
            _, stop = part(0, samples, number=reader, parts=len(ends))
            found += slice_ranges(ranges, own[turns], stop)
        return merged(found)


def handed_over(batches: Iterable[Batch], to_device: ToDevice | None) -> Iterator[Batch]:
    """Batches that something else makes ahead, on the device where there is one."""
    if to_device is None:
        return iter(batches)
    return map(to_device.finish, ahead(to_device.start, batches, depth=_DEPTH))


def _as_it_is(batch: Any) -> Any:
    return batch
