"""Rows of a bundle become a batch of tensors."""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.members import IMAGES, RAW_IMAGE
from quire.loaders.decode import Array, decode, field, raw_shape
from quire.loaders.gather import gather
from quire.loaders.order import Positions, Rows
from quire.loaders.reading.held import Held, Shards
from quire.loaders.reading.lookahead import ahead_of
from quire.loaders.reading.memory import Memory

# Of each row of each batch, the number of the window that it is in.
WindowsOf: TypeAlias = Callable[[], Sequence[Positions]]
Batch: TypeAlias = dict[str, Any]  # tensors; a list where samples differ in size or are records


class Reader:
    """Reads batches by row number; a shard is opened when it is first needed.

    Raw images of one size are gathered straight out of the mapped shards. Everything else is
    decoded, sample by sample, by as many threads as asked for.
    """

    def __init__(self, shards: Shards, rows: Rows, *, columns: Sequence[str], threads: int) -> None:
        """Of the rows that will be read, all of them count: do they differ in size?"""
        self.shards = shards
        self.columns = columns
        self.threads = threads
        index = shards.index
        self.members = members(index, columns)
        sizes = {e: _common(index.rows.lengths[e], rows) for e in self.members}
        raw = {e for e in self.members if e.rpartition(".")[2] in RAW_IMAGE.values()}
        self.flat = {e: sizes[e] for e in self.members if e in raw and sizes[e]}
        self._any = rows[:1]
        self.pin = False
        self._start()

    def _start(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._memory = Memory()
        self._raw: dict[str, tuple[NDArray[np.uint8], tuple[int, int, int]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process: neither threads nor memory."""
        return {name: value for name, value in self.__dict__.items() if name not in _OWN}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of some rows. (B,) -> see `quire.stream`.

        Raises:
            BundleError: a shard is missing, truncated or damaged; or raw images differ in size.
        """
        if not len(rows):
            return {name: values[:0] for name, values in self[self._any].items()}
        held = self.shards.held(rows)
        batch = {field(e): self._member(e, rows, held) for e in self.members}
        return batch | described(self.shards.index, self.columns, rows)

    def begin(self, rows: Sequence[Rows], windows: WindowsOf) -> Iterable[Rows]:
        """The same batches, of which the shards are read ahead where that takes any reads.

        See `quire.loaders.batches.ByRow`.
        """
        ahead = self.shards.expect(np.concatenate(rows)) if rows else None
        return rows if ahead is None else ahead_of(rows, windows(), ahead)

    @property
    def is_raw(self) -> bool:
        """Whether nothing has to be decoded."""
        return len(self.flat) == len(self.members)

    def _member(self, extension: str, rows: Rows, held: Held) -> Any:
        if extension in self.flat:
            return self._gathered(extension, rows, held)
        return stacked(extension, self._decoded(extension, rows, held))

    def _gathered(self, extension: str, rows: Rows, held: Held) -> Tensor:
        """Raw images.

        Raises:
            BundleError: two images of one byte size differ in shape.
        """
        sources = held.addresses + self.shards.index.rows.offsets[extension].take(rows)
        if extension not in self._raw:
            file = ctypes.string_at(int(sources[0]), self.flat[extension])
            start, shape = raw_shape(file)
            self._raw[extension] = np.frombuffer(file[:start], np.uint8), shape
        header, (height, width, channels) = self._raw[extension]
        images = torch.empty(
            (len(rows), height, width, channels), dtype=torch.uint8, pin_memory=self.pin
        )
        other = gather(sources, header, images.numpy().reshape(len(rows), -1))
        if other >= 0:
            key = self.shards.index.rows.keys[rows[other]].decode()
            raise BundleError(f"{key}.{extension} has another size than other images of its length")
        return images.permute(0, 3, 1, 2)

    def _decoded(self, extension: str, rows: Rows, held: Held) -> Array | list[Any]:
        starts = (held.begins + self.shards.index.rows.offsets[extension][rows]).tolist()
        lengths = self.shards.index.rows.lengths[extension][rows].tolist()
        which = held.which.tolist()
        views = {number: held.arrays[number].data for number in set(which)}
        files = [
            views[number][start : start + length]
            for number, start, length in zip(which, starts, lengths, strict=True)
        ]
        if self._pool is None and self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads)
        return decode(extension, files, self._pool, self.threads, self._memory.empty)


_OWN = {"_pool", "_memory", "_raw"}  # of a process


def members(index: Index, columns: Sequence[str]) -> list[str]:
    """The members to read: all but a class id that the index gives already."""
    return [e for e in index.rows.offsets if e != "cls" or "label" not in columns]


def described(index: Index, columns: Sequence[str], rows: Rows) -> Batch:
    """What the index says of some rows: their numbers and the columns asked for, as tensors."""
    table = index.rows.columns
    return {"row": torch.from_numpy(rows)} | {
        name: torch.from_numpy(table[name].take(rows)) for name in columns
    }


def stacked(extension: str, decoded: Array | list[Any]) -> Any:
    """One member of several samples as a tensor, images channels first.

    Samples of different shapes stay a list of tensors, records a list.
    """
    if extension.endswith("json"):
        return decoded
    if isinstance(decoded, list):
        return [_tensor(extension, array) for array in decoded]
    return _tensor(extension, decoded)


def _tensor(extension: str, array: Array) -> Tensor:
    """Arrays as they are; of images, whether one or many, the channels before the rows."""
    tensor = torch.from_numpy(array)
    return tensor.movedim(-1, -3) if extension in IMAGES else tensor


def _common(lengths: NDArray[np.int64], rows: Rows) -> int:
    """The length that all of some rows have; 0 where they differ, or there is none."""
    if lengths.strides != (0,):  # else the index says that it is one number
        lengths = lengths[rows]
        if not (lengths == lengths[:1]).all():
            return 0
    return int(lengths[0]) if len(lengths) else 0
