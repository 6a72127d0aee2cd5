"""Bundles at an address (http, https, or whatever fsspec knows): read shard after shard.

A shard is fetched whole, held against the manifest by size and sha256, and only then taken apart,
by webdataset's own pipeline. So a connection that drops or a body that ends early is tried again
and then an error that names the shard, never a shorter epoch.
"""

import hashlib
import io
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import torch
import webdataset as wds
from webdataset import tariterators

from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, read_index
from quire.artifacts.manifest import INDEX, MANIFEST, SUMS, File, Manifest
from quire.artifacts.shards import Shard
from quire.loaders.decode import decode, field
from quire.loaders.reader import Batch, described, members, stacked
from quire.loaders.sampler import Rows

TRIES = 3  # fetches of one file before it counts as lost
AHEAD = 1  # shards fetched while one is being read


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
        return manifest, read_index(folder / INDEX, manifest.shards)


class RemoteReader(torch.utils.data.IterableDataset[Batch]):
    """The batches of one rank, read by one or several workers, each from a run of shards of its
    own.

    `rows[worker][batch]` are the rows of a batch, shard by shard. With several workers the
    batches come in turn: 0 of worker 0, 0 of worker 1, ...
    """

    def __init__(
        self,
        address: str,
        shards: Sequence[Shard],
        index: Index,
        rows: Sequence[Sequence[Rows]],
        *,
        columns: Sequence[str],
        threads: int,
    ) -> None:
        super().__init__()
        self.address = address
        self.shards = shards
        self.index = index
        self.rows = rows
        self.columns = columns
        self.threads = threads
        self.firsts = np.cumsum([0, *(shard.samples for shard in shards)])

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        batches = self.rows[worker.id if worker else 0]
        samples = self._samples(np.concatenate(batches)) if batches else iter(())
        with ThreadPoolExecutor(self.threads) as pool:
            for rows in batches:
                yield self._batch(rows, list(itertools.islice(samples, len(rows))), pool)

    def _samples(self, rows: Rows) -> Iterator[dict[str, bytes]]:
        """The files of some rows, in their order; each run within a shard is one fetch."""
        shards = self.index.shard[rows]
        runs = np.split(rows, np.flatnonzero(np.diff(shards)) + 1) if len(rows) else []
        numbers = [int(self.index.shard[run[0]]) for run in runs]
        for number, run, samples in zip(numbers, runs, self._shards(numbers), strict=True):
            for row in (run - self.firsts[number]).tolist():
                yield samples[row]

    def _shards(self, numbers: Sequence[int]) -> Iterator[list[dict[str, bytes]]]:
        """The samples of some shards, fetched a little ahead of their use."""
        shards = [self.shards[number] for number in numbers]
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(self._fetch, shard) for shard in shards[:AHEAD]]
            for i, shard in enumerate(shards):
                if i + AHEAD < len(shards):
                    coming.append(pool.submit(self._fetch, shards[i + AHEAD]))
                yield self._untarred(shard, coming.pop(0).result())

    def _fetch(self, shard: Shard) -> bytes:
        return fetch(f"{self.address}/{shard.name}", shard)

    def _untarred(self, shard: Shard, body: bytes) -> list[dict[str, bytes]]:
        """The samples of a fetched shard, by webdataset's own stages."""
        opened = {"url": shard.name, "stream": io.BytesIO(body)}
        pipeline = wds.DataPipeline(
            lambda: iter([opened]), tariterators.tar_file_expander, tariterators.group_by_keys
        )
        samples = list(pipeline)
        if len(samples) != shard.samples:
            raise BundleError(f"{self.address}: {shard.name} holds {len(samples)} samples")
        return samples

    def _batch(
        self, rows: Rows, samples: Sequence[dict[str, bytes]], pool: ThreadPoolExecutor
    ) -> Batch:
        """Decode some samples as `Reader` does; an empty batch has the shapes of any other."""
        if not len(rows):
            some = np.zeros(1, np.int64)
            whole = self._batch(some, list(self._samples(some)), pool)
            return {name: values[:0] for name, values in whole.items()}
        batch = {
            field(e): stacked(e, decode(e, [s[e] for s in samples], pool, self.threads))
            for e in members(self.index, self.columns)
        }
        return batch | described(self.index, self.columns, rows)
