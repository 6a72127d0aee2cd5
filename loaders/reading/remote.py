"""The shards of a bundle at an address, in pieces or whole.

Whatever is fetched is held against a digest before it is used. So a connection that drops or a body
that ends early is tried again, and then an error that names the file, never a shorter epoch.
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np

from quire.artifacts.address import Address
from quire.artifacts.errors import BundleError
from quire.artifacts.http_folder import WholeOnly
from quire.artifacts.index import Index, ShardPieces
from quire.artifacts.manifest import Manifest
from quire.artifacts.pieces import Piece, damaged
from quire.loaders.order import Rows, Shuffle
from quire.loaders.reading.cache import Cache
from quire.loaders.reading.held import Ahead, Bytes, Held
from quire.loaders.reading.mapped import Mapped, map_open
from quire.loaders.reading.reads import PieceReads, Read
from quire.loaders.reading.windows import PAGE, Windows

CONNECTIONS = 32  # parts that are fetched at a time
_WHOLE = 8  # shards that are
_SMALL = Shuffle.window  # bytes of shards that are fetched whole


def remote_shards(
    address: Address, manifest: Manifest, index: Index, rows: Rows, cache: Cache | None
) -> "PieceShards | WholeShards":
    """The shards that some rows lie in: whole, where they are small or cannot be had in pieces.

    Raises:
        BundleError: the first piece cannot be had.
    """
    sizes = np.array([shard.bytes for shard in manifest.shards])
    if index.pieces is not None and sizes[np.unique(index.shard[rows])].sum() > _SMALL:
        shards = PieceShards(address, manifest, index, index.pieces, cache)
        try:
            shards.held(rows[:1])
        except WholeOnly:
            pass
        else:
            return shards
    return WholeShards(address, manifest, index, cache)


class PieceShards:
    """Shards of which pieces are fetched a window ahead of their use, many at a time."""

    def __init__(
        self,
        address: Address,
        manifest: Manifest,
        index: Index,
        pieces: ShardPieces,
        cache: Cache | None,
    ) -> None:
        self.address = address
        self.cache = cache
        self.manifest = manifest
        self.index = index
        self.pieces = pieces
        reads = PieceReads(index, pieces)
        self._windows = Windows(
            index, manifest.shards, self._fill, threads=CONNECTIONS, reads=reads
        )

    def held(self, rows: Rows) -> Held:
        """See `quire.loaders.reading.held.Shards`."""
        return self._windows.held(rows)

    def expect(self, rows: Rows) -> Ahead:
        """See `quire.loaders.reading.held.Shards`."""
        self._windows.clear()
        return self._windows

    def _fill(self, read: Read, slot: Bytes) -> None:
        """See `quire.loaders.reading.windows.Fill`."""
        own = slot[read.start % PAGE :][: read.stop - read.start]
        pieces = self.pieces.between(read.shard, read.start, read.stop)
        if self.cache is not None and self._cached(self.cache, pieces, read.start, own):
            return
        name = self.manifest.shards[read.shard].name
        self.address.read_part(
            name, read.start, own.data, partial(damaged, pieces, read.start, own.data)
        )
        if self.cache is not None:
            for piece in pieces:
                self.cache.put(piece.digest, own[piece.start - read.start :][: piece.length].data)

    def _cached(self, cache: Cache, pieces: Sequence[Piece], begin: int, own: Bytes) -> bool:
        """Whether all pieces are in a cache; then they are taken from there."""
        for piece in pieces:
            data = cache.open(piece.digest, piece.length)
            if data is None:
                return False
            own[piece.start - begin :][: piece.length] = data
        return True


class WholeShards:
    """Shards that are fetched whole when they are first needed, several at a time.

    They are kept in a cache, or else in temporary files without names, which are gone with the
    stream, or with the process.
    """

    def __init__(
        self, address: Address, manifest: Manifest, index: Index, cache: Cache | None
    ) -> None:
        self.address = address
        self.cache = cache
        self.manifest = manifest
        self.index = index
        self._mapped = Mapped(index, lambda number: self._begun(number).result())
        self._pool = ThreadPoolExecutor(_WHOLE)
        self._coming: dict[int, Future[Bytes]] = {}

    def held(self, rows: Rows) -> Held:
        """See `quire.loaders.reading.held.Shards`."""
        return self._mapped.held(rows)

    def expect(self, rows: Rows) -> Ahead:
        """See `quire.loaders.reading.held.Shards`."""
        for number, future in [*self._coming.items()]:  # what failed is tried again
            if future.done() and future.exception() is not None:
                del self._coming[number]
        return self

    def parts(self, rows: Rows) -> int:
        """See `quire.loaders.reading.held.Ahead`."""
        return 1

    def begin(self, rows: Rows) -> None:
        """See `quire.loaders.reading.held.Ahead`."""
        for number in np.unique(self.index.shard[rows]).tolist():
            self._begun(number)

    def _begun(self, number: int) -> "Future[Bytes]":
        if number not in self._coming:
            self._coming[number] = self._pool.submit(self._fetched, number)
        return self._coming[number]

    def _fetched(self, number: int) -> Bytes:
        shard = self.manifest.shards[number]
        if self.cache is not None:
            kept = self.cache.open(shard.sha256, shard.bytes)
            if kept is not None:
                return kept
        body = self.address.read(shard.name, shard)
        if self.cache is not None:
            self.cache.put(shard.sha256, memoryview(body))
        try:
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.flush()
                return map_open(file)
        except OSError as error:
            where = tempfile.gettempdir()
            raise BundleError(f"{shard.name} cannot be kept in {where} ({error})") from error
