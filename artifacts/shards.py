"""Shards: plain USTAR tars whose every byte follows from the samples.

Headers are made for a whole block at once and equal what Python's `tarfile` writes in its USTAR
format with mtime, uid and gid 0 and mode 0644. There are no PAX headers, so `tarfile` (and with
it webdataset) reads these shards about twice as fast as those that carry one before every member.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import BundleError
from quire.artifacts.later import Even, Later
from quire.artifacts.members import check_extension, check_key
from quire.artifacts.pieces import Cutter, Pieces

BLOCK = 512  # bytes: a tar is a sequence of blocks
TRAILER = bytes(2 * BLOCK)
_NOTHING = np.empty(0, np.int64)
_NAME = 100  # bytes that a USTAR header has for the name
_MAX_SIZE = 8**11 - 1  # what eleven octal digits can say

Payloads: TypeAlias = NDArray[np.uint8] | Sequence[bytes]  # (N, L): N files of L bytes; or N files
Columns: TypeAlias = Mapping[str, NDArray[np.generic]]  # (N,) each


@dataclass(frozen=True, slots=True)
class Samples:
    """A run of samples: keys, their files by extension, and what the index says of each."""

    keys: Sequence[str]
    members: Mapping[str, Payloads]
    columns: Columns = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """The index rows of samples, of one shard or of all; all arrays are (N,)."""

    keys: NDArray[np.bytes_] | Later
    offsets: Mapping[str, NDArray[np.int64] | Even]  # by extension: where its bytes begin in a tar
    lengths: Mapping[str, NDArray[np.int64]]
    columns: Columns

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as the manifest names it."""

    name: str
    samples: int
    bytes: int
    sha256: str


def padded(size: NDArray[np.int64]) -> NDArray[np.int64]:
    """File sizes rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def stored_bytes(size: int) -> int:
    """What a file of this size takes in a tar, its header included.

    >>> stored_bytes(1), stored_bytes(3085)
    (1024, 4096)
    """
    return BLOCK + -(-size // BLOCK) * BLOCK


def headers(names: NDArray[np.bytes_], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The USTAR headers of regular files. (N,) names up to 100 bytes, (N,) sizes -> (N, 512)."""
    made = np.zeros((len(names), BLOCK), np.uint8)
    made[:] = np.frombuffer(_TEMPLATE, np.uint8)
    width = names.dtype.itemsize
    made[:, :width] = np.ascontiguousarray(names).view(np.uint8).reshape(len(names), width)
    made[:, 124:135] = _octal(sizes, 11)
    made[:, 148:154] = _octal(made.sum(axis=1, dtype=np.int64), 6)
    made[:, 154] = 0
    return made


def _octal(numbers: NDArray[np.int64], digits: int) -> NDArray[np.uint8]:
    """Numbers in ASCII octal. (N,) -> (N, digits)."""
    shifts = 3 * np.arange(digits - 1, -1, -1)
    return ((numbers[:, None] >> shifts & 7) + ord("0")).astype(np.uint8)


def _template() -> bytes:
    """A header but for name, size and checksum; the checksum field is blank, as it must be."""
    parts = [bytes(_NAME), b"0000644\0", b"0000000\0", b"0000000\0", bytes(12), b"00000000000\0"]
    parts += [b" " * 8, b"0", bytes(100), b"ustar\x0000"]
    return b"".join(parts).ljust(BLOCK, b"\0")


_TEMPLATE = _template()


def member_names(keys: Sequence[str] | NDArray[np.bytes_], extension: str) -> NDArray[np.bytes_]:
    """The names of one member of each sample. (N,) keys -> (N,) `key.extension`.

    Raises:
        BundleError: a name does not fit into a USTAR header.
    """
    names: NDArray[np.bytes_] = np.char.add(np.asarray(keys, np.bytes_), f".{extension}".encode())
    if names.dtype.itemsize > _NAME:
        longest = max(names.tolist(), key=len)
        raise BundleError(f"member name {longest.decode()!r} is longer than {_NAME} bytes")
    return names


