"""A bundle's folder while the bundle is being built.

The working files lie in `.building` inside it: the identity of what is built there, and records
of each finished shard, its index rows and its part of the whole-dataset tables, written after the
shard has its name. So a shard is finished when its record is there, a build that was stopped,
however hard, goes on where it was, and the manifest, written last of all, turns the folder into a
bundle.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.card import card
from quire.artifacts.digest import publish, sha256, whole_file
from quire.artifacts.errors import BuildError, SourceError
from quire.artifacts.index import write_index
from quire.artifacts.lock import held
from quire.artifacts.manifest import (
    CARD,
    INDEX,
    MANIFEST,
    SUMS,
    File,
    Identity,
    LeftOut,
    Manifest,
    sums,
)
from quire.artifacts.pieces import Pieces
from quire.artifacts.shards import Rows, Shard
from quire.builders.engine.recipe import Part, WriteTable
from quire.builders.engine.records import Record, append, records
from quire.builders.sources.tree import UNREAD

_WORK = ".building"
_IDENTITY = "identity.json"
_LOCK = "lock"
_KINDS = ("offsets", "lengths", "columns", "pieces")
_PART = "part/"  # before the names of its arrays in the record of a shard
_READ = "read/"


@dataclass(frozen=True, slots=True)
class Finished:
    """A shard that is there, its index rows and pieces, and the samples that could not be read."""

    shard: Shard
    rows: Rows
    pieces: Pieces
    left_out: tuple[LeftOut, ...]
    read: Mapping[str, str] = field(default_factory=dict)
    """Digests of the source's files that it was made from, by name; see `files_read`."""


LISTING = "listing"
"""Stands in the identity of a source of many files until the digests of all are known."""

Complete = Callable[[Sequence[Record]], Identity]
"""The identity of a bundle, by the records of its shards."""

Check = Callable[[Manifest], None]
"""Raises a BuildError where a manifest is not what it should be."""


def accept(manifest: Manifest) -> None:
    """Whatever the manifest is, it is right."""


@contextmanager
def claim(folder: Path, identity: Identity) -> Iterator[None]:
    """Take a folder for one build: a new or empty one, or one in which the same build was stopped.

    Raises:
        BuildError: it belongs to another recipe or source, holds something else, or another process
            is building there.
    """
    work = folder / _WORK
    check(folder, identity)
    work.mkdir(parents=True, exist_ok=True)
    with held(work / _LOCK, BuildError(f"another process is building in {folder}")):
        if not (work / _IDENTITY).exists():
            with whole_file(work / _IDENTITY) as file:
                file.write(_text(identity).encode())
        yield


def check(folder: Path, identity: Identity) -> None:
    """Refuse a folder that this build may not go on in; nothing is written.

    Raises:
        BuildError: it belongs to another recipe or source, or holds something else.
    """
    if (folder / MANIFEST).exists():
        refuse_incomplete(identity, str(folder))
        there = Manifest.from_json((folder / MANIFEST).read_text("utf-8")).identity
    elif (folder / _WORK / _IDENTITY).exists():
        there = Identity(**json.loads((folder / _WORK / _IDENTITY).read_text("utf-8")))
    else:
        if folder.exists() and not folder.is_dir():
            raise BuildError(f"{folder} is a file")
        if folder.exists() and any(entry.name != _WORK for entry in folder.iterdir()):
            raise BuildError(
                f"{folder} is not empty and holds no build of ours: name another folder"
            )
        return
    if difference := identity.as_read().difference(there):
        raise BuildError(f"{folder} belongs to another build; {difference}")


def refuse_incomplete(identity: Identity, place: str) -> None:
    """Refuse to compare with a bundle what was asked for before there was one.

    Raises:
        BuildError: `identity` is still without the source's digest.
    """
    if LISTING in identity.source:
        raise BuildError(f"another process has completed {place} in the meantime: build again")


def _text(identity: Identity) -> str:
    return json.dumps(asdict(identity), indent=1, sort_keys=True)


def partials(folder: Path) -> Path:
    """Where the unfinished files of a build lie."""
    return folder / _WORK


def record(folder: Path, finished: Finished, part: Part | None = None) -> None:
    """Note that a shard is there, and keep its part of the tables."""
    append(folder / _WORK, *packing(finished, part))


