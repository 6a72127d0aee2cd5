"""Rows of a bundle in a folder become a batch of tensors."""

import math
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.bundle import Bundle, check_digest, check_size
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.members import IMAGES, RAW_IMAGE
from quire.artifacts.verify import shard_problem
from quire.loaders.decode import Array, decode, field, raw_shape
from quire.loaders.gather import gather
from quire.loaders.sampler import Rows

Batch: TypeAlias = dict[str, Any]  # tensors; a list where samples differ in size or are records

_SPARE = 4  # batches of about one size whose memory is kept; as many are under way at a time


class Memory:
    """Memory for batches, used again once nothing refers to the batch that was in it.

    Fresh memory has to be cleared by the kernel, which takes a tenth of the time in which
    photographs are decoded into it.
    """

    def __init__(self) -> None:
        self._spare: dict[int, list[memoryview]] = {}  # by the bit length of what they were for

    def empty(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array of bytes, whatever they are."""
        size = math.prod(shape)
        spare = self._spare.setdefault(size.bit_length(), [])
        memory = spare.pop() if spare else np.empty(1 << size.bit_length(), np.uint8).data
        whole = np.frombuffer(memory, np.uint8)  # alive as long as any view of it
        weakref.finalize(whole, _give_back, memory, spare).atexit = False
        return whole[:size].reshape(shape)


def _give_back(memory: memoryview, spare: list[memoryview]) -> None:
    if len(spare) < _SPARE:
        spare.append(memory)


class Reader:
    """Reads batches by row number; a shard is mapped, and checked, when it is first needed.

    Raw images of one size are gathered straight out of the mapped shards. Everything else is
    decoded, sample by sample, by as many threads as asked for.
    """

    def __init__(
        self, bundle: Bundle, rows: Rows, *, columns: Sequence[str], verify: bool, threads: int
    ) -> None:
        self.bundle = bundle
        self.columns = columns
        self.verify = verify
        self.threads = threads
        index = bundle.index
        self.members = members(index, columns)
        sizes = {e: _common(index.rows.lengths[e][rows]) for e in self.members}
        raw = {e for e in self.members if e.rpartition(".")[2] in RAW_IMAGE.values()}
        self.flat = {e: sizes[e] for e in self.members if e in raw and sizes[e]}
        self._any = rows[:1]
        self.raw: dict[str, tuple[bytes, tuple[int, int, int]]] = {}
        self.pin = False
        self._forget()

    def _forget(self) -> None:
        self._maps: dict[int, NDArray[np.uint8]] = {}
        self._mapped = np.zeros(len(self.bundle.index), np.bool_)
        self._pixels = {e: np.zeros(len(self._mapped), np.int64) for e in self.flat}  # addresses
        self._pool: ThreadPoolExecutor | None = None
        self._memory = Memory()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process: neither maps nor threads nor memory."""
        state = self.__dict__.copy()
        for name in ("_maps", "_mapped", "_pixels", "_pool", "_memory"):
            del state[name]
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __getitem__(self, rows: Rows) -> Batch:
        """The batch of some rows. (B,) -> see `quire.stream`.

        Raises:
            BundleError: a shard is missing, truncated or (with `verify`) damaged.
        """
        if not len(rows):
            return {name: values[:0] for name, values in self[self._any].items()}
        if not self._mapped[rows].all():
            for number in np.unique(self.bundle.index.shard[rows]):
                self._map(int(number))
        batch = {field(e): self._member(e, rows) for e in self.members}
        return batch | described(self.bundle.index, self.columns, rows)

    def _map(self, number: int) -> None:
        """Map a shard, once it is known to be the one that the manifest names."""
        if number in self._maps:
            return
        shard = self.bundle.manifest.shards[number]
        check_size(self.bundle.folder, shard.name, shard.bytes)
        rows = np.flatnonzero(self.bundle.index.shard == number)
        path = self.bundle.path(shard.name)
        if self.verify:
            check_digest(self.bundle.folder, shard)
            run = slice(int(rows[0]), int(rows[-1]) + 1)
            if problem := shard_problem(path, shard, self.bundle.index, run):
                raise BundleError(f"{path}: {problem}")
        tar = np.memmap(path, np.uint8, mode="r")
        for extension in self.flat:
            self._pixels[extension][rows] = tar.ctypes.data + self._pixel_offsets(
                extension, rows, tar, shard.name
            )
        self._maps[number] = tar
        self._mapped[rows] = True

    def _pixel_offsets(
        self, extension: str, rows: Rows, tar: NDArray[np.uint8], name: str
    ) -> NDArray[np.int64]:
        """Where the pixels of raw images lie in their shard. (N,) rows -> (N,).

        Raises:
            BundleError: two images of one byte size differ in shape.
        """
        index = self.bundle.index.rows
        offsets = index.offsets[extension][rows]
        usual = offsets[index.lengths[extension][rows] == self.flat[extension]]
        if extension not in self.raw:
            first = tar[usual[0] : usual[0] + self.flat[extension]]
            start, shape = raw_shape(first.data)
            self.raw[extension] = first[:start].tobytes(), shape
        header = np.frombuffer(self.raw[extension][0], np.uint8)
        if not (tar[usual[:, None] + np.arange(len(header))] == header).all():
            raise BundleError(f"{name}: its .{extension} images differ in size")
        return offsets + len(header)

    @property
    def is_raw(self) -> bool:
        """Whether nothing has to be decoded."""
        return len(self.flat) == len(self.members)

    def _member(self, extension: str, rows: Rows) -> Any:
        if extension in self.flat:
            return self._gathered(extension, rows)
        return stacked(extension, self._decoded(extension, rows))

    def _gathered(self, extension: str, rows: Rows) -> Tensor:
        _, (height, width, channels) = self.raw[extension]
        images = torch.empty(
            (len(rows), height, width, channels), dtype=torch.uint8, pin_memory=self.pin
        )
        gather(self._pixels[extension][rows], images.numpy().reshape(len(rows), -1))
        return images.permute(0, 3, 1, 2)

    def _decoded(self, extension: str, rows: Rows) -> Array | list[Any]:
        shards = self.bundle.index.shard[rows].tolist()
        offsets = self.bundle.index.rows.offsets[extension][rows].tolist()
        lengths = self.bundle.index.rows.lengths[extension][rows].tolist()
        maps = {number: self._maps[number].data for number in set(shards)}
        files = [
            maps[shard][offset : offset + length]
            for shard, offset, length in zip(shards, offsets, lengths, strict=True)
        ]
        if self._pool is None and self.threads > 1:
            self._pool = ThreadPoolExecutor(self.threads)
        return decode(extension, files, self._pool, self.threads, self._memory.empty)


def members(index: Index, columns: Sequence[str]) -> list[str]:
    """The members to read: all but a class id that the index gives already."""
    return [e for e in index.rows.offsets if e != "cls" or "label" not in columns]


def described(index: Index, columns: Sequence[str], rows: Rows) -> Batch:
    """What the index says of some rows: their numbers and the columns asked for, as tensors."""
    table = index.rows.columns
    return {"row": torch.from_numpy(rows)} | {
        name: torch.from_numpy(table[name][rows]) for name in columns
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


def _common(lengths: NDArray[np.int64]) -> int:
    """The length that all have; 0 where they differ, or there is none."""
    return int(lengths[0]) if len(lengths) and (lengths == lengths[0]).all() else 0
