"""Folders as people have them: which files are there, what is there instead, their digest."""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quire.artifacts.digest import sha256
from quire.artifacts.errors import SourceError

_SHOWN = 5  # names that a message lists before it counts


def shown(name: str) -> str:
    """A file's name as a message may hold it: one line, and printable whatever the name is.

    >>> shown("cat.jpg"), shown("two\\nlines")
    ('cat.jpg', "'two\\\\nlines'")
    """
    return name if name.isprintable() else ascii(name)


def listed(names: Collection[str]) -> str:
    """Names for a message: the first few in order, and how many there are if those are not all.

    >>> listed(["b", "a"]), listed([]), listed("gfedcba")
    ('a, b', 'nothing', 'a, b, c, d, e, … (7 names)')
    """
    first = ", ".join(map(shown, sorted(names)[:_SHOWN]))
    more = f", … ({len(names)} names)" if len(names) > _SHOWN else ""
    return first + more or "nothing"


def found(folder: Path) -> str:
    """What is at a path where a folder was looked for, in a few words."""
    with reading(folder):
        if not folder.exists():
            return "no such folder"
        if not folder.is_dir():
            return "a file, not a folder"
        return listed(os.listdir(folder))


def missing(folder: Path, names: Iterable[str]) -> list[str]:
    """The names that are no files of the folder."""
    with reading(folder):
        return [name for name in names if not (folder / name).is_file()]


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Say in one sentence what the operating system has against a file.

    Raises:
        SourceError: instead of any OSError of the body.
    """
    try:
        yield
    except OSError as error:
        raise SourceError(f"cannot read {shown(str(file))}: {error.strerror or error}") from error


def check_split(kind: str, split: str, splits: Iterable[str]) -> None:
    """Refuse a split that there is not, and name those there are."""
    if split not in splits:
        raise SourceError(f"{kind} has no split {split!r}; it has {', '.join(splits)}")


def check_range(start: int, stop: int, length: int) -> None:
    """Refuse samples that a source does not have. Asking for them is the caller's mistake."""
    if not 0 <= start <= stop <= length:
        raise IndexError(f"samples [{start}, {stop}) of a source that has {length}")


def fingerprint(folder: Path, names: Iterable[str]) -> str:
    """One digest for some files: their names within the folder and their bytes, nothing else.

    Raises:
        SourceError: one of them cannot be read.
    """
    return combined((name, _digest(folder / name)) for name in names)


def combined(digests: Iterable[tuple[str, str]]) -> str:
    """One sha256 over named digests; the order they come in does not matter.

    >>> combined([("a", "00"), ("b", "01")]) == combined([("b", "01"), ("a", "00")])
    True
    """
    total = hashlib.sha256()
    for name, digest in sorted(digests):
        # a name holds no NUL and a digest no newline, so no two lists give the same bytes
        total.update(os.fsencode(name) + b"\0" + digest.encode() + b"\n")
    return total.hexdigest()


def _digest(file: Path) -> str:
    with reading(file):
        return sha256(file)