def write_shard(
    file: IO[bytes], name: str, blocks: Iterable[Samples]
) -> tuple[Shard, Rows, Pieces]:
    """Write samples as one tar, in the order given, each one's members in the order of their
    extensions.

    Raises:
        BundleError: a key or an extension that no bundle may have; blocks with different members.
    """
    digest = hashlib.sha256()
    cutter = Cutter()
    position = 0
    rows: list[Rows] = []
    for samples in blocks:
        data, block_rows = _block(samples, position)
        file.write(data)
        digest.update(data)
        cutter.write(data, sample_starts(block_rows))
        position += len(data)
        rows.append(block_rows)
    file.write(TRAILER)
    digest.update(TRAILER)
    cutter.write(memoryview(TRAILER), _NOTHING)
    joined = concatenate(rows)
    shard = Shard(name, len(joined), position + len(TRAILER), digest.hexdigest())
    return shard, joined, cutter.pieces()


def sample_starts(rows: Rows, which: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Where samples begin in their shards, with the header of the first file.

    All of them, or those at some places: (M,) -> (M,).
    """
    members = [*rows.offsets.values()]
    if all(isinstance(offsets, Even) for offsets in members):
        members = [min(members, key=lambda offsets: offsets[:1][0])]
    first, *others = (offsets[:] if which is None else offsets.take(which) for offsets in members)
    for offsets in others:
        first = np.minimum(first, offsets)
    return first - BLOCK


def _block(samples: Samples, position: int) -> tuple[memoryview, Rows]:
    """The bytes of some samples in a tar, and their rows when they begin at `position`."""
    extensions = sorted(samples.members)
    for key in samples.keys:
        check_key(key)
    for extension in extensions:
        check_extension(extension)
    lengths = np.stack(
        [_lengths(samples.members[e], len(samples.keys)) for e in extensions], axis=1
    )
    ends = (BLOCK + padded(lengths)).cumsum().reshape(lengths.shape)  # behind each member's padding
    starts = ends - padded(lengths)  # of each member's bytes, within this run
    data = np.zeros(int(ends[-1, -1]) if ends.size else 0, np.uint8)
    for column, extension in enumerate(extensions):
        names = member_names(samples.keys, extension)
        _place(data, starts[:, column] - BLOCK, headers(names, lengths[:, column]))
        _place(data, starts[:, column], samples.members[extension])
    return data.data, Rows(
        keys=np.asarray(samples.keys, np.bytes_),
        offsets={e: starts[:, i] + position for i, e in enumerate(extensions)},
        lengths={e: lengths[:, i] for i, e in enumerate(extensions)},
        columns=samples.columns,
    )


def _lengths(payloads: Payloads, count: int) -> NDArray[np.int64]:
    """The size of each file. -> (N,)."""
    if len(payloads) != count:
        raise BundleError(f"{count} samples have {len(payloads)} files of one type")
    if isinstance(payloads, np.ndarray):
        lengths = np.full(count, payloads.shape[1])
    else:
        lengths = np.fromiter(map(len, payloads), np.int64, count)
    if lengths.max(initial=0) > _MAX_SIZE:
        raise BundleError(f"a file of {lengths.max()} bytes does not fit into a USTAR tar")
    return lengths


def _place(data: NDArray[np.uint8], starts: NDArray[np.int64], payloads: Payloads) -> None:
    """Copy each file to its place: all at once where the places are evenly spaced."""
    if isinstance(payloads, np.ndarray) and len(starts) and len(set(np.diff(starts).tolist())) <= 1:
        stride = int(starts[1] - starts[0]) if len(starts) > 1 else payloads.shape[1]
        window = data[starts[0] : starts[-1] + payloads.shape[1]]
        np.lib.stride_tricks.as_strided(window, payloads.shape, (stride, 1))[:] = payloads
        return
    view = data.data
    for start, payload in zip(starts.tolist(), payloads, strict=True):
        view[start : start + len(payload)] = payload


def concatenate(rows: Sequence[Rows]) -> Rows:
    """The rows of consecutive runs of samples as one.

    Raises:
        BundleError: the runs have different members or columns.
    """
    if not rows:
        return Rows(np.empty(0, "S1"), {}, {}, {})
    first = rows[0]
    for other in rows[1:]:
        for ours, theirs in ((first.offsets, other.offsets), (first.columns, other.columns)):
            if ours.keys() != theirs.keys():
                raise BundleError(
                    f"samples with {sorted(ours)} and with {sorted(theirs)} in one bundle"
                )
    return Rows(
        keys=np.concatenate([run.keys for run in rows]),
        offsets={e: np.concatenate([run.offsets[e] for run in rows]) for e in first.offsets},
        lengths={e: np.concatenate([run.lengths[e] for run in rows]) for e in first.lengths},
        columns={c: np.concatenate([run.columns[c] for run in rows]) for c in first.columns},
    )
