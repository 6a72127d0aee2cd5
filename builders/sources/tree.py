"""Folders of raw files, on a disk or at an address: what is in them, and the bytes of each file.

A name is a path within the tree with `/` between its parts. A file is read whole, so a source that
is asked for one digests what it reads (`Digesting`), and the bytes need not be read again for that.
`quire.builders.sources.tree_kinds` has the trees that there are.
"""

import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Protocol, TypeVar

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout

Item = TypeVar("Item")
Result = TypeVar("Result")

UNREAD = "-"  # stands for the digest of a file that cannot be read

MAX_BYTES = 1 << 30  # of a file: more than three times what the largest image has as pixels


class UnfitError(Exception):
    """Why a file cannot be a sample, or part of one: a few words without its name."""


class Tree(Protocol):
    """A folder, and all that is below it."""

    def place(self, name: str = "") -> str:
        """Where something lies, for a message."""

    def below(self, folder: str) -> "Tree":
        """The tree of one of its folders."""

    def entries(self, folder: str = "") -> dict[str, bool]:
        """The names in a folder, and whether each is a folder; nothing where there is none.

        Raises:
            SourceError: it cannot be listed.
        """

    def found(self, folder: str = "") -> str:
        """What is at a place where a folder was looked for, in a few words."""

    def is_file(self, name: str) -> bool:
        """Whether there is a file of this name."""

    def is_folder(self, name: str = "") -> bool:
        """Whether there is a folder of this name."""

    def sizes(self, names: Iterable[str]) -> list[int | None]:
        """How many bytes each file has; None for one that is not there."""

    def read(self, name: str, what: str = "a file", most: int = MAX_BYTES) -> bytes:
        """All bytes of a file that holds a thing such as "a mask", which has so many at most.

        Raises:
            UnfitError: it is not there, is no file, cannot be read or has more.
            SourceError: the address does not answer.
        """

    def start(self, name: str, length: int) -> bytes:
        """So many bytes from the start of a file, or all of it; see `read`."""

    def digest(self, name: str) -> str:
        """sha256 of a file, which may have any length; UNREAD where it cannot be read."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """`function` of each item, in order: several at a time where each waits for an answer."""


class Digesting:
    """A tree that keeps the digest of each file that is read from it whole."""

    def __init__(self, tree: Tree, digests: dict[str, str]) -> None:
        """`digests` gets them, by name; other trees may add to it, too."""
        self._tree = tree
        self._digests = digests
        self.place, self.below, self.found = tree.place, tree.below, tree.found
        self.entries, self.is_file, self.is_folder = tree.entries, tree.is_file, tree.is_folder
        self.sizes, self.start = tree.sizes, tree.start
        self.digest, self.map = tree.digest, tree.map

    def read(self, name: str, what: str = "a file", most: int = MAX_BYTES) -> bytes:
        """See `Tree`."""
        try:
            data = self._tree.read(name, what, most)
        except UnfitError:
            self._digests[name] = self._tree.digest(name)  # it may be there, and only too long
            raise
        self._digests[name] = hashlib.sha256(data).hexdigest()
        return data


def named_digests(
    tree: Tree,
    names: Iterable[str],
    known: Mapping[str, str] | None = None,
    digest: Callable[[str], str] | None = None,
) -> list[tuple[str, str]]:
    """Each file's name and digest, which is read where it is not known.

    `digest` is asked instead of the tree where some files lie in another one.
    """
    ordered, known = list(names), known or {}
    unknown = [name for name in ordered if name not in known]
    read = dict(zip(unknown, tree.map(digest or tree.digest, unknown), strict=True))
    return [(name, known.get(name) or read[name]) for name in ordered]


def stem(name: str) -> str:
    """A file's name without its folders and what follows the last dot."""
    return PurePosixPath(name).stem


def by_stem(tree: Tree, folder: str, suffixes: Container[str]) -> dict[str, str]:
    """The files of a folder with these endings, by their names without: their names in the folder.

    They are in order; files whose names begin with a dot are none of them.

    Raises:
        SourceError: two of them differ by their ending alone; or see `Tree.entries`.
    """
    names: dict[str, str] = {}
    for name, is_folder in sorted(tree.entries(folder).items()):
        if is_folder or name.startswith(".") or PurePosixPath(name).suffix.lower() not in suffixes:
            continue
        if (key := stem(name)) in names:
            raise SourceError(f"{tree.place(folder)} has two files called {layout.shown(key)}")
        names[key] = name
    return names
