"""A folder of people's own graphs."""

import os
import pickle
from pathlib import Path

import pytest

from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.graphs.graph import Graph
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.graphs import SUFFIXES, open_graphs
from quire.builders.sources.kinds import SOURCES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "b.csv": "x,y\n",
        "a.TXT": "0 1\n1 2\n",
        "c.graphml": "<graphml><graph><node id='n'/></graph></graphml>",
        "d.edges": "0 0\n",
        "README.md": "not a graph",
        ".hidden.txt": "0 1\n",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_files_are_read_in_the_order_of_their_names(folder: Path) -> None:
    source = open_graphs(folder)
    assert source.files == ("a.TXT", "b.csv", "c.graphml", "d.edges")
    assert (source.kind, source.split, source.class_names, len(source)) == ("graphs", "all", (), 4)
    graphs = [source.read(index) for index in range(3)]
    assert [g.size for g in graphs if isinstance(g, Graph)] == [3, 2, 1]
    assert source.read(3) == LeftOut(3, "d.edges", "line 1: '0' is joined to itself")
    assert pickle.loads(pickle.dumps(source)) == source
    with pytest.raises(IndexError):
        source.read(4)


def test_the_reason_names_no_place_on_this_machine(folder: Path) -> None:
    (folder / "gone.txt").symlink_to("nowhere")
    (folder / "out.txt").symlink_to("/etc/hostname")
    (folder / "dir.txt").mkdir()
    (folder / "empty.txt").write_text("")
    (folder / "two\nlines.txt").write_text("0")
    source = open_graphs(folder)
    reasons = {
        left.file: left.reason
        for left in map(source.read, range(len(source)))
        if isinstance(left, LeftOut)
    }
    assert reasons == {
        "d.edges": "line 1: '0' is joined to itself",
        "dir.txt": "is not a file",
        "empty.txt": "has no edges",
        "gone.txt": "is not a file",
        "out.txt": "is a link that leads outside the folder",
        "'two\\nlines.txt'": "line 1: an edge is two nodes; this is 1",
    }


def test_the_fingerprint_is_of_names_and_bytes(folder: Path, tmp_path: Path) -> None:
    before = open_graphs(folder).fingerprint()
    (folder / "README.md").write_text("changed")
    assert open_graphs(folder).fingerprint() == before
    (folder / "b.csv").write_text("x,z\n")
    changed = open_graphs(folder).fingerprint()
    os.rename(folder / "b.csv", folder / "bb.csv")
    assert len({before, changed, open_graphs(folder).fingerprint()}) == 3


def test_what_is_no_folder_of_graphs_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(SourceError, match=r"looked for graphs .*; found notes\.md$"):
        open_graphs(tmp_path)
    with pytest.raises(SourceError, match="found no such folder"):
        open_graphs(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="found a file, not a folder"):
        open_graphs(tmp_path / "notes.md")
    with pytest.raises(SourceError, match="graphs has no split 'test'; it has all"):
        open_source(f"graphs:{tmp_path}", split="test", reads=("graphs",))
    with pytest.raises(SourceError, match="graphs needs a folder"):
        open_source("graphs:", split="all", reads=("graphs",))


def test_the_catalogue_names_every_suffix() -> None:
    assert all(suffix in SOURCES["graphs"].layout for suffix in SUFFIXES)
