"""From an epoch's order to batches in hand."""

import os
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader

from quire.loaders.order import Epoch, Order, Positions, Rows
from quire.loaders.prefetch import ToDevice, ahead
from quire.loaders.reader import Batch, WindowsOf
from quire.loaders.sampler import Ranges, global_batches, part, slice_ranges, total

_DEPTH = 2  # batches made ahead of their use
_AHEAD = 2  # batches that a worker process makes ahead
_SHARED = Path("/dev/shm")
_NONE = np.empty(0, np.int64)


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


class ByRow(Protocol):
    """What reads the samples of a bundle in a folder, such as `quire.loaders.reader.Reader`.

    It travels to worker processes.
    """

    pin: bool  # whether tensors should be in pinned memory, where that costs nothing
    threads: int  # that decode

    @property
    def is_raw(self) -> bool:
        """Whether reading is so fast that a thread that reads ahead would cost more."""

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of some rows. (B,) -> a dict of tensors."""

    def begin(self, rows: Sequence[Rows], windows: WindowsOf) -> Iterable[Rows]:
        """An epoch begins, of batches of these rows. -> the same, each in time to be read.

        Reads may begin ahead of that; `windows` tells the numbers of those that the rows are in.
        """


class Batches:
    """The batches of one rank, and after each what is left of the epoch."""

    def __init__(
        self, reader: ByRow, order: Order, layout: Layout, device: torch.device | None
    ) -> None:
        self.reader = reader
        self.order = order
        self.layout = layout
        self.to_device = None if device is None else ToDevice(device)
        reader.pin = device is not None and device.type == "cuda" and layout.workers == 0
        self._processes: bool | None = None  # whether worker processes read; not known yet
        self._coming = _Coming()
        self._loader: DataLoader[Batch] | None = None

    def count(self, ranges: Ranges) -> int:
        """Full global batches, and unless dropped one more for the remainder."""
        whole, rest = divmod(total(ranges), self.layout.full)
        return whole + (rest > 0 and not self.layout.drop_last)

    def iterate(self, position: Position) -> Iterator[tuple[Batch, Ranges]]:
        """The batches from a position to the end of its epoch, each with what is left behind it."""
        layout, ranges = self.layout, position.ranges
        samples = total(ranges)
        epoch = self.order(position.epoch)
        left = _joined(ranges)
        spans = list(
            global_batches(
                0,
                samples,
                batch_size=layout.batch_size,
                world_size=layout.world_size,
                drop_last=layout.drop_last,
            )
        )
        own = shares(left, spans, epoch, layout)
        taken = epoch.rows.take(left)
        rows = [taken[start:stop] for start, stop in own]
        by_processes = self._by_processes(rows)
        coming: Iterable[Rows] = rows
        if not by_processes:
            coming = self.reader.begin(rows, partial(windows_of, epoch, left, own))
        batches = self._read(coming, by_processes=by_processes)
        for (_, stop), batch in zip(spans, batches, strict=True):
            yield batch, slice_ranges(ranges, stop, samples)

    def _by_processes(self, rows: Sequence[Rows]) -> bool:
        """Whether worker processes read.

        What need not be decoded they would only slow down; and what they make has to pass through
        shared memory, of which a container has 64 MB if nobody gave it more. Threads read then.
        """
        if self._processes is None:
            self._processes = bool(rows) and self.layout.workers > 0 and not self.reader.is_raw
            # A copy reads: of what it needs for that, worker processes must inherit nothing.
            if self._processes and not self._fits(copy(self.reader)[rows[0][:1]]):
                self._processes, self.reader.threads = False, self.layout.workers
        return self._processes

    def _fits(self, sample: Batch) -> bool:
        """Whether shared memory has space for the batches that worker processes make ahead."""
        parts = (part for value in sample.values() for part in value)
        size = sum(part.nbytes for part in parts if isinstance(part, torch.Tensor))
        batches = self.layout.workers * (1 + _AHEAD)
        return size * self.layout.batch_size * batches <= free_shared_memory()

    def _read(self, rows: Iterable[Rows], *, by_processes: bool) -> Iterator[Batch]:
        if by_processes:
            return handed_over(self._by_workers(rows), self.to_device)
        if self.to_device is None and self.reader.is_raw:
            return map(self.reader.__getitem__, rows)
        to_device = self.to_device

        def make(wanted: Rows) -> Any:
            batch = self.reader[wanted]
            return batch if to_device is None else to_device.start(batch)

        made = ahead(make, rows, depth=_DEPTH)
        return made if to_device is None else map(to_device.finish, made)

    def _by_workers(self, rows: Iterable[Rows]) -> Iterable[Batch]:
        """Worker processes are told which rows to read; they live as long as the stream."""
        self._coming.rows = rows
        if self._loader is None:
            self._loader = DataLoader(
                self.reader,  # type: ignore[arg-type]  # it has __getitem__, and needs no length
                batch_size=None,
                sampler=self._coming,
                num_workers=self.layout.workers,
                prefetch_factor=_AHEAD,
                collate_fn=_as_it_is,
                persistent_workers=True,
            )
        return self._loader


@dataclass
class _Coming:
    """The rows of the batches of an epoch, for a DataLoader that lives longer than that."""

    rows: Iterable[Rows] = ()

    def __iter__(self) -> Iterator[Rows]:
        return iter(self.rows)


def free_shared_memory() -> int:
    """Bytes that worker processes may hand over at a time; without Linux's limit, any number."""
    if not _SHARED.is_dir():
        return 1 << 62
    system = os.statvfs(_SHARED)
    return system.f_bavail * system.f_frsize


def shares(
    left: Positions, spans: Sequence[tuple[int, int]], epoch: Epoch, layout: Layout
) -> list[tuple[int, int]]:
    """What a rank takes of the batches that all ranks share.

    Args:
        left: positions in the epoch's order; within a batch they are put in the order in which
            ranks divide it.
        spans: where the batches begin and end in `left`.
        epoch: whose order it is.
        layout: the rank, and how many there are.

    Returns:
        Where the rank's part of each batch begins and ends in `left`.
    """
    if layout.world_size == 1:
        return [*spans]
    if epoch.places is not None:
        for start, stop in spans:
            left[start:stop] = epoch.divided(left[start:stop])
    return [part(*span, number=layout.rank, parts=layout.world_size) for span in spans]


def windows_of(
    epoch: Epoch, left: Positions, own: Sequence[tuple[int, int]]
) -> Sequence[Positions]:
    """The windows that the samples of batches are in, by number; see `shares` for the arguments."""
    windows = epoch.window_of(left)
    return [windows[start:stop] for start, stop in own]


def _joined(ranges: Ranges) -> Positions:
    """The positions of ranges, one after another."""
    if len(ranges) == 1:
        return np.arange(*ranges[0])
    return np.concatenate([_NONE, *(np.arange(start, stop) for start, stop in ranges)])


def handed_over(batches: Iterable[Batch], to_device: ToDevice | None) -> Iterator[Batch]:
    """Batches that something else makes ahead, on the device where there is one."""
    if to_device is None:
        return iter(batches)
    return map(to_device.finish, ahead(to_device.start, batches, depth=_DEPTH))


def _as_it_is(batch: Any) -> Any:
    return batch
