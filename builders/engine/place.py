"""Where a bundle is built: a folder, or an address that no worker has as a folder."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Protocol

from quire.artifacts.address import Address, MissingFile, place_of
from quire.artifacts.bundle import read_manifest
from quire.artifacts.digest import whole_file
from quire.artifacts.errors import BuildError
from quire.artifacts.manifest import MANIFEST, SUMS, Identity, Manifest
from quire.artifacts.sharing.notes import Notes
from quire.artifacts.sharing.target import WORK as UNFINISHED
from quire.artifacts.sharing.target import Target
from quire.builders.engine import folder as building
from quire.builders.engine.recipe import Part, WriteTable
from quire.builders.engine.records import SUFFIX, packed

_WORK = ".building"


class Place(Protocol):
    """What a build asks of the place that it builds in; it travels to the workers."""

    def check(self, identity: Identity) -> None:
        """Refuse a place that this build may not go on in; nothing is written.

        Raises:
            BuildError: it belongs to another recipe or source, or holds something else.
        """

    def claim(self, identity: Identity) -> AbstractContextManager[None]:
        """Take it for one build.

        Raises:
            BuildError: see `check`; or another process is building there.
        """

    def manifest(self) -> Manifest | None:
        """That of the bundle, when it is complete."""

    def finished(self) -> set[str]:
        """The shards of this build that are there."""

    def shard(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A new shard, which gets its name when it is complete."""

    def record(self, finished: building.Finished, part: Part) -> None:
        """Note that a shard is there, and keep its part of the tables."""

    def bind(
        self,
        identity: Identity | building.Complete,
        names: Sequence[str],
        writers: Mapping[str, WriteTable],
        *,
        skip_bad: bool,
        check: building.Check = building.accept,
    ) -> Manifest:
        """Turn a place in which every shard is finished into a bundle; the manifest is last.

        `check` may refuse the manifest, and then there is no bundle.
        """

    def clear(self) -> None:
        """Remove the working files of a build whose manifest is written."""


def build_place(place: str | os.PathLike[str] | Address) -> Place:
    """A folder or an address to build in.

    Raises:
        BundleError: nothing can be written at the address.
    """
    where = place_of(place)
    if isinstance(where, Address):
        return AddressPlace(where)
    return FolderPlace(where.absolute())


class FolderPlace:
    """A folder, which every worker sees under the same name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def check(self, identity: Identity) -> None:
        """See `Place`."""
        building.check(self.folder, identity)

    def claim(self, identity: Identity) -> AbstractContextManager[None]:
        """See `Place`."""
        return building.claim(self.folder, identity)

    def manifest(self) -> Manifest | None:
        """See `Place`."""
        path = self.folder / MANIFEST
        return Manifest.from_json(path.read_text("utf-8")) if path.exists() else None

    def finished(self) -> set[str]:
        """See `Place`."""
        return building.finished_shards(self.folder)

    def shard(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """See `Place`."""
        return whole_file(self.folder / name, partials=building.partials(self.folder))

    def record(self, finished: building.Finished, part: Part) -> None:
        """See `Place`."""
        building.record(self.folder, finished, part)

    def bind(
        self,
        identity: Identity | building.Complete,
        names: Sequence[str],
        writers: Mapping[str, WriteTable],
        *,
        skip_bad: bool,
        check: building.Check = building.accept,
    ) -> Manifest:
        """See `Place`."""
        return building.bind(self.folder, identity, names, writers, skip_bad=skip_bad, check=check)

    def clear(self) -> None:
        """See `Place`."""
        building.clear(self.folder)


class AddressPlace:
    """An address: workers write each shard to scratch and upload it, and then its record.

    Nothing locks an address. Two builds of one bundle at once upload the same bytes; of two others
    at least one sees that the other has begun, and is refused.
    """

    def __init__(self, address: Address) -> None:
        """See `quire.artifacts.sharing.target.Target`."""
        self.address = address
        self.target = Target(address)
        self._notes = Notes(self.target, _WORK)

    def __reduce__(self) -> tuple[type["AddressPlace"], tuple[Address]]:
        """What travels to a worker: no connection."""
        return AddressPlace, (Address(self.address.text),)

    def check(self, identity: Identity) -> None:
        """See `Place`."""
        if (manifest := self.manifest()) is not None:
            building.refuse_incomplete(identity, str(self.address))
            difference = identity.as_read().difference(manifest.identity)
        else:
            difference = self._notes.difference(_own(identity), identity)
        if difference:
            raise BuildError(f"{self.address} belongs to another build; {difference}")
        if manifest is None and not self._notes.any():
            foreign = {name for name in self.target.sizes() if not name.startswith(".")}
            if foreign:
                raise BuildError(
                    f"{self.address} holds {min(foreign)!r}, and no build of ours:"
                    " name another address"
                )

    @contextmanager
    def claim(self, identity: Identity) -> Iterator[None]:
        """See `Place`."""
        self.check(identity)
        if self.manifest() is None:
            self._notes.begin(_own(identity), identity, lambda: self.check(identity))
        yield

    def manifest(self) -> Manifest | None:
        """See `Place`."""
        try:
            return read_manifest(self.address)
        except MissingFile:
            return None

    def finished(self) -> set[str]:
        """See `Place`; a record is written after its shard."""
        names = self.target.sizes(_WORK)
        return {name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)}

    @contextmanager
    def shard(self, name: str) -> Iterator[IO[bytes]]:
        """See `Place`."""
        with tempfile.TemporaryDirectory(prefix="quire-") as scratch:
            path = Path(scratch) / name
            with path.open("wb") as file:
                yield file
            self.target.put([path], lambda size: None)

    def record(self, finished: building.Finished, part: Part) -> None:
        """See `Place`."""
        name = f"{_WORK}/{finished.shard.name}{SUFFIX}"
        self.target.write(name, packed(*building.packing(finished, part)))

    def bind(
        self,
        identity: Identity | building.Complete,
        names: Sequence[str],
        writers: Mapping[str, WriteTable],
        *,
        skip_bad: bool,
        check: building.Check = building.accept,
    ) -> Manifest:
        """See `Place`: index and tables are made here, from the records."""
        with tempfile.TemporaryDirectory(prefix="quire-") as scratch:
            folder = Path(scratch)
            building.partials(folder).mkdir()
            with (
                (building.partials(folder) / f"all{SUFFIX}").open("wb") as records,
                ThreadPoolExecutor(self.target.at_a_time) as pool,
            ):
                for record in pool.map(self._record_of, names):
                    records.write(record)
            manifest = building.bind(
                folder, identity, names, writers, skip_bad=skip_bad, check=check
            )
            files = (*manifest.tables, manifest.card)
            self.target.put([folder / file.name for file in files], lambda size: None)
            self.target.check_arrived(manifest.files.values())
            for name in sorted(set(names) - manifest.files.keys()):
                self.target.remove(name)  # of which no sample could be read
            for name in (SUMS, MANIFEST):
                self.target.write(name, (folder / name).read_bytes())
        return manifest

    def _record_of(self, name: str) -> bytes:
        return self.target.read(f"{_WORK}/{name}{SUFFIX}")

    def clear(self) -> None:
        """See `Place`."""
        for folder in (_WORK, UNFINISHED):
            self.target.remove(folder)


def _own(identity: Identity) -> str:
    return json.dumps(asdict(identity), sort_keys=True)
