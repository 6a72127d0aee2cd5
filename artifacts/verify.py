"""Check a bundle against its own records: every byte by digest, every tar header by the index."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, ShardPieces, read_index
from quire.artifacts.manifest import INDEX, MANIFEST, MAX_BYTES, SUMS, Manifest, parse_sums, sums
from quire.artifacts.shards import BLOCK, TRAILER, Shard, headers, member_names, padded

_NAMED = 3  # damaged pieces of a shard, at most


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """A file that is not what it should be."""

    file: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


Report = Callable[[int, int], None]  # bytes hashed so far, bytes in all


def verify(folder: Path, *, report: Report | None = None) -> tuple[Problem, ...]:
    """Every problem of a bundle, sorted by file; none for a sound one.

    Files are only read, never followed out of the folder, and nothing is written.
    """
    if not folder.is_dir():
        return (Problem(str(folder), "no such folder"),)
    names = {entry.name: entry for entry in os.scandir(folder)}
    problems = [Problem(n, "a link") for n, entry in names.items() if entry.is_symlink()]
    plain = {n: folder / n for n, entry in names.items() if entry.is_file(follow_symlinks=False)}
    manifest, known, found = _records(plain)
    problems += found
    digests = _digests(plain, known, report)
    compared = list(_compare(set(names), known, digests))
    if manifest is not None:
        crossed = list(_cross_check(plain, manifest, digests))
        damaged = {problem.file for problem in (*problems, *compared, *crossed)}
        if not crossed and not damaged & {INDEX, MANIFEST}:
            # counts are worth believing only where the sizes are as the manifest says
            try:
                index = read_index(folder / INDEX, manifest)
            except BundleError as error:
                problems.append(Problem(INDEX, str(error)))
            else:
                compared = [_located(folder, problem, manifest, index) for problem in compared]
                problems += _structure(folder, manifest, index, damaged)
        problems += crossed
    return tuple(sorted({*problems, *compared}))


def _records(
    plain: Mapping[str, Path],
) -> tuple[Manifest | None, dict[str, str], list[Problem]]:
    """The manifest, the digests to hold the files against, and what is wrong with these records.

    Where manifest and SHA256SUMS disagree, the digests are those of SHA256SUMS.
    """
    manifest, known, problems = None, {}, []
    try:
        if plain[MANIFEST].stat().st_size > MAX_BYTES:
            raise BundleError("larger than any manifest")
        manifest = Manifest.from_json(plain[MANIFEST].read_text("utf-8"))
        known = {name: file.sha256 for name, file in manifest.files.items()}
    except (BundleError, OSError, UnicodeDecodeError) as error:
        problems.append(Problem(MANIFEST, str(error)))
    except KeyError:
        problems.append(Problem(MANIFEST, "missing: the bundle is not complete"))
    try:
        listed = parse_sums(plain[SUMS].read_text("ascii"))
    except (KeyError, OSError, UnicodeDecodeError) as error:
        reason = "missing" if isinstance(error, KeyError) else str(error)
        return manifest, known, [*problems, Problem(SUMS, reason)]
    if MANIFEST in plain and listed.get(MANIFEST) != sha256(plain[MANIFEST]):
        problems.append(Problem(MANIFEST, f"its digest is not the one in {SUMS}"))
        known = {n: d for n, d in listed.items() if Path(n).name == n and n != MANIFEST}
    return manifest, known, problems


def _digests(
    plain: Mapping[str, Path], known: Mapping[str, str], report: Report | None
) -> dict[str, str]:
    """The digest of every file that the bundle names and that is there."""
    wanted = [plain[name] for name in sorted(known) if name in plain]
    total, done = sum(path.stat().st_size for path in wanted), 0
    digests = {}
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        for path, digest in zip(wanted, pool.map(sha256, wanted), strict=True):
            digests[path.name] = digest
            done += path.stat().st_size
            if report is not None:
                report(done, total)
    return digests


def _compare(
    present: set[str], known: Mapping[str, str], digests: Mapping[str, str]
) -> Iterator[Problem]:
    """Files that are missing, damaged, or there without being part of the bundle."""
    for name, digest in known.items():
        if name not in present:
            yield Problem(name, "missing")
        elif name in digests and digests[name] != digest:
            yield Problem(name, "damaged: its digest is not the recorded one")
    for name in sorted(present - {*known, MANIFEST, SUMS}):
        yield Problem(name, "not part of the bundle")


def _cross_check(
    plain: Mapping[str, Path], manifest: Manifest, digests: Mapping[str, str]
) -> Iterator[Problem]:
    """Manifest against file sizes and against SHA256SUMS."""
    for name, file in manifest.files.items():
        if name in digests and (size := plain[name].stat().st_size) != file.bytes:
            yield Problem(name, f"{size} bytes; the manifest says {file.bytes}")
    if (
        SUMS in plain
        and plain[SUMS].read_bytes() != sums(manifest, sha256(plain[MANIFEST])).encode()
    ):
        yield Problem(SUMS, "does not say what the manifest says")


def _located(folder: Path, problem: Problem, manifest: Manifest, index: Index) -> Problem:
    """The same problem; of a shard with damaged bytes, where these are."""
    numbers = {shard.name: number for number, shard in enumerate(manifest.shards)}
    path = folder / problem.file
    if problem.file not in numbers or not path.is_file() or index.pieces is None:
        return problem
    places = damaged_pieces(path, numbers[problem.file], index.pieces)
    return Problem(problem.file, f"{problem.reason}; {_said(places)}") if places else problem


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


def _structure(
    folder: Path, manifest: Manifest, index: Index, damaged: set[str]
) -> Iterator[Problem]:
    """Tar headers and pieces against the index, for the shards whose bytes are as recorded."""
    bounds = np.cumsum([0, *(shard.samples for shard in manifest.shards)]).tolist()
    sound = {
        shard.name: (folder / shard.name, shard, index, number, slice(*bounds[number : number + 2]))
        for number, shard in enumerate(manifest.shards)
        if shard.name not in damaged
    }
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(lambda arguments: shard_problem(*arguments), sound.values())
        for name, reason in zip(sound, reasons, strict=True):
            if reason:
                yield Problem(name, reason)


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
