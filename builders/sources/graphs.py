"""A folder of people's own graphs: each edge list or GraphML file in it is one."""

from dataclasses import dataclass
from pathlib import Path

from quire.artifacts.manifest import LeftOut
from quire.builders.graphs.graph import Graph
from quire.builders.sources.file_folder import FileFolder
from quire.builders.sources.graph_files import read_graph
from quire.builders.sources.source import UNDIVIDED

SUFFIXES = (".csv", ".edges", ".graphml", ".txt")


@dataclass(frozen=True, slots=True)
class GraphFolder(FileFolder):
    """The graphs in a folder."""

    @property
    def kind(self) -> str:
        """`graphs`."""
        return "graphs"

    def read(self, index: int) -> Graph | LeftOut:
        """One graph, or the reason why it cannot be read."""
        return self.sample(index, read_graph)


def open_graphs(path: Path, split: str = UNDIVIDED) -> GraphFolder:
    """Open the graphs in a folder.

    Raises:
        SourceError: no such folder, one without graphs, or another split than `all`.
    """
    return GraphFolder.opened("graphs", "graphs", SUFFIXES, path, split)
