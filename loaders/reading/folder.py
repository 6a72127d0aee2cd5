"""The shards of a bundle in a folder."""

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from quire.artifacts.bundle import check_digest, check_size
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, ShardPieces
from quire.artifacts.manifest import Manifest
from quire.artifacts.pieces import damaged
from quire.artifacts.processors import memory
from quire.artifacts.verify import shard_problem
from quire.loaders.order import Rows, extents
from quire.loaders.reading.held import Ahead, Bytes, Held
from quire.loaders.reading.mapped import Mapped, expect_random, in_memory, map_file
from quire.loaders.reading.reads import PieceReads, Read
from quire.loaders.reading.windows import PAGE, Windows

_LOOKS = 64  # samples that stand for all of them
_READS = 8  # at a time
_CACHED = 0.75  # of memory: a bundle that takes more is not worth caching
_SMALL = 1 << 16  # bytes of a sample: the system reads twice as many around a page that it lacks


class Folder:
    """Shards in a folder, checked when they are first needed.

    What is in the page cache is read where it lies, by mapping the shards. What is not is read in
    windows: a page fault would read 128 KB for a sample of 5, or a page at a time.

    With `verify` a shard that is mapped is checked whole when it is first needed, and what is read
    in windows piece by piece, each time.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, index: Index, *, verify: bool, in_order: bool
    ) -> None:
        """`in_order`: samples are read as they follow one another, which the system sees itself."""
        self.folder = folder
        self.manifest = manifest
        self.index = index
        self.verify = verify
        self.in_order = in_order
        sizes = sum(shard.bytes for shard in manifest.shards)
        self.small = sizes < _SMALL * len(index)
        self.direct = sizes > _CACHED * memory()
        self._start()

    def _start(self) -> None:
        self._mapped = Mapped(self.index, self._map)
        self._seen = self._mapped  # to look what is in memory, for which nothing need be checked
        if self.verify:
            self._seen = Mapped(self.index, lambda number: map_file(self._sized(number)))
        self._windows: Windows | None = None  # of an epoch that does not lie in memory
        self._checked: set[int] = set()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker process."""
        return {name: value for name, value in self.__dict__.items() if name[0] != "_"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def held(self, rows: Rows) -> Held:
        """See `quire.loaders.reading.held.Shards`."""
        return (self._windows or self._mapped).held(rows)

    def expect(self, rows: Rows) -> Ahead | None:
        """See `quire.loaders.reading.held.Shards`."""
        if self._windows is not None:
            self._windows.clear()
        if self.in_order or self._is_in_memory(rows):
            self._windows = None
            return None
        if self._windows is None:
            reads = None if self._pieces is None else PieceReads(self.index, self._pieces)
            self._windows = Windows(
                self.index, self.manifest.shards, self._fill, threads=_READS, reads=reads
            )
        return self._windows

    @property
    def _pieces(self) -> ShardPieces | None:
        """By which windows are checked; a bundle of format 1 has none, and whole shards are."""
        return self.index.pieces if self.verify else None

    def _is_in_memory(self, rows: Rows) -> bool:
        """Whether samples are in the page cache, as far as a few of them tell."""
        some = rows[:: max(1, len(rows) // _LOOKS)]
        _, ends = extents(self.index, some)
        held = self._seen.held(some)
        return in_memory(held.addresses + ends - 1)

    def _map(self, number: int) -> Bytes:
        tar = map_file(self._shard(number))
        if self.small and not self.in_order:
            expect_random(tar)
        return tar

    def _fill(self, read: Read, slot: Bytes) -> None:
        """See `quire.loaders.reading.windows.Fill`."""
        path = self._sized(read.shard) if self._pieces else self._shard(read.shard)
        try:
            try:
                done = _read(path, read, slot, direct=self.direct)
            except OSError:  # not every file system can read past the page cache
                done = _read(path, read, slot, direct=False)
        except OSError as error:
            raise BundleError(f"{path} cannot be read ({error})") from error
        if not done:
            raise BundleError(f"{path} ends early")
        if self._pieces is not None:
            own = slot[read.start % PAGE :][: read.stop - read.start]
            pieces = self._pieces.between(read.shard, read.start, read.stop)
            if problem := damaged(pieces, read.start, own.data):
                raise BundleError(f"{path} {problem}")

    def _sized(self, number: int) -> Path:
        """The file of a shard, once it is known to be as long as the manifest says."""
        shard = self.manifest.shards[number]
        check_size(self.folder, shard.name, shard.bytes)
        return self.folder / shard.name

    def _shard(self, number: int) -> Path:
        """The file of a shard, once it is known to be the one that the manifest names."""
        shard = self.manifest.shards[number]
        with self._lock:
            if number not in self._checked:
                path = self._sized(number)
                if self.verify:
                    check_digest(self.folder, shard)
                    first = int(np.searchsorted(self.index.shard, number))
                    rows = slice(first, first + shard.samples)
                    if problem := shard_problem(path, shard, self.index, number, rows):
                        raise BundleError(f"{path}: {problem}")
                self._checked.add(number)
        return self.folder / shard.name


def _read(path: Path, read: Read, slot: Bytes, *, direct: bool) -> bool:
    """See `quire.loaders.reading.windows.Fill`; False if the file ends early.

    Raises:
        OSError: the file cannot be read, or not past the page cache.
    """
    flags = os.O_RDONLY | (getattr(os, "O_DIRECT", 0) if direct else 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:
        place = read.start - read.start % PAGE
        file.seek(place)
        while place < read.stop:
            if not (count := file.readinto(slot.data)):
                return False
            slot, place = slot[count:], place + count
        return True