def packing(
    finished: Finished, part: Part | None = None
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What the record of a finished shard holds; see `quire.builders.engine.records.packed`."""
    arrays: dict[str, Any] = {"keys": finished.rows.keys}
    arrays |= {_PART + name: array for name, array in (part or {}).items()}
    for kind in ("offsets", "lengths", "columns"):
        arrays |= {f"{kind}/{name}": a for name, a in getattr(finished.rows, kind).items()}
    arrays |= {_READ + name: array for name, array in _packed_digests(finished.read).items()}
    arrays |= {f"pieces/{name}": a for name, a in asdict(finished.pieces).items()}
    about = {
        "shard": asdict(finished.shard),
        "left_out": [asdict(sample) for sample in finished.left_out],
    }
    return finished.shard.name, about, arrays


def finished_shards(folder: Path) -> set[str]:
    """The shards of this build that are there."""
    if not (folder / _WORK).is_dir():
        return set()
    return {entry.name for entry in folder.iterdir()} & records(folder / _WORK).keys()


def _finished(record: Record) -> Finished:
    about, arrays = record.read()
    parts: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for name, array in arrays.items():
        kind, _, column = name.partition("/")
        if kind in parts:
            parts[kind][column] = array
    pieces = Pieces(**parts.pop("pieces"))
    rows = Rows(arrays["keys"], **parts)
    left_out = tuple(LeftOut(**sample) for sample in about["left_out"])
    return Finished(Shard(**about["shard"]), rows, pieces, left_out)


def _packed_digests(read: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Names and digests of files, a row each; the digest of one that cannot be read is zero."""
    digests = [b"" if digest == UNREAD else bytes.fromhex(digest) for digest in read.values()]
    flat = np.frombuffer(b"".join(digest.ljust(32, b"\0") for digest in digests), np.uint8)
    names = np.array([os.fsencode(name) for name in read], np.bytes_)
    return {"name": names, "digest": flat.reshape(-1, 32)}


def files_read(record: Record) -> Iterator[tuple[str, str]]:
    """Names and digests of the source's files that a shard was made from."""
    _, arrays = record.read(_READ)
    names, digests = arrays[f"{_READ}name"].tolist(), arrays[f"{_READ}digest"]
    for name, digest in zip(names, digests, strict=True):
        yield os.fsdecode(name), digest.tobytes().hex() if digest.any() else UNREAD


def _parts(found: Sequence[Record]) -> Iterator[Part]:
    """The parts of finished shards, each read when it is its turn."""
    for record in found:
        _, arrays = record.read(_PART)
        yield {name.removeprefix(_PART): array for name, array in arrays.items()}


def records_of(folder: Path, names: Sequence[str]) -> list[Record]:
    """What is known of the shards that are finished in a folder, in this order."""
    there = records(folder / _WORK)
    return [there[name] for name in names]


def write_table(path: Path, write: WriteTable, found: Sequence[Record]) -> None:
    """Write a whole-dataset table from the parts of finished shards."""
    with tables.new_table(path) as file:
        write(file, _parts(found))


def bind(
    folder: Path,
    identity: Identity | Complete,
    names: Sequence[str],
    writers: Mapping[str, WriteTable] | None = None,
    *,
    skip_bad: bool,
    check: Check = accept,
) -> Manifest:
    """Turn a folder in which every shard is finished into a bundle, tables included.

    A shard of which no sample could be read stays out of it. `check` may refuse the manifest.

    Raises:
        SourceError: an earlier run left samples out, and this one may not.
    """
    found = records_of(folder, names)
    finished = [*map(_finished, found)]
    left_out = {sample for f in finished for sample in f.left_out}
    if left_out and not skip_bad:
        bad = min(left_out, key=lambda sample: sample.index)
        raise SourceError(f"{bad.file}: {bad.reason} (skip-bad leaves such samples out)")
    whole = identity(found) if callable(identity) else identity
    empty = [f.shard.name for f in finished if not f.shard.samples]
    full = [f for f in finished if f.shard.samples]
    shards = [f.shard for f in full]
    work = folder / _WORK
    pieces = [f.pieces for f in full]
    index = write_index(work / INDEX, shards, [f.rows for f in full], pieces)
    publish(work / INDEX, folder / INDEX)
    for name, write in (writers or {}).items():
        write_table(work / name, write, found)
        publish(work / name, folder / name)
    _write(folder / CARD, card(whole, shards, index.rows, tuple(writers or ())))
    manifest = Manifest(
        identity=whole,
        shards=tuple(shards),
        tables=tuple(_file(folder / name) for name in (INDEX, *(writers or ()))),
        card=_file(folder / CARD),
        left_out=tuple(sorted(left_out, key=lambda sample: (sample.index, sample.file))),
    )
    check(manifest)
    for name in empty:
        (folder / name).unlink(missing_ok=True)
    _write(work / MANIFEST, manifest.to_json())
    _write(folder / SUMS, sums(manifest, sha256(work / MANIFEST)))
    publish(work / MANIFEST, folder / MANIFEST)
    return manifest


def clear(folder: Path) -> None:
    """Remove the working files of a build whose manifest is written."""
    shutil.rmtree(folder / _WORK, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode())


def _file(path: Path) -> File:
    return File(path.name, path.stat().st_size, sha256(path))
