"""A folder of people's own graphs: each edge list or GraphML file in it is one.

The files are in the order of their names' code points, which is the same on every machine. Other
files, folders, and names that begin with a dot are no part of the source.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from quire.artifacts.digest import sha256
from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.graphs.graph import Graph
from quire.builders.sources import layout
from quire.builders.sources.graph_files import read_graph
from quire.builders.sources.source import UNDIVIDED

SUFFIXES = (".csv", ".edges", ".graphml", ".txt")


@dataclass(frozen=True, slots=True)
class GraphFolder:
    """The graphs in a folder."""

    root: Path  # real and absolute: no graph lies outside, not even by way of a link
    files: tuple[str, ...]  # their names within the root

    @property
    def kind(self) -> str:
        """`graphs`."""
        return "graphs"

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

    def read(self, index: int) -> Graph | LeftOut:
        """One graph, or the reason why it cannot be read."""
        layout.check_range(index, index + 1, len(self))
        name = self.files[index]
        path = self.root / name
        try:
            return read_graph(_inside(self.root, name))
        except SourceError as error:
            # The manifest gets the reason: no path of this machine may be in it.
            reason = str(error).removeprefix(layout.shown(str(path))).lstrip(", ")
            reason = reason.replace(layout.shown(str(path)), layout.shown(name))
            return LeftOut(index, layout.shown(name), reason)

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of all graphs; of one that cannot be read, its name."""
        return layout.combined((name, _digest(self.root, name)) for name in self.files)


def open_graphs(path: Path, split: str = UNDIVIDED) -> GraphFolder:
    """Open the graphs in a folder.

    Raises:
        SourceError: no such folder, one without graphs, or another split than `all`.
    """
    layout.check_split("graphs", split, (UNDIVIDED,))
    files: tuple[str, ...] = ()
    if os.path.isdir(path):
        with layout.reading(path):
            files = tuple(sorted(name for name in os.listdir(path) if _is_graph(name)))
    if not files:
        wanted = f"graphs ({' '.join(SUFFIXES)}) in {path}"
        raise SourceError(f"graphs: looked for {wanted}; found {layout.found(path)}")
    return GraphFolder(Path(os.path.realpath(path)), files)


def _is_graph(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def _inside(root: Path, name: str) -> Path:
    """The path of a graph, which must be a file of the folder and not a link out of it.

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
