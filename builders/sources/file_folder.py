"""A folder each of whose files of some kinds is a sample.

The files are in the order of their names' code points, which is the same on every machine. Other
files, folders, and names that begin with a dot are no part of the source.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from quire.artifacts.digest import sha256
from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources import layout
from quire.builders.sources.source import UNDIVIDED

_Sample = TypeVar("_Sample")


@dataclass(frozen=True, slots=True)
class FileFolder:
    """The files of a folder; what they hold is for a subclass to say."""

    root: Path  # real and absolute: no file lies outside, not even by way of a link
    files: tuple[str, ...]  # their names within the root

    @classmethod
    def opened(
        cls, kind: str, holds: str, suffixes: Collection[str], path: Path, split: str
    ) -> Self:
        """The files of a folder that have one of these endings.

        Raises:
            SourceError: no such folder, one without such files, or another split than `all`.
        """
        layout.check_split(kind, split, (UNDIVIDED,))
        names: list[str] = []
        if os.path.isdir(path):
            with layout.reading(path):
                names = os.listdir(path)
        files = sorted(n for n in names if not n.startswith(".") and suffix(n) in suffixes)
        if not files:
            wanted = f"{holds} ({' '.join(suffixes)}) in {path}"
            raise SourceError(f"{kind}: looked for {wanted}; found {layout.found(path)}")
        return cls(Path(os.path.realpath(path)), tuple(files))

    @property
    def split(self) -> str:
        """`all`."""
        return UNDIVIDED

    @property
    def class_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def __len__(self) -> int:
        return len(self.files)

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of all files; of one that cannot be read, its name."""
        return layout.combined((name, _digest(self.root, name)) for name in self.files)

    def sample(self, index: int, read: Callable[[Path], _Sample]) -> _Sample | LeftOut:
        """What one of the files holds, or the reason why it cannot be read."""
        layout.check_range(index, index + 1, len(self))
        name = self.files[index]
        path = self.root / name
        try:
            return read(_inside(self.root, name))
        except SourceError as error:
            # The manifest gets the reason: no path of this machine may be in it.
            reason = str(error).removeprefix(layout.shown(str(path))).lstrip(", ")
            reason = reason.replace(layout.shown(str(path)), layout.shown(name))
            return LeftOut(index, layout.shown(name), reason)


def suffix(name: str) -> str:
    """The ending of a file's name in small letters.

    >>> suffix("ResNet-152.MAT")
    '.mat'
    """
    return os.path.splitext(name)[1].lower()


def _inside(root: Path, name: str) -> Path:
    """The path of a file, which must be one of the folder and not a link out of it.

    Raises:
        SourceError: it is not.
    """
    path = root / name
    if not os.path.isfile(path):
        raise SourceError(f"{layout.shown(str(path))} is not a file")
    if not Path(os.path.realpath(path)).is_relative_to(root):
        raise SourceError(f"{layout.shown(str(path))} is a link that leads outside the folder")
    return path


def _digest(root: Path, name: str) -> str:
    try:
        return sha256(_inside(root, name))
    except (SourceError, OSError):
        return "-"
