"""index.h5: one row a sample, so that a reader knows where everything lies without parsing a tar.

key                     (N,) fixed-length ASCII, unique
shard                   (N,) int32, a row of `shards`; the shards' samples follow one another
shards                  names of the shards
members/<ext>/offset    (N,) int64, where the member's bytes begin in its shard
members/<ext>/length    (N,) int64, how many there are
columns/<name>          (N,) label, and whatever else the recipe says of a sample
pieces/shard            (P,) int32, the shard of each piece; see `quire.artifacts.pieces`
pieces/end              (P,) int64, where it ends; it begins where the one before it does
pieces/sha256           (P, 32) uint8, its digest
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import Manifest
from quire.artifacts.members import check_extension
from quire.artifacts.pieces import Piece, Pieces
from quire.artifacts.shards import BLOCK, Rows, Shard, concatenate


@dataclass(frozen=True, slots=True)
class Index:
    """The rows of a bundle; all arrays are (N,)."""

    shard: NDArray[np.int32]
    rows: Rows
    pieces: "ShardPieces | None" = None
    """None: the bundle is of format 1, which had none."""

    def __len__(self) -> int:
        return len(self.shard)


@dataclass(frozen=True, slots=True)
class ShardPieces:
    """The pieces of all shards, in their order; all arrays are (P,)."""

    shard: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    digests: NDArray[np.uint8]
    """(P, 32) sha256."""

    def of(self, shard: int) -> slice:
        """Which are those of a shard, by its number."""
        first, last = np.searchsorted(self.shard, (shard, shard + 1)).tolist()
        return slice(first, last)

    def between(self, shard: int, start: int, stop: int) -> list[Piece]:
        """The pieces of a shard that bytes [start, stop) of it lie in."""
        own = self.of(shard)
        places = np.searchsorted(self.ends[own], (start, stop - 1), "right")
        first, last = (own.start + places).tolist()
        return [
            Piece(
                int(self.starts[number]),
                int(self.ends[number]),
                self.digests[number].tobytes().hex(),
            )
            for number in range(first, last + 1)
        ]


def write_index(
    path: Path, shards: Sequence[Shard], rows: Sequence[Rows], pieces: Sequence[Pieces]
) -> Index:
    """Write the rows and pieces of all shards, in the order of the shards.

    Raises:
        BundleError: two samples have one key; WebDataset would merge them.
    """
    joined = concatenate(rows)
    counts = [shard.samples for shard in shards]
    index = Index(np.repeat(np.arange(len(shards), dtype=np.int32), counts), joined)
    unique, times = np.unique(joined.keys, return_counts=True)
    if len(unique) != len(joined):
        raise BundleError(f"key {unique[times.argmax()].decode()!r} occurs {times.max()} times")
    with tables.new_table(path) as file:
        tables.put(file, "shards", np.array([shard.name for shard in shards], np.bytes_))
        tables.put(file, "key", joined.keys)
        tables.put(file, "shard", index.shard)
        for extension in sorted(joined.offsets):
            group = file.create_group(f"members/{extension}")
            tables.put(group, "offset", joined.offsets[extension], unit="bytes into the shard")
            tables.put(group, "length", joined.lengths[extension], unit="bytes")
        for name, column in sorted(joined.columns.items()):
            tables.put(file.require_group("columns"), name, column)
        numbers = np.repeat(np.arange(len(shards), dtype=np.int32), [len(p.ends) for p in pieces])
        ends = [np.empty(0, np.int64), *(one.ends for one in pieces)]
        digests = [np.empty((0, 32), np.uint8), *(one.digests for one in pieces)]
        group = file.create_group("pieces")
        tables.put(group, "shard", numbers)
        tables.put(group, "end", np.concatenate(ends), unit="bytes into the shard")
        tables.put(group, "sha256", np.concatenate(digests))
    return index


def read_index(path: Path, manifest: Manifest) -> Index:
    """Read the index of a bundle and hold it against the shards that the manifest names.

    Raises:
        BundleError: it does not fit them, or points outside a shard.
    """
    shards = manifest.shards
    counts = [shard.samples for shard in shards]
    with tables.open_table(path) as file:
        found = tables.get(file, "shard", shape=(sum(counts),))  # what counts claim is in a file
        number = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
        if not np.array_equal(found, number):
            raise BundleError(f"{path.name} gives the samples to other shards than the manifest")
        names = tables.get(file, "shards", shape=(len(shards),))
        if names.tolist() != [shard.name.encode() for shard in shards]:
            raise BundleError(f"{path.name} names other shards than the manifest")
        rows = _read_rows(file, len(number))
        pieces = _read_pieces(file, shards) if manifest.format > 1 else None
    sizes = np.array([shard.bytes for shard in shards], np.int64)[number]
    for extension, offsets in rows.offsets.items():
        lengths = rows.lengths[extension]
        if np.any(
            (offsets < BLOCK) | (lengths < 0) | (lengths > sizes) | (offsets > sizes - lengths)
        ):
            raise BundleError(f"{path.name} points outside a shard ({extension})")
    return Index(number, rows, pieces)


def _read_pieces(file: h5py.File, shards: Sequence[Shard]) -> ShardPieces:
    """The pieces, if each shard is cut into some from its first byte to its last."""
    group = tables.group_of(file, "pieces")
    shard = tables.get(group, "shard")
    if shard.ndim != 1:
        raise BundleError(f"{Path(file.filename).name}:/pieces/shard has shape {shard.shape}")
    ends = tables.get(group, "end", shape=shard.shape)
    digests = tables.get(group, "sha256", shape=(len(shard), 32))
    last = np.flatnonzero(np.diff(shard, append=-1))  # of each shard
    starts = np.append(0, ends)[:-1]
    starts[last[:-1] + 1] = 0
    if (
        (shard.dtype.str, ends.dtype.str, digests.dtype.str) == ("<i4", "<i8", "|u1")
        and shard[last].tolist() == [*range(len(shards))]
        and ends[last].tolist() == [one.bytes for one in shards]
        and (starts < ends).all()
    ):
        return ShardPieces(shard, starts, ends, digests)
    raise BundleError(f"{Path(file.filename).name} does not cut the shards into pieces")


def _read_rows(file: h5py.File, count: int) -> Rows:
    # a bundle of tables alone has no sample, so none that has members
    members: Mapping[str, Any] = tables.group_of(file, "members") if count else {}
    for extension in members:
        check_extension(extension)
    columns: Mapping[str, Any] = file["columns"] if "columns" in file else {}
    return Rows(
        keys=tables.get(file, "key", shape=(count,)),
        offsets={e: _int64(members[e], "offset", count) for e in members},
        lengths={e: _int64(members[e], "length", count) for e in members},
        columns={c: tables.get(file["columns"], c, shape=(count,)) for c in columns},
    )


def _int64(group: h5py.Group, name: str, count: int) -> NDArray[np.int64]:
    array = tables.get(group, name, shape=(count,))
    if array.dtype != np.int64:
        raise BundleError(f"index: {group.name}/{name} is {array.dtype}, not int64")
    return array
