"""Digests, and files that appear whole or not at all."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def sha256(path: Path) -> str:
    """The sha256 of a file, as 64 hexadecimal digits; memory stays flat."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path, *, partials: Path | None = None) -> Iterator[IO[bytes]]:
    """A new file that gets its name only when it is complete and on the disk.

    Until then it lies in `partials` (the file's own folder when none is given) under a name of
    this process alone, so two processes may make the same file. A body that raises leaves nothing.
    """
    partial = (partials or path.parent) / f".{path.name}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            yield file
        publish(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Give a complete file its name, once it is on the disk."""
    descriptor = os.open(partial, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(partial, path)
