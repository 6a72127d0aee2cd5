"""The trees that there are: folders of this machine, and what an address has that can be listed."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from quire.artifacts import digest
from quire.artifacts.address import Address, LargeFile, MissingFile
from quire.artifacts.errors import BundleError, SourceError
from quire.builders.sources import layout
from quire.builders.sources.tree import MAX_BYTES, UNREAD, Tree, UnfitError

Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_A_TIME = 16  # requests to an address


def tree_at(place: Path | Address, *, confined: bool = False) -> Tree:
    """A folder on a disk, or at an address that can be listed, such as s3://bucket/name.

    A `confined` tree has no file that lies outside it, though a link lead there.

    Raises:
        SourceError: nothing can be listed at the address.
    """
    if isinstance(place, Path):
        return Disk(Path(os.path.realpath(place)) if confined else place, confined)
    if place.text.startswith(("http://", "https://")):
        raise SourceError(f"{place} cannot be listed: a source is a folder, or in a bucket")
    return Remote(place.text)


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder of this machine; real and absolute where it is `confined`."""

    root: Path
    confined: bool = False

    def place(self, name: str = "") -> str:
        """See `Tree`."""
        return str(self.root / name)

    def below(self, folder: str) -> "Disk":
        """See `Tree`."""
        return Disk(self.root / folder, self.confined)

    def entries(self, folder: str = "") -> dict[str, bool]:
        """See `Tree`.

        Raises:
            SourceError: it cannot be listed; or it is a link, in a confined tree.
        """
        path = self.root / folder
        if self.confined and folder and path.is_symlink():
            raise SourceError(f"{path} is a link, and links to folders are not followed")
        if not self.is_folder(folder):
            return {}
        with layout.reading(path), os.scandir(path) as entries:
            return {entry.name: _is_folder(entry) for entry in entries}

    def found(self, folder: str = "") -> str:
        """See `Tree`."""
        return layout.found(self.root / folder)

    def is_file(self, name: str) -> bool:
        """See `Tree`."""
        with layout.reading(self.root / name):
            return (self.root / name).is_file()

    def is_folder(self, name: str = "") -> bool:
        """See `Tree`."""
        with layout.reading(self.root / name):
            return (self.root / name).is_dir()

    def sizes(self, names: Iterable[str]) -> list[int | None]:
        """See `Tree`."""
        return [self._size(name) for name in names]

    def _size(self, name: str) -> int | None:
        try:
            return self._file(name).stat().st_size
        except (UnfitError, OSError):
            return None

    def read(self, name: str, what: str = "a file", most: int = MAX_BYTES) -> bytes:
        """See `Tree`."""
        data = self.start(name, most + 1)
        if len(data) > most:
            raise UnfitError(f"{what} of more than {most} bytes")
        return data

    def start(self, name: str, length: int) -> bytes:
        """See `Tree`."""
        try:
            with self._file(name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                return file.read(min(length, size))
        except OSError as error:
            raise UnfitError(error.strerror or str(error)) from error

    def digest(self, name: str) -> str:
        """See `Tree`."""
        try:
            return digest.sha256(self._file(name))
        except (UnfitError, OSError):
            return UNREAD

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Tree`: one after the other."""
        return map(function, items)

    def _file(self, name: str) -> Path:
        """The path of what must be a file, and is no pipe, which would be waited for.

        Raises:
            UnfitError: it is not.
        """
        file = self.root / name
        if self.confined:
            file = Path(os.path.realpath(file))
            if not file.is_relative_to(self.root):
                raise UnfitError("a link that leads outside the folder")
        if not os.path.isfile(file):
            raise UnfitError("not a file" if os.path.exists(file) else "no such file")
        return file


@dataclass(frozen=True, slots=True)
class Remote:
    """A folder at an address."""

    text: str  # the address, with whatever in it is nobody's business

    def place(self, name: str = "") -> str:
        """See `Tree`."""
        return f"{self._address}/{name}".rstrip("/")

    def below(self, folder: str) -> "Remote":
        """See `Tree`."""
        return self if folder in ("", ".") else Remote(f"{self.text}/{folder}")

    def entries(self, folder: str = "") -> dict[str, bool]:
        """See `Tree`."""
        return {name: size is None for name, size in self._listed(folder).items()}

    def found(self, folder: str = "") -> str:
        """See `Tree`."""
        entries = self._listed(folder)
        return layout.listed(entries) if entries else "no such folder"

    def is_file(self, name: str) -> bool:
        """See `Tree`."""
        folder, _, last = name.rpartition("/")
        return self._listed(folder).get(last) is not None

    def is_folder(self, name: str = "") -> bool:
        """See `Tree`: one without files is none."""
        folder, _, last = name.rpartition("/")
        # what it lies in as a rule has fewer entries than a folder of images has
        return self._listed(folder).get(last, 0) is None if last else bool(self._listed(""))

    def sizes(self, names: Iterable[str]) -> list[int | None]:
        """See `Tree`."""
        divided = [name.rpartition("/")[::2] for name in names]
        folders = list(dict.fromkeys(folder for folder, _ in divided))
        listed = dict(zip(folders, self.map(self._listed, folders), strict=True))
        return [listed[folder].get(last) for folder, last in divided]

    def read(self, name: str, what: str = "a file", most: int = MAX_BYTES) -> bytes:
        """See `Tree`."""
        try:
            return self._address.read(name, most=most)
        except MissingFile:
            raise UnfitError("no such file") from None
        except LargeFile:
            raise UnfitError(f"{what} of more than {most} bytes") from None
        except BundleError as error:
            raise SourceError(str(error)) from error

    def start(self, name: str, length: int) -> bytes:
        """See `Tree`."""
        try:
            return self._address.read_start(name, length)
        except MissingFile:
            raise UnfitError("no such file") from None
        except BundleError as error:
            raise SourceError(str(error)) from error

    def digest(self, name: str) -> str:
        """See `Tree`."""
        try:
            return hashlib.sha256(self.read(name)).hexdigest()
        except UnfitError:
            return UNREAD

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """See `Tree`: a few are ahead of what is asked for."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            pending: deque[Callable[[], Result]] = deque()
            try:
                for item in items:
                    pending.append(pool.submit(function, item).result)
                    if len(pending) == 2 * _AT_A_TIME:
                        yield pending.popleft()()
                while pending:
                    yield pending.popleft()()
            finally:
                pool.shutdown(cancel_futures=True)

    def _listed(self, folder: str) -> dict[str, int | None]:
        try:
            return self._address.entries(folder)
        except BundleError as error:
            raise SourceError(str(error)) from error

    @property
    def _address(self) -> Address:
        return _address(self.text)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # asking the entry itself to follow a link that leads to itself raises
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


@lru_cache(maxsize=16)
def _address(text: str) -> Address:
    return Address(text)
