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

Where each member has one length in all samples, as raw images of one size have, offset and length
are attributes of members/<ext> in place of arrays, with `stride`: the member of the j-th sample of
a shard begins at offset + j * stride.

A row is read when it is asked for: keys and columns of ten million samples take longer than all
that a run that needs none of them does before its first batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.errors import BundleError
from quire.artifacts.later import Even, Later, LaterColumns
from quire.artifacts.manifest import INDEX, Manifest
from quire.artifacts.members import check_extension
from quire.artifacts.pieces import Piece, Pieces
from quire.artifacts.shards import BLOCK, Rows, Shard, concatenate, padded


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
        tables.put(file, "key", np.asarray(joined.keys))
        tables.put(file, "shard", index.shard)
        stride = _stride(joined, counts)
        for extension in sorted(joined.offsets):
            group = file.create_group(f"members/{extension}")
            offsets, lengths = joined.offsets[extension][:], joined.lengths[extension]
            if stride is not None:
                values = {"offset": offsets[0], "length": lengths[0], "stride": stride}
                group.attrs.update({name: np.int64(value) for name, value in values.items()})
            else:
                tables.put(group, "offset", offsets, unit="bytes into the shard")
                tables.put(group, "length", lengths, unit="bytes")
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


def _stride(rows: Rows, counts: Sequence[int]) -> int | None:
    """From one sample of a shard to the next, where that is the same for all samples."""
    lengths = rows.lengths.values()
    if not len(rows) or not lengths or any((one != one[0]).any() for one in lengths):
        return None
    stride = sum(BLOCK + int(padded(one[:1])[0]) for one in lengths)
    places = np.concatenate([np.arange(count) for count in counts]) * stride
    even = (np.array_equal(one[:], one[0] + places) for one in rows.offsets.values())
    return stride if all(even) else None


def read_index(data: bytes, manifest: Manifest) -> Index:
    """The index of a bundle, from the bytes of its file, held against the manifest's shards.

    Raises:
        BundleError: it does not fit them, or points outside a shard. Later: an array that is read
            when it is asked for is damaged.
    """
    shards = manifest.shards
    counts = [shard.samples for shard in shards]
    with tables.open_bytes(INDEX, data) as file:
        found = tables.get(file, "shard", shape=(sum(counts),))  # what counts claim is in a file
        number = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
        if not np.array_equal(found, number):
            raise BundleError(f"{INDEX} gives the samples to other shards than the manifest")
        names = tables.get(file, "shards", shape=(len(shards),))
        if names.tolist() != [shard.name.encode() for shard in shards]:
            raise BundleError(f"{INDEX} names other shards than the manifest")
        members = _read_members(file, shards, number)
        rows = Rows(
            keys=_later(file, data, "key", len(number)),
            offsets={name: offsets for name, (offsets, _) in members.items()},
            lengths={name: lengths for name, (_, lengths) in members.items()},
            columns=LaterColumns(
                {
                    name: _later(file, data, f"columns/{name}", len(number))
                    for name in (file["columns"] if "columns" in file else ())
                }
            ),
        )
        pieces = _read_pieces(file, shards) if manifest.format > 1 else None
    return Index(number, rows, pieces)


def _later(file: h5py.File, data: bytes, name: str, count: int) -> Later:
    """An array that is known to be there, and of which no more is known."""
    tables.check(file, name, shape=(count,))
    return Later(count, partial(_read, data, name, count))


def _read(data: bytes, name: str, count: int) -> NDArray[Any]:
    with tables.open_bytes(INDEX, data) as file:
        return tables.get(file, name, shape=(count,))


def _read_members(
    file: h5py.File, shards: Sequence[Shard], number: NDArray[np.int32]
) -> dict[str, tuple[NDArray[np.int64] | Even, NDArray[np.int64]]]:
    """Where each member lies, and how long it is, if that is in the shards."""
    # a bundle of tables alone has no sample, so none that has members
    groups: Mapping[str, Any] = tables.group_of(file, "members") if len(number) else {}
    sizes = np.array([shard.bytes for shard in shards], np.int64)
    counts = np.array([shard.samples for shard in shards], np.int64)
    found: dict[str, tuple[NDArray[np.int64] | Even, NDArray[np.int64]]] = {}
    for extension, group in groups.items():
        check_extension(extension)
        if isinstance(group, h5py.Group) and "stride" in group.attrs:
            offset, length, stride = (_attribute(group, n) for n in ("offset", "length", "stride"))
            fits = offset >= BLOCK and offset + (counts - 1) * stride + length <= sizes
            begins = counts.cumsum() - counts
            lengths = np.broadcast_to(np.int64(length), number.shape)
            found[extension] = Even(offset, stride, number, begins), lengths
        else:
            offsets = _int64(group, "offset", len(number))
            lengths = _int64(group, "length", len(number))
            room = sizes[number]
            fits = (offsets >= BLOCK) & (lengths >= 0) & (lengths <= room)
            fits &= offsets <= room - lengths
            found[extension] = offsets, lengths
        if not np.all(fits):
            raise BundleError(f"{INDEX} points outside a shard ({extension})")
    return found


def _attribute(group: h5py.Group, name: str) -> int:
    """A number of a member; less than any product of two could overflow by."""
    value = group.attrs.get(name)
    if not isinstance(value, np.int64) or not 0 <= value < 1 << 31:
        raise BundleError(f"{INDEX}: {group.name} has {name} {value!r}")
    return int(value)


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


def _int64(group: h5py.Group, name: str, count: int) -> NDArray[np.int64]:
    array = tables.get(group, name, shape=(count,))
    if array.dtype != np.int64:
        raise BundleError(f"index: {group.name}/{name} is {array.dtype}, not int64")
    return array
