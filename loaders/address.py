"""Bundles at an address (http, https, or whatever fsspec knows).

Whatever is fetched is held against the manifest before it is used. So a connection that drops or a
body that ends early is tried again, and then an error that names the file, never a shorter epoch.
"""

import hashlib
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np

from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, read_index
from quire.artifacts.manifest import INDEX, MANIFEST, SUMS, File, Manifest
from quire.artifacts.shards import Shard
from quire.loaders.held import Bytes, Held
from quire.loaders.mapped import Mapped, map_open
from quire.loaders.order import Rows

TRIES = 3  # fetches of one file before it counts as lost
CONNECTIONS = 8  # fetches at a time


def is_address(bundle: str) -> bool:
    """Whether a bundle is named by an address rather than by a folder.

    >>> is_address("https://example.org/fog"), is_address("data/fog")
    (True, False)
    """
    return "://" in bundle


def fetch(address: str, expected: Shard | File | None = None) -> bytes:
    """The whole of a file at an address, as the manifest has it.

    Raises:
        BundleError: three times in a row it cannot be had, or its size or digest is another.
    """
    try:
        filesystem, path = fsspec.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise BundleError(f"{address} cannot be fetched ({error})") from error
    for _ in range(TRIES):
        try:
            body: bytes = filesystem.cat_file(path)
        except FileNotFoundError as error:
            raise BundleError(f"{address} is missing") from error
        except Exception as error:  # each backend has errors of its own for a lost connection
            problem = f"cannot be fetched ({error!r})"
            continue
        if expected is None or hashlib.sha256(body).hexdigest() == expected.sha256:
            return body
        if len(body) != expected.bytes:
            problem = f"has {len(body)} bytes; the manifest says {expected.bytes}"
        else:
            problem = "is damaged: its digest is not the manifest's"
    raise BundleError(f"{address} {problem}")


def open_remote(address: str) -> tuple[Manifest, Index]:
    """The manifest and index of a bundle at an address; its shards stay where they are.

    Raises:
        BundleError: there is no complete bundle, or its records are damaged.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in (MANIFEST, SUMS):
            (folder / file).write_bytes(fetch(f"{address}/{file}"))
        manifest = read_manifest(folder)
        (folder / INDEX).write_bytes(fetch(f"{address}/{INDEX}", manifest.files[INDEX]))
        return manifest, read_index(folder / INDEX, manifest)


class WholeShards:
    """Shards that are fetched whole when they are first needed, several at a time.

    A shard is held against the manifest by size and sha256 before anything of it is read. It is
    kept in a temporary file without a name, which is gone with the stream, or with the process.
    """

    def __init__(self, address: str, manifest: Manifest, index: Index) -> None:
        self.address = address
        self.manifest = manifest
        self.index = index
        self._mapped = Mapped(index, lambda number: self._begun(number).result())
        self._pool = ThreadPoolExecutor(CONNECTIONS)
        self._coming: dict[int, Future[Bytes]] = {}

    def held(self, rows: Rows) -> Held:
        """See `quire.loaders.held.Shards`."""
        return self._mapped.held(rows)

    def expect(self, rows: Rows) -> Callable[[Rows], None] | None:
        """See `quire.loaders.held.Shards`."""
        for number, future in [*self._coming.items()]:  # what failed is tried again
            if future.done() and future.exception() is not None:
                del self._coming[number]
        return self._begin

    def _begin(self, rows: Rows) -> None:
        for number in np.unique(self.index.shard[rows]).tolist():
            self._begun(number)

    def _begun(self, number: int) -> "Future[Bytes]":
        if number not in self._coming:
            self._coming[number] = self._pool.submit(self._fetched, number)
        return self._coming[number]

    def _fetched(self, number: int) -> Bytes:
        shard = self.manifest.shards[number]
        body = fetch(f"{self.address}/{shard.name}", shard)
        try:
            with tempfile.TemporaryFile() as file:
                file.write(body)
                file.flush()
                return map_open(file)
        except OSError as error:
            where = tempfile.gettempdir()
            raise BundleError(f"{shard.name} cannot be kept in {where} ({error})") from error
