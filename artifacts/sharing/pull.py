"""Copy a bundle, or a part of it, from an address into a folder."""

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from quire.artifacts.absent import absent_text
from quire.artifacts.address import Address, MissingFile, address_of
from quire.artifacts.bundle import manifest_at, read_manifest
from quire.artifacts.digest import sha256, whole_file
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, read_index
from quire.artifacts.lock import held
from quire.artifacts.manifest import ABSENT, INDEX, MANIFEST, SIGNATURES, SUMS, Manifest, sums
from quire.artifacts.shards import Shard
from quire.artifacts.sharing.transfers import (
    AnyFile,
    Count,
    Report,
    Transfer,
    carry_out,
    sort_out,
)
from quire.artifacts.signatures import merged, signatures_in

WORK = ".pulling"
_LOCK = "lock"

Choose = Callable[[Index], Collection[int]]
"""The numbers of the shards that are wanted, from the index."""
Derive = Callable[[Manifest, Collection[str], Path], None]
"""Makes shards in the folder by their names, such as come out as the manifest has them; what is
unfinished lies in the folder that is given."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull did, or would do."""

    transfer: Transfer
    derived: tuple[str, ...]  # shards that were made here
    otherwise: tuple[str, ...]  # shards that were, came out otherwise, and were fetched
    absent: frozenset[str]  # shards that are not here, since nobody wanted them


def pull(
    bundle: str | os.PathLike[str],
    folder: Path,
    *,
    choose: Choose | None = None,
    derive: Derive | None = None,
    dry_run: bool = False,
    report: Report | None = None,
) -> Pulled:
    """Copy a bundle into a folder; one that was stopped goes on.

    What is there and has the right digest is not fetched again, so damage is mended, too. The
    manifest is written last: until then there is no bundle in the folder.

    Args:
        bundle: its address, or another folder.
        folder: without a bundle, or with this one or a part of it.
        choose: which shards are wanted, where not all; the others are absent by intention, and a
            later pull brings them.
        derive: makes shards here that are missing; what comes out otherwise is fetched.
        dry_run: only tell what would be fetched; nothing is derived.
        report: called with the bytes that are there, and how many there will be.

    Raises:
        BundleError: there is no sound bundle at the address, or it cannot be had; or the folder
            holds something else.
    """
    address, folder = address_of(bundle), folder.absolute()
    manifest = read_manifest(address)
    _check_free(folder, manifest)
    pulled = _Pull(address, folder, manifest, _wanted(address, manifest, choose))
    if dry_run:
        return pulled.outcome()
    with _claimed(folder, manifest):
        pulled.derive(derive)
        outcome = pulled.outcome()
        jobs = [partial(pulled.fetch, file) for file in outcome.transfer.moved]
        carry_out(outcome.transfer, jobs, report)
        pulled.finish(outcome.absent)
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return outcome


def _wanted(address: Address, manifest: Manifest, choose: Choose | None) -> tuple[Shard, ...]:
    if choose is None:
        return manifest.shards
    index = read_index(address.read(INDEX, manifest.files[INDEX]), manifest)
    return tuple(manifest.shards[number] for number in sorted(choose(index)))


def _check_free(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder that holds anything but this bundle, or what was pulled of it.

    Raises:
        BundleError: it says in which field another bundle differs.
    """
    for path in (folder / MANIFEST, folder / WORK / MANIFEST):
        if path.is_file():
            there = manifest_at(path)
            if there.sha256 != manifest.sha256:
                raise BundleError(f"{folder} holds another bundle; {manifest.difference(there)}")
            return
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file")
    if folder.exists() and any(entry.name != WORK for entry in folder.iterdir()):
        raise BundleError(f"{folder} is not empty and holds no such bundle: name another folder")


@contextlib.contextmanager
def _claimed(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Take a folder for one pull."""
    work = folder / WORK
    work.mkdir(parents=True, exist_ok=True)
    with held(work / _LOCK, BundleError(f"another process is pulling into {folder}")):
        _check_free(folder, manifest)
        with whole_file(work / MANIFEST) as file:
            file.write(manifest.to_json().encode())
        yield


class _Pull:
    """One pull of some shards, and of all else that a bundle has."""

    def __init__(
        self, address: Address, folder: Path, manifest: Manifest, wanted: Sequence[Shard]
    ) -> None:
        self.address = address
        self.folder = folder
        self.manifest = manifest
        self.files: tuple[AnyFile, ...] = (*manifest.tables, manifest.card, *wanted)
        self.wanted = wanted
        self.derived: tuple[str, ...] = ()
        self.otherwise: tuple[str, ...] = ()
        self._right: set[str] = set()  # files whose bytes were looked at

    def outcome(self) -> Pulled:
        """What is to be fetched, and what will then be absent."""
        transfer = sort_out(self.files, self.is_there)
        names = {file.name for file in self.files}
        others = [shard for shard in self.manifest.shards if shard.name not in names]
        absent = frozenset(shard.name for shard in others if not self._is_as_long(shard))
        return Pulled(transfer, self.derived, self.otherwise, absent)

    def is_there(self, file: AnyFile) -> bool:
        """Whether a file has the right bytes; nobody looks at them twice."""
        if file.name not in self._right and self._is_as_long(file):
            if sha256(self.folder / file.name) == file.sha256:
                self._right.add(file.name)
        return file.name in self._right

    def _is_as_long(self, file: AnyFile) -> bool:
        path = self.folder / file.name
        return not path.is_symlink() and path.is_file() and path.stat().st_size == file.bytes

    def derive(self, make: Derive | None) -> None:
        """Make the shards here that are missing."""
        if make is None:
            return
        missing = sort_out(self.wanted, self.is_there).moved
        if missing:
            make(self.manifest, {shard.name for shard in missing}, self.folder / WORK)
        made = sort_out(missing, self.is_there)
        self.derived = tuple(shard.name for shard in made.kept)
        self.otherwise = tuple(shard.name for shard in made.moved)

    def fetch(self, file: AnyFile, count: Count) -> None:
        """Fetch a file."""
        path = self.folder / file.name
        with whole_file(path, partials=self.folder / WORK) as copy:
            self.address.copy(file.name, file, copy, count)

    def finish(self, absent: frozenset[str]) -> None:
        """Turn the folder into a bundle, or a part of one."""
        with contextlib.suppress(MissingFile):
            theirs = self.address.read(SIGNATURES).decode("ascii", "replace")
            if found := merged(signatures_in(self.folder), theirs):
                self._write(SIGNATURES, found)
        if absent:
            self._write(ABSENT, absent_text(absent))
        text = self.manifest.to_json()
        self._write(SUMS, sums(self.manifest, self.manifest.sha256))
        self._write(MANIFEST, text)
        if not absent:
            (self.folder / ABSENT).unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        with whole_file(self.folder / name, partials=self.folder / WORK) as file:
            file.write(text.encode())
