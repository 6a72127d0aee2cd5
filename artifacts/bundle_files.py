"""The files of a bundle, one after the other, wherever they are."""

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from quire.artifacts.absent import read_absent
from quire.artifacts.address import Address, MissingFile
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import MAX_BYTES, Manifest


class Files(Protocol):
    """The files of a bundle, wherever they are."""

    def foreign(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """What is there besides the files known, and which of them are links; with the reason."""

    def file(self, name: str, most: int = MAX_BYTES) -> AbstractContextManager[Path]:
        """A file, for as long as the context; at an address, of at most so many bytes.

        Raises:
            FileNotFoundError: it is not there.
            BundleError: it cannot be had.
        """

    def absent(self, manifest: Manifest) -> frozenset[str]:
        """The shards that are not there by intention.

        Raises:
            BundleError: what is said of them makes no sense.
        """


class InFolder:
    """Files of a folder; they are never followed out of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries = {entry.name: entry for entry in os.scandir(folder)}

    def foreign(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """See `Files`."""
        for name, entry in self.entries.items():
            if entry.is_symlink():
                yield name, "a link"
            elif name not in known:
                yield name, "not part of the bundle"

    @contextmanager
    def file(self, name: str, most: int = MAX_BYTES) -> Iterator[Path]:
        """See `Files`."""
        entry = self.entries.get(name)
        if entry is None:
            raise FileNotFoundError(name)
        if not entry.is_file(follow_symlinks=False):
            raise BundleError("a link" if entry.is_symlink() else "no plain file")
        yield self.folder / name

    def absent(self, manifest: Manifest) -> frozenset[str]:
        """See `Files`."""
        return read_absent(self.folder, manifest) - self.entries.keys()


class AtAddress:
    """Files that are fetched to look at them, and thrown away then."""

    def __init__(self, address: Address) -> None:
        self.address = address

    def foreign(self, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """See `Files`; an address does not tell what else is there."""
        yield from ()

    @contextmanager
    def file(self, name: str, most: int = MAX_BYTES) -> Iterator[Path]:
        """See `Files`."""
        with tempfile.TemporaryDirectory(prefix="quire-") as scratch:
            path = Path(scratch) / name
            try:
                path.write_bytes(self.address.read(name, most=most))
            except MissingFile:
                raise FileNotFoundError(name) from None
            except BundleError as error:
                raise BundleError(str(error).removeprefix(f"{self.address}/{name} ")) from None
            yield path

    def absent(self, manifest: Manifest) -> frozenset[str]:
        """See `Files`; an address has all of them."""
        return frozenset()


def files_of(place: Path | Address) -> Files:
    """Those of a bundle in a folder, or at an address."""
    return AtAddress(place) if isinstance(place, Address) else InFolder(place)
