"""Check a bundle against its own records: every byte by digest, every tar header by the index."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quire.artifacts.address import Address, place_of
from quire.artifacts.bundle_files import Files, files_of
from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, ShardPieces, read_index
from quire.artifacts.manifest import (
    ABSENT,
    INDEX,
    MANIFEST,
    MAX_BYTES,
    OTHERS,
    SIGNATURES,
    SUMS,
    Manifest,
    parse_sums,
    sums,
)
from quire.artifacts.shards import BLOCK, TRAILER, Shard, headers, member_names, padded
from quire.artifacts.signatures import MAX_BYTES as MAX_SIGNATURES
from quire.artifacts.signatures import signers

_NAMED = 3  # damaged pieces of a shard, at most
_FETCHES = 8  # files that are fetched at a time


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A file that is not what it should be."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


Report = Callable[[int, int], None]  # bytes checked so far, bytes in all


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of a bundle."""

    problems: tuple[Problem, ...]
    absent: frozenset[str] = frozenset()
    """Shards that are not there by intention: see `quire.artifacts.absent`."""
    signers: tuple[str, ...] = ()
    """Who signed it, of those who were asked for."""


def verify(
    bundle: str | os.PathLike[str],
    *,
    allowed_signers: Path | None = None,
    signer: str | None = None,
    report: Report | None = None,
) -> tuple[Problem, ...]:
    """Every problem of a bundle, sorted by file; none for a sound one.

    Files are only read, never followed out of the folder, and nothing is written there. At an
    address each is fetched once, and what is there besides the bundle's files is not seen. Shards
    that are absent by intention are no problem: see `quire.artifacts.absent`.

    Args:
        bundle: a folder, or an address.
        allowed_signers: a file of OpenSSH's form; the bundle must be signed by somebody in it.
        signer: whose name in that file it must be.
        report: called with the bytes that were checked, and how many there are.
    """
    return examine(bundle, allowed_signers=allowed_signers, signer=signer, report=report).problems


def examine(
    bundle: str | os.PathLike[str],
    *,
    allowed_signers: Path | None = None,
    signer: str | None = None,
    report: Report | None = None,
) -> Verdict:
    """See `verify`; also what is absent, and who signed."""
    place = place_of(bundle)
    if isinstance(place, Path) and not place.is_dir():
        return Verdict((Problem(str(place), "no such folder"),))
    files = files_of(place)
    manifest, known, problems = _records(files)
    problems += [Problem(*found) for found in files.foreign({*known, *OTHERS})]
    found: tuple[str, ...] = ()
    if allowed_signers is not None:
        found, more = _signed(files, manifest, allowed_signers, signer)
        problems += more
    check = _Check(files, manifest, known)
    if INDEX in known:
        problems += check(INDEX)  # before the shards, which are held against it
    absent, more = _absent(files, manifest)
    problems += more
    rest = sorted(known.keys() - {INDEX} - absent)
    total, done = sum(map(check.size, rest)), 0
    with ThreadPoolExecutor(_FETCHES if isinstance(place, Address) else None) as pool:
        for name, of_it in zip(rest, pool.map(check, rest), strict=True):
            problems += of_it
            done += check.size(name)
            if report is not None:
                report(done, total)
    return Verdict(tuple(sorted({*problems})), absent, found)


def _absent(files: Files, manifest: Manifest | None) -> tuple[frozenset[str], list[Problem]]:
    """The shards that are not there by intention, and what is wrong with their list."""
    if manifest is None:
        return frozenset(), []
    try:
        return files.absent(manifest), []
    except BundleError as error:
        return frozenset(), [Problem(ABSENT, str(error))]


def _signed(
    files: Files, manifest: Manifest | None, allowed: Path, signer: str | None
) -> tuple[tuple[str, ...], list[Problem]]:
    """Who signed the manifest, of those who may; a problem where nobody did."""
    try:
        with files.file(SIGNATURES, MAX_SIGNATURES) as path:
            text = path.read_bytes()[:MAX_SIGNATURES].decode("ascii", "replace")
    except FileNotFoundError:
        return (), [Problem(SIGNATURES, "missing: nobody signed the bundle")]
    except (BundleError, OSError) as error:
        return (), [Problem(SIGNATURES, str(error))]
    data = b"" if manifest is None else manifest.to_json().encode()  # which is the file's text
    found = signers(data, text, allowed, signer)
    whom = "an allowed signer" if signer is None else signer
    reason = f"the manifest is not signed by {whom}"
    return found, [] if found else [Problem(SIGNATURES, reason)]


def _records(files: Files) -> tuple[Manifest | None, dict[str, str], list[Problem]]:
    """The manifest, the digests to hold the files against, and what is wrong with these records.

    Where manifest and SHA256SUMS disagree, the digests are those of SHA256SUMS.
    """
    manifest, known, problems = None, {}, []
    digest = ""
    try:
        with files.file(MANIFEST) as path:
            if path.stat().st_size > MAX_BYTES:
                raise BundleError("larger than any manifest")
            digest = sha256(path)
            manifest = Manifest.from_json(path.read_text("utf-8"))
        known = {name: file.sha256 for name, file in manifest.files.items()}
    except FileNotFoundError:
        problems.append(Problem(MANIFEST, "missing: the bundle is not complete"))
    except (BundleError, OSError, UnicodeDecodeError) as error:
        problems.append(Problem(MANIFEST, str(error)))
    try:
        with files.file(SUMS) as path:
            text = path.read_text("ascii")
    except FileNotFoundError:
        return manifest, known, [*problems, Problem(SUMS, "missing")]
    except (BundleError, OSError, UnicodeDecodeError) as error:
        return manifest, known, [*problems, Problem(SUMS, str(error))]
    listed = parse_sums(text)
    if digest and listed.get(MANIFEST) != digest:
        problems.append(Problem(MANIFEST, f"its digest is not the one in {SUMS}"))
        known = {n: d for n, d in listed.items() if Path(n).name == n and n != MANIFEST}
    if manifest is not None and text != sums(manifest, digest):
        problems.append(Problem(SUMS, "does not say what the manifest says"))
    return manifest, known, problems


