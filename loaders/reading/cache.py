"""A cache of what was fetched, shared by all processes of a machine.

Its files are named by the sha256 of what is in them, which is checked when they are read. A file
appears whole or not at all, so a process that is killed leaves nothing broken, and several may use
one cache. When the limit is reached, those that were used longest ago go first; nothing but its
own files is ever removed.
"""

import fcntl
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from quire.artifacts.errors import BundleError
from quire.loaders.reading.held import Bytes
from quire.loaders.reading.mapped import map_open

CACHE, LIMIT = "QUIRE_CACHE", "QUIRE_CACHE_BYTES"  # environment variables
_TAG = "CACHEDIR.TAG"  # by which backups know a cache: https://bford.info/cachedir/
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of quire's.\n"
_FILES = "sha256"
_NAME = re.compile(r"[0-9a-f]{64}")
_LOOK = 1 / 32  # of the limit: as much is added before a process looks whether it is reached
_FULL = 0.9  # of the limit: what is left when it was


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a cache."""

    files: int
    bytes: int


class Cache:
    """A folder of files by their digests."""

    def __init__(self, folder: Path, limit: int | None) -> None:
        """`limit`: bytes; None: no limit.

        Raises:
            BundleError: the folder cannot be written, or holds something else.
        """
        self.folder = folder
        self.limit = limit
        self._added = 0  # bytes, since it was last looked whether the limit is reached
        self._works = True
        if folder.exists() and not is_cache(folder) and any(folder.iterdir()):
            raise BundleError(f"{folder} is no cache, and not empty: name another folder")
        try:
            (folder / _FILES).mkdir(parents=True, exist_ok=True)
            (folder / _TAG).write_text(_SIGNATURE)
        except OSError as error:
            raise BundleError(f"the cache {folder} cannot be written ({error})") from error

    def open(self, digest: str, length: int) -> Bytes | None:
        """The bytes with a digest, mapped; None where they are not there. -> (length,)."""
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                data = map_open(file)
            if len(data) == length and hashlib.sha256(data.data).hexdigest() == digest:
                os.utime(path)
                return data
            path.unlink(missing_ok=True)  # damaged: it is fetched again
        except OSError:  # not there, or gone since
            pass
        return None

    def put(self, digest: str, data: memoryview) -> None:
        """Keep bytes whose digest is this; where that fails, go on without."""
        if not self._works:
            return
        path = self._path(digest)
        try:
            path.parent.mkdir(exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".new-", delete=False) as new:
                try:
                    new.write(data)
                    new.flush()
                    os.replace(new.name, path)
                except BaseException:
                    os.unlink(new.name)
                    raise
            self._added += len(data)
            if self.limit is not None and self._added >= _LOOK * self.limit:
                self._added = 0
                self._trim(self.limit)
        except OSError as error:
            self._works = False
            warnings.warn(f"nothing more is cached in {self.folder} ({error})", stacklevel=2)

    def _trim(self, limit: int) -> None:
        """Remove what was used longest ago, if there is too much; one process at a time does."""
        with (self.folder / _TAG).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = sorted(
                (one.st_mtime_ns, one.st_size, path) for path, one in _files(self.folder)
            )
            total = sum(size for _, size, _ in found)
            if total <= limit:
                return
            for _, size, path in found:
                if total <= _FULL * limit:
                    break
                path.unlink(missing_ok=True)
                total -= size

    def _path(self, digest: str) -> Path:
        return self.folder / _FILES / digest[:2] / digest


def cache_of(
    folder: str | os.PathLike[str] | None, limit: int | None, environment: Mapping[str, str]
) -> Cache | None:
    """The cache that is asked for; what is not said is taken from the environment.

    Raises:
        BundleError: it cannot be written, or its limit is no number.
    """
    folder = folder or environment.get(CACHE)
    if not folder:
        return None
    if limit is None and (text := environment.get(LIMIT)):
        if not text.isdecimal():
            raise BundleError(f"{LIMIT} is {text!r}, and must be a number of bytes")
        limit = int(text)
    return Cache(Path(folder).expanduser(), limit)


def is_cache(folder: Path) -> bool:
    """Whether a folder is a cache of ours."""
    try:
        return (folder / _TAG).read_text() == _SIGNATURE
    except (OSError, UnicodeDecodeError):
        return False


def content(folder: Path) -> Content:
    """How much is in a cache."""
    sizes = [one.st_size for _, one in _files(folder)]
    return Content(len(sizes), sum(sizes))


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of a cache, but for those that go in the meantime."""
    for part in (folder / _FILES).iterdir():
        for path in part.iterdir() if part.is_dir() else ():
            if _NAME.fullmatch(path.name):
                try:
                    yield path, path.stat()
                except OSError:
                    pass
