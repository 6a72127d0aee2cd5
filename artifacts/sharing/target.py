"""An address that files are written to, by whatever fsspec knows."""

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import fsspec
from fsspec.callbacks import Callback

from quire.artifacts.address import Address, OtherBytes
from quire.artifacts.errors import BundleError
from quire.artifacts.sharing.transfers import AnyFile, Count

WORK = ".pushing"  # holds what is not finished, and the records of pushes
_WHOLE = frozenset(  # stores in which a file appears when all of it is there
    ("abfs", "abfss", "az", "gcs", "gs", "hf", "memory", "oci", "oss", "s3", "s3a")
)


class Target:
    """Where a bundle is written to; each file appears whole, or not at all."""

    at_a_time = 16
    """How many groups of files."""

    def __init__(self, address: Address) -> None:
        """`address` is any that can be written to.

        Raises:
            BundleError: it cannot.
        """
        self.address = address
        scheme = address.text.partition(":")[0]
        if scheme in ("http", "https"):
            raise BundleError(f"{address} can be read, and not written to")
        try:
            self.files, self._path = fsspec.url_to_fs(address.text)
        except (ImportError, ValueError) as error:
            raise BundleError(f"{address}: nothing can be written there ({error})") from None
        self._whole = scheme in _WHOLE

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The files that are there, or in a folder of it, and how long each is.

        Raises:
            BundleError: the address cannot be listed.
        """
        entries = self.address.entries(folder)
        return {name: size for name, size in entries.items() if size is not None}

    def groups(self, files: Sequence[AnyFile]) -> Sequence[Sequence[AnyFile]]:
        """Which files are best put there at once."""
        return [[file] for file in files]

    def put(self, paths: Sequence[Path], count: Count) -> None:
        """Copy files there, under their own names; `count` is called with the bytes that went.

        Raises:
            BundleError: one cannot be written, several times in a row.
        """
        for path in paths:
            self._put(path, count)

    def _put(self, path: Path, count: Count) -> None:
        name, size = path.name, path.stat().st_size

        def once() -> None:
            sent = _Sent(count)
            try:
                with self._made(name) as place:
                    self.files.put_file(str(path), place, callback=sent)
            except BaseException:
                count(-sent.value)
                raise
            count(size - sent.value)

        self.address.tried(name, once, what="written")

    def write(self, name: str, data: bytes) -> None:
        """Write a small file.

        Raises:
            BundleError: it cannot be written, several times in a row.
        """

        def once() -> None:
            with self._made(name) as place:
                self.files.pipe_file(place, data)

        self.address.tried(name, once, what="written")

    def check_arrived(self, files: Iterable[AnyFile]) -> None:
        """Refuse what is not there as long as it was written.

        Raises:
            BundleError: it names a file.
        """
        sizes = self.sizes()
        for file in files:
            if sizes.get(file.name) != file.bytes:
                found = f"has {sizes[file.name]} bytes" if file.name in sizes else "is missing"
                raise BundleError(f"{self.address}/{file.name} {found} after it was written")

    def read(self, name: str) -> bytes:
        """A file that is there.

        Raises:
            BundleError: it is not, or cannot be read.
        """
        return self.address.read(name)

    def remove(self, name: str) -> None:
        """Remove a file or folder, if it is there.

        Raises:
            BundleError: it is there, and cannot be removed.
        """

        def once() -> None:
            with contextlib.suppress(FileNotFoundError):
                self.files.invalidate_cache()
                self.files.rm(self.place(name), recursive=True)

        self.address.tried(name, once, what="removed")

    @contextlib.contextmanager
    def _made(self, name: str) -> Iterator[str]:
        """Where to write a file, which gets its name when the body ends.

        Another push may remove the folder of what is unfinished at any time, when it ends.
        """
        final = self.place(name)
        try:
            if self._whole:
                yield final
                return
            partial = self.place(f"{WORK}/{uuid.uuid4().hex}.partial")
            self.files.makedirs(partial.rpartition("/")[0], exist_ok=True)
            self.files.makedirs(final.rpartition("/")[0], exist_ok=True)
            try:
                yield partial
                self.files.mv(partial, final)
            except BaseException:
                with contextlib.suppress(Exception):
                    self.files.rm(partial)
                raise
        except FileNotFoundError as error:
            raise OtherBytes(f"cannot be written ({error})") from error

    def place(self, name: str) -> str:
        """What the file system there calls a file of ours."""
        return f"{self._path.rstrip('/')}/{name}".rstrip("/")


class _Sent(Callback):  # type: ignore[misc]
    """Counts the bytes of one file that went."""

    def __init__(self, count: Count) -> None:
        super().__init__()
        self._count = count

    def relative_update(self, inc: int = 1) -> None:
        """So many more."""
        super().relative_update(inc)
        self._count(inc)

    def absolute_update(self, value: int) -> None:
        """So many so far."""
        self._count(value - self.value)
        super().absolute_update(value)