class _Check:
    """Holds files against what is known of them; hashing releases the interpreter's lock."""

    def __init__(self, files: Files, manifest: Manifest | None, known: Mapping[str, str]) -> None:
        self.files = files
        self.known = known
        self.manifest = manifest
        self.index: Index | None = None  # once it was checked, and is sound
        self.expected = {} if manifest is None else manifest.files
        shards = () if manifest is None else manifest.shards
        self.shards = {shard.name: number for number, shard in enumerate(shards)}
        self.bounds = np.cumsum([0, *(shard.samples for shard in shards)], dtype=object).tolist()

    def size(self, name: str) -> int:
        """How many bytes a file should have; 0 where nobody knows."""
        expected = self.expected.get(name)
        return 0 if expected is None else expected.bytes

    def __call__(self, name: str) -> list[Problem]:
        """What is wrong with a file."""
        try:
            with self.files.file(name, max(self.size(name), MAX_BYTES)) as path:
                return [Problem(name, reason) for reason in self._reasons(name, path)]
        except FileNotFoundError:
            return [Problem(name, "missing")]
        except (BundleError, OSError) as error:
            return [Problem(name, str(error))]

    def _reasons(self, name: str, path: Path) -> Iterator[str]:
        size, number = path.stat().st_size, self.shards.get(name)
        expected = self.expected.get(name)
        as_long = expected is not None and expected.bytes == size
        if expected is not None and not as_long:
            yield f"{size} bytes; the manifest says {expected.bytes}"
        if sha256(path) != self.known[name]:
            places = self._damaged(path, number) if as_long else []
            where = f"; {_said(places)}" if places else ""
            yield f"damaged: its digest is not the recorded one{where}"
        elif expected is None or not as_long or expected.sha256 != self.known[name]:
            return  # the manifest is not to be believed
        elif name == INDEX and self.manifest is not None:
            self.index = read_index(path.read_bytes(), self.manifest)
        elif number is not None and self.index is not None and self.manifest is not None:
            rows = slice(*self.bounds[number : number + 2])
            shard = self.manifest.shards[number]
            if problem := shard_problem(path, shard, self.index, number, rows):
                yield problem

    def _damaged(self, path: Path, number: int | None) -> list[tuple[int, int]]:
        """Which pieces of a shard are damaged, as far as that is known."""
        if number is None or self.index is None or self.index.pieces is None:
            return []
        return damaged_pieces(path, number, self.index.pieces)


def _said(places: Sequence[tuple[int, int]]) -> str:
    """The first pieces by name, and how many more there are."""
    first = ", ".join(f"bytes {start:,} to {end:,}" for start, end in places[:_NAMED])
    more = len(places) - _NAMED
    return f"in {first}{f' and {more} more pieces' if more > 0 else ''}"


def damaged_pieces(path: Path, number: int, pieces: ShardPieces) -> list[tuple[int, int]]:
    """Where in a shard bytes differ from the digests in the index: [start, end) of its pieces.

    `number` is the shard's.
    """
    own = pieces.of(number)
    starts, ends = pieces.starts[own].tolist(), pieces.ends[own].tolist()
    tar = np.memmap(path, np.uint8, mode="r")
    return [
        (start, end)
        for start, end, digest in zip(starts, ends, pieces.digests[own], strict=True)
        if hashlib.sha256(tar[start:end].data).digest() != digest.tobytes()
    ]


def shard_problem(path: Path, shard: Shard, index: Index, number: int, rows: slice) -> str | None:
    """Why a shard is not the plain tar that the index describes; None when it is.

    Its members must follow one another without gaps, be regular files with the names of their
    samples, and end in an empty trailer: a link, a member `../x`, or one that the index does not
    know is none of these.
    """
    extensions = sorted(index.rows.offsets)
    offsets = np.stack([index.rows.offsets[e][rows] for e in extensions], axis=1)
    lengths = np.stack([index.rows.lengths[e][rows] for e in extensions], axis=1)
    ends = (BLOCK + padded(lengths)).cumsum().reshape(lengths.shape)
    if not np.array_equal(ends - padded(lengths), offsets):
        return "its members are not where the index says"
    end = int(ends[-1, -1]) if ends.size else 0
    if end + len(TRAILER) != shard.bytes:
        return "it holds more, or less, than the members in the index"
    tar = np.memmap(path, np.uint8, mode="r")
    if tar[end:].any():
        return "it goes on behind its last member"
    for column, extension in enumerate(extensions):
        names = member_names(index.rows.keys[rows], extension)
        found = tar[(offsets[:, column, None] - BLOCK) + np.arange(BLOCK)]
        if not np.array_equal(found, headers(names, lengths[:, column])):
            return f"its .{extension} members are not the plain files that the index describes"
    if index.pieces is not None and (places := damaged_pieces(path, number, index.pieces)):
        return f"the index has other digests of its pieces, {_said(places)}"
    return None
