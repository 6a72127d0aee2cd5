"""People's own graphs: edge lists and GraphML."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NoReturn, TypeAlias
from xml.parsers import expat

import numpy as np

from quire.artifacts.errors import SourceError
from quire.builders.graphs.graph import Graph, undirected
from quire.builders.sources import layout

Node: TypeAlias = int | str

_NUMBER = re.compile(r"[0-9]{1,9}")
_NAME = re.compile(r"[^\W\d]")  # how a name begins: with a letter of any alphabet, or _
_SEPARATOR = re.compile(r"[\s,;]+")
_COMMENTS = ("#", "%")
_HEADER = ["source", "target"]  # that csv files often begin with
_SHOWN = 40  # characters of a word that a message repeats


def read_graph(path: Path) -> Graph:
    """The undirected graph in an edge list (.txt, .edges, .csv) or a GraphML file (.graphml).

    An edge list has two nodes a line, between them blanks, commas or semicolons; lines that begin
    with # or % are comments, and a csv file may begin with the line `source,target`. Nodes are all
    numbers or all names. They are counted through from 0: numbers in their order, with the gaps
    closed, names in the order in which they first appear. A node without edges therefore needs
    GraphML, whose nodes keep the order of the file. An edge that comes twice, or in both
    directions, is one.

    Raises:
        SourceError: an unknown kind of file, or one that cannot be read; no nodes, a line that is
            no edge, a node joined to itself; GraphML with directed edges, hyperedges, more than
            one graph, or a DOCTYPE, whose entities could unpack to any length.
    """
    if (suffix := path.suffix.lower()) not in _READERS:
        raise SourceError(f"{_name(path)} is no graph: its name must end in {', '.join(_READERS)}")
    with layout.reading(path):
        data = path.read_bytes()
    return _READERS[suffix](path, data)


def _read_edge_list(path: Path, data: bytes) -> Graph:
    pairs = list(_pairs(path, data))
    if not pairs:
        raise SourceError(f"{_name(path)} has no edges")
    nodes: Iterable[Node] = dict.fromkeys(chain.from_iterable(pairs))
    if isinstance(pairs[0][0], int):
        nodes = sorted(nodes)
    return _counted_through(nodes, pairs)


def _counted_through(nodes: Iterable[Node], pairs: Iterable[tuple[Node, Node]]) -> Graph:
    index = {node: i for i, node in enumerate(nodes)}
    rows = [(index[u], index[v]) for u, v in pairs]
    return undirected(len(index), np.array(rows, dtype=np.int64))


def _pairs(path: Path, data: bytes) -> Iterator[tuple[Node, Node]]:
    """The edges of a list as they are written."""
    first: Node | None = None
    for line, words in _lines(path, data):
        if len(words) != 2:
            _refuse(path, line, f"an edge is two nodes; this is {len(words)}")
        u, v = (_node(path, line, word) for word in words)
        first = u if first is None else first
        for node in (u, v):
            if type(node) is not type(first):
                many = "numbers" if isinstance(first, int) else "names"
                _refuse(path, line, f"{_cut(str(node))} stands among nodes that are {many}")
        if u == v:
            _refuse(path, line, f"{_cut(str(u))} is joined to itself")
        yield u, v


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that should be an edge, with the line's number."""
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        _refuse(path, data.count(b"\n", 0, error.start) + 1, "this is no UTF-8 text")
    may_be_header = path.suffix.lower() == ".csv"
    for number, text in enumerate(map(str.strip, lines), 1):
        if not text or text.startswith(_COMMENTS):
            continue
        words = _SEPARATOR.split(text)
        if not (may_be_header and [word.lower() for word in words] == _HEADER):
            yield number, words
        may_be_header = False


def _node(path: Path, line: int, word: str) -> Node:
    if _NUMBER.fullmatch(word):
        return int(word)
    if not _NAME.match(word):
        wanted = "a whole number of up to nine digits or a name that begins with a letter"
        _refuse(path, line, f"{_cut(word)} is no node: {wanted}")
    return word


def _read_graphml(path: Path, data: bytes) -> Graph:
    found = _Graphml(path)
    try:
        found.parser.Parse(data, True)
    except expat.ExpatError as error:
        _refuse(path, error.lineno, f"this is no XML: {expat.ErrorString(error.code)}")
    except (LookupError, ValueError) as error:  # an encoding that expat or Python does not know
        raise SourceError(f"{_name(path)} cannot be decoded: {error}") from error
    if not found.nodes:
        raise SourceError(f"{_name(path)} has no nodes")
    for line, *ends in found.edges:
        for end in ends:
            if end not in found.nodes:
                _refuse(path, line, f"an edge ends at {_cut(end)}, and there is no such node")
    return _counted_through(found.nodes, [(u, v) for _, u, v in found.edges])


class _Graphml:
    """The nodes of a GraphML file in order, and its edges, each with its line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nodes: dict[str, None] = {}
        self.edges: list[tuple[int, str, str]] = []
        self.graphs = 0
        self.directed = ""  # what an edge is that does not say it
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self.start
        # Called before anything is declared, let alone unpacked.
        self.parser.StartDoctypeDeclHandler = lambda *_: self.refuse("a DOCTYPE is not read")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """What is not looked for (data, keys, ports) says nothing of how nodes are joined."""
        tag = name.rpartition(" ")[2]
        if tag == "graph":
            self.graphs += 1
            if self.graphs > 1:
                self.refuse("a second graph; one is wanted")
            self.directed = attributes.get("edgedefault", "undirected")
        elif tag == "node":
            self.node(self.attribute(attributes, "node", "id"))
        elif tag == "edge":
            self.edge(attributes)
        elif tag == "hyperedge":
            self.refuse("a hyperedge; an edge is two nodes")

    def node(self, name: str) -> None:
        if name in self.nodes:
            self.refuse(f"node {_cut(name)} comes twice")
        self.nodes[name] = None

    def edge(self, attributes: dict[str, str]) -> None:
        default = str(self.directed == "directed").lower()
        if attributes.get("directed", default) != "false":
            self.refuse("a directed edge; the graph must be undirected")
        u, v = (self.attribute(attributes, "edge", end) for end in ("source", "target"))
        if u == v:
            self.refuse(f"{_cut(u)} is joined to itself")
        self.edges.append((self.parser.CurrentLineNumber, u, v))

    def attribute(self, attributes: dict[str, str], tag: str, name: str) -> str:
        if name not in attributes:
            self.refuse(f"<{tag}> has no {name}")
        return attributes[name]

    def refuse(self, reason: str) -> NoReturn:
        _refuse(self.path, self.parser.CurrentLineNumber, reason)


def _refuse(path: Path, line: int, reason: str) -> NoReturn:
    raise SourceError(f"{_name(path)}, line {line}: {reason}")


def _name(path: Path) -> str:
    return layout.shown(str(path))


def _cut(word: str) -> str:
    """A word as a message may hold it: one line, not too long."""
    return repr(word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…")


_READERS: dict[str, Callable[[Path, bytes], Graph]] = {
    ".txt": _read_edge_list,
    ".edges": _read_edge_list,
    ".csv": _read_edge_list,
    ".graphml": _read_graphml,
}
