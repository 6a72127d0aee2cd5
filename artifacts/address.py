"""Addresses of bundles: http, https, and whatever fsspec knows."""

import hashlib
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import urlsplit

import fsspec

from quire.artifacts.digest import whole_file
from quire.artifacts.errors import BundleError
from quire.artifacts.http_folder import HTTPFolder, Refused, TooLarge, WholeOnly
from quire.artifacts.manifest import MAX_BYTES, File
from quire.artifacts.shards import Shard

Got = TypeVar("Got")

_PART = 1 << 23  # bytes of a large file that are fetched at a time
_TRIES = 3  # fetches of one file, or part of one, before it counts as lost
_SAID = 120  # characters of what a client says
_PAUSE = 0.2  # seconds before the second try, twice as many before the third
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")


def is_address(bundle: str) -> bool:
    """Whether a bundle is named by an address rather than by a folder.

    >>> is_address("HTTPS://example.org/fog"), is_address("data/fog"), is_address("~/a::b")
    (True, False, False)
    """
    return _SCHEME.match(bundle) is not None


class Address:
    """Where a bundle lies that is not in a folder; by any number of threads.

    Passwords, queries and signatures are in no message: see `shown`.
    """

    def __init__(self, text: str) -> None:
        """`text` may have a query that goes with every file, such as a shared-access signature."""
        scheme, mark, rest = text.partition("://" if "::" not in text else "::")
        text = scheme.lower() + mark + rest
        self.shown = shown(text)
        self.text = text.rstrip("/")
        http_only = scheme.lower() in ("http", "https") and mark == "://"
        self._http = HTTPFolder(text) if http_only else None
        self._fetched: Path | None = None  # the folder of files that were fetched

    def __str__(self) -> str:
        return self.shown

    def read(
        self, name: str, expected: Shard | File | None = None, *, most: int = MAX_BYTES
    ) -> bytes:
        """All of a file, as the manifest has it; where that is not known, of at most so many bytes.

        Raises:
            MissingFile: it is not there.
            LargeFile: it is larger.
            BundleError: it cannot be had, several times in a row, or its size or digest is another.
        """
        most = most if expected is None else expected.bytes

        def once() -> bytes:
            try:
                body = self._http.read(name, most) if self._http else self._whole(name, most)
            except TooLarge as error:
                if expected is None:
                    raise LargeFile(f"{self.shown}/{name} {error}") from None
                raise OtherBytes(f"{error}; the manifest says {most}") from None
            if expected is not None and hashlib.sha256(body).hexdigest() != expected.sha256:
                if len(body) != expected.bytes:
                    raise OtherBytes(f"has {len(body)} bytes; the manifest says {expected.bytes}")
                raise OtherBytes("is damaged: its digest is not the manifest's")
            return body

        return self.tried(name, once)

    def copy(
        self, name: str, expected: Shard | File, file: IO[bytes], count: Callable[[int], None]
    ) -> None:
        """All of a file, as the manifest has it, into an empty one; memory stays flat.

        `count` is called with the bytes that came, less than none where they must come again.

        Raises:
            BundleError: see `read`.
        """
        if expected.bytes <= _PART:
            file.write(self.read(name, expected))
            count(expected.bytes)
            return

        done = 0

        def again() -> None:
            nonlocal done
            file.seek(0)
            file.truncate()
            count(-done)
            done = 0

        def once() -> None:
            nonlocal done
            again()
            digest = hashlib.sha256()
            for start in range(0, expected.bytes, _PART):
                part = bytearray(min(_PART, expected.bytes - start))
                self.read_part(name, start, memoryview(part), lambda: None)
                digest.update(part)
                file.write(part)
                done += len(part)
                count(len(part))
            if digest.hexdigest() != expected.sha256:
                raise OtherBytes("is damaged: its digest is not the manifest's")

        try:
            self.tried(name, once)
        except WholeOnly:  # though it be after some parts
            again()
            file.write(self.read(name, expected))
            count(expected.bytes)

    def fetch(self, name: str, expected: Shard | File) -> Path:
        """All of a file, as the manifest has it, in a temporary file that lasts as long as this.

        Raises:
            BundleError: see `read`; or there is no space for it.
        """
        try:
            if self._fetched is None:
                self._fetched = Path(tempfile.mkdtemp(prefix="quire-"))
                weakref.finalize(self, shutil.rmtree, self._fetched, ignore_errors=True)
            path = self._fetched / name
            if not path.exists():
                body = self.read(name, expected)
                with whole_file(path) as file:  # another thread may want it, too
                    file.write(body)
        except OSError as error:
            raise BundleError(f"{self.shown}/{name} cannot be kept here ({error})") from error
        return path

    def read_part(
        self, name: str, start: int, into: memoryview, check: Callable[[], str | None]
    ) -> None:
        """As many bytes of a file from `start` on as there is space for, once they are right.

        `check` says what is wrong with them, or None.

        Raises:
            BundleError: they cannot be had, several times in a row, or are not right.
            WholeOnly: only whole files can be had.
        """

        def once() -> None:
            if self._http:
                self._http.read_part(name, start, into)
            else:
                body = self._by_fsspec(name, start, start + len(into))
                if len(body) > len(into):
                    raise WholeOnly
                if len(body) < len(into):
                    raise OtherBytes("ends early")
                into[:] = body
            if problem := check():
                raise OtherBytes(problem)

        self.tried(name, once)

    def read_start(self, name: str, length: int) -> bytes:
        """So many bytes from the start of a file, or all of it where it is shorter.

        Raises:
            BundleError: see `read`.
        """
        return self.tried(name, lambda: self._by_fsspec(name, 0, length))

    def entries(self, folder: str = "") -> dict[str, int | None]:
        """What is in it, or in a folder of it: the length of each file, None for a folder.

        Nothing where there is no such folder.

        Raises:
            BundleError: it cannot be listed, or is a file.
        """

        def once() -> dict[str, int | None]:
            filesystem, path = fsspec.url_to_fs(f"{self.text}/{folder}".rstrip("/"))
            filesystem.invalidate_cache(path)
            place = path.strip("/")
            try:
                found = filesystem.ls(path, detail=True)
            except FileNotFoundError:
                return {}
            except NotADirectoryError:
                raise BundleError(f"{self.shown} is a file") from None
            named = [(entry["name"].strip("/"), entry) for entry in found]
            if any(name == place and entry["type"] == "file" for name, entry in named):
                raise BundleError(f"{self.shown} is a file")
            return {
                name.rpartition("/")[2]: (entry["size"] or 0) if entry["type"] == "file" else None
                for name, entry in named
                if name != place
            }

        return self.tried(folder, once, what="listed")

    def _whole(self, name: str, most: int) -> bytes:
        body = self._by_fsspec(name, 0, most + 1)
        if len(body) > most:
            raise TooLarge(most)
        return body

    def _by_fsspec(self, name: str, start: int, stop: int) -> bytes:
        filesystem, path = fsspec.url_to_fs(f"{self.text}/{name}")
        body: bytes = filesystem.cat_file(path, start=start, end=stop)
        return body

    def tried(self, name: str, once: Callable[[], Got], *, what: str = "fetched") -> Got:
        """What `once` gives of a file, if need be the second or third time.

        `what` says in messages what cannot be done with it.

        Raises:
            BundleError: it cannot be had.
            WholeOnly: from `once`.
        """
        place, problem = f"{self.shown}/{name}", ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE * 2 ** (attempt - 1))
            try:
                return once()
            except (WholeOnly, BundleError):
                raise
            except FileNotFoundError:
                raise MissingFile(f"{place} is missing") from None
            except Refused as error:
                if error.status == 404:
                    raise MissingFile(f"{place} is missing") from None
                if not error.passes:
                    raise BundleError(f"{place} cannot be had: {error}") from None
                problem = f"cannot be had: {error}"
            except (ImportError, ValueError) as error:  # nothing here knows such addresses
                raise BundleError(f"{place} cannot be {what} ({self._said(error)})") from None
            except OtherBytes as error:
                problem = str(error)
            except Exception as error:  # each backend has errors of its own for a lost connection
                problem = f"cannot be {what} ({self._said(error)})"
        raise BundleError(f"{place} {problem}")

    def _said(self, error: Exception) -> str:
        """The first line of what an error says, without what nobody else may know."""
        text = str(error).replace(self.text, self.shown) or type(error).__name__
        parts = urlsplit(self.text)
        for secret in (parts.query, parts.password, parts.username):
            text = text.replace(secret, "...") if secret else text
        return text.splitlines()[0][:_SAID]


