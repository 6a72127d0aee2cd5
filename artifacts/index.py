"""index.h5: one row a sample, so that a reader knows where everything lies without parsing a tar.

key                     (N,) fixed-length ASCII, unique
shard                   (N,) int32, a row of `shards`; the shards' samples follow one another
shards                  names of the shards
members/<ext>/offset    (N,) int64, where the member's bytes begin in its shard
members/<ext>/length    (N,) int64, how many there are
columns/<name>          (N,) label, and whatever else the recipe says of a sample
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
from quire.artifacts.members import check_extension
from quire.artifacts.shards import BLOCK, Rows, Shard, concatenate


@dataclass(frozen=True, slots=True)
class Index:
    """The rows of a bundle; all arrays are (N,)."""

    shard: NDArray[np.int32]
    rows: Rows

    def __len__(self) -> int:
        return len(self.shard)


def write_index(path: Path, shards: Sequence[Shard], rows: Sequence[Rows]) -> Index:
    """Write the rows of all shards, in the order of the shards.

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
    return index


def read_index(path: Path, shards: Sequence[Shard]) -> Index:
    """Read the index of a bundle and hold it against the shards that the manifest names.

    Raises:
        BundleError: it does not fit them, or points outside a shard.
    """
    counts = [shard.samples for shard in shards]
    with tables.open_table(path) as file:
        number = np.repeat(np.arange(len(shards), dtype=np.int32), counts)
        if not np.array_equal(tables.get(file, "shard", shape=number.shape), number):
            raise BundleError(f"{path.name} gives the samples to other shards than the manifest")
        names = tables.get(file, "shards", shape=(len(shards),))
        if names.tolist() != [shard.name.encode() for shard in shards]:
            raise BundleError(f"{path.name} names other shards than the manifest")
        rows = _read_rows(file, len(number))
    sizes = np.array([shard.bytes for shard in shards], np.int64)[number]
    for extension, offsets in rows.offsets.items():
        lengths = rows.lengths[extension]
        if np.any(
            (offsets < BLOCK) | (lengths < 0) | (lengths > sizes) | (offsets > sizes - lengths)
        ):
            raise BundleError(f"{path.name} points outside a shard ({extension})")
    return Index(number, rows)


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