class MissingFile(BundleError):
    """There is no such file at an address."""


class LargeFile(BundleError):
    """A file at an address has more bytes than were asked for at most."""


class OtherBytes(Exception):
    """What came is not what the manifest says; from what `Address.tried` is given."""


class Location(str):
    """The place of a bundle as somebody gave it: a folder, or an address.

    Whatever prints it, or puts it into a message, gets it without password and signature; what
    opens it gets all of it.

    >>> print(Location("https://me:secret@example.org/fog?sig=abc"), Location("data/fog"))
    https://example.org/fog data/fog
    """

    def __new__(cls, text: str | os.PathLike[str]) -> "Location":
        """All of what was given, though it were a location itself."""
        return super().__new__(cls, os.fspath(text)[:])

    def __str__(self) -> str:
        text = self[:]  # a plain string
        return shown(text) if is_address(text) else text

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __repr__(self) -> str:
        return repr(str(self))


def place_of(bundle: str | os.PathLike[str] | Address) -> Path | Address:
    """Where a bundle lies: in a folder, or at an address."""
    if isinstance(bundle, Address):
        return bundle
    text = os.fspath(bundle)
    return Address(text) if is_address(text) else Path(text).expanduser()


def address_of(place: str | os.PathLike[str] | Address) -> Address:
    """The address of a place, which a folder has, too."""
    where = place_of(place)
    return where if isinstance(where, Address) else Address(f"file://{where.absolute()}")


def shown(address: str) -> str:
    """An address as anybody may see it: without user, password, query and fragment.

    >>> shown("https://me:secret@example.org/fog?sig=abc")
    'https://example.org/fog'
    """
    return re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", address)[0]).rstrip("/")
