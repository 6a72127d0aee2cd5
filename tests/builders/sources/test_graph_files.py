"""People's own graphs: what is read, and what is refused, in one line that names file and line."""

from pathlib import Path

import networkx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from quire.artifacts.errors import SourceError
from quire.builders.graphs.graph import Graph
from quire.builders.sources.graph_files import read_graph
from tests.builders.graphs.references import as_networkx, graphs


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


any_file = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_file
@given(graphs().filter(lambda graph: len(graph.edges) > 0))
def test_a_list_that_networkx_wrote_is_read(tmp_path: Path, graph: Graph) -> None:
    path = tmp_path / "graph.edges"
    networkx.write_edgelist(as_networkx(graph), path, data=False)
    nodes, edges = np.unique(graph.edges, return_inverse=True)
    read = read_graph(path)
    assert read.size == len(nodes)
    assert np.array_equal(read.edges, edges.reshape(-1, 2))


@any_file
@given(graphs().filter(lambda graph: graph.size > 0))
def test_graphml_that_networkx_wrote_is_read(tmp_path: Path, graph: Graph) -> None:
    path = tmp_path / "graph.graphml"
    reference = as_networkx(graph)
    networkx.set_node_attributes(reference, "ä & b", "label")
    networkx.set_edge_attributes(reference, 1.5, "weight")
    networkx.write_graphml(reference, path)
    read = read_graph(path)
    assert read.size == graph.size
    assert np.array_equal(read.edges, graph.edges)


@pytest.mark.parametrize(
    ("name", "text", "edges"),
    [
        ("a.txt", "0 1\n1 2\n", [[0, 1], [1, 2]]),
        ("a.txt", "# of mine\n% too\n\n  7\t3 \r\n3 12", [[0, 1], [0, 2]]),  # 3, 7 and 12
        ("a.edges", "2 1\n1 2\n2 1\n", [[0, 1]]),
        ("a.csv", "source,target\n1,2\n", [[0, 1]]),
        ("A.CSV", "Source;Target\nb;a\nc;b\n", [[0, 1], [0, 2]]),  # b, a, c
        ("a.csv", "\ufeff10, 9\n8, 9", [[0, 1], [1, 2]]),
        ("a.csv", "# with a comment\nsource,target\nsource,target\n", [[0, 1]]),
        ("a.txt", "source target\nx source\n", [[0, 1], [0, 2]]),  # a header in csv files alone
        ("a.txt", "ähre _b2\n_b2 c-1.5:x\n", [[0, 1], [1, 2]]),
        ("a.txt", "000000007 8\n", [[0, 1]]),
    ],
)
def test_lists_as_people_write_them(
    tmp_path: Path, name: str, text: str, edges: list[list[int]]
) -> None:
    graph = read_graph(written(tmp_path, name, text))
    assert graph.edges.tolist() == edges
    assert graph.size == 1 + max(max(edge) for edge in edges)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "bad.txt has no edges"),
        ("# nothing\n\n", "bad.txt has no edges"),
        ("0 1\n2\n", "bad.txt, line 2: an edge is two nodes; this is 1"),
        ("0 1 0.5\n", "bad.txt, line 1: an edge is two nodes; this is 3"),
        ("0 1\n\n2 x\n", "bad.txt, line 3: 'x' stands among nodes that are numbers"),
        ("a b\nb 1\n", "bad.txt, line 2: '1' stands among nodes that are names"),
        ("0 a\n", "bad.txt, line 1: 'a' stands among nodes that are numbers"),
        ("0 1.5\n", "bad.txt, line 1: '1.5' is no node: a whole number of up to nine"),
        ("-1 2\n", "bad.txt, line 1: '-1' is no node"),
        ("1e3 2\n", "bad.txt, line 1: '1e3' is no node"),
        ("0 \u0663\n", "bad.txt, line 1: '\u0663' is no node"),  # a digit, but not ASCII's
        ("0 1234567890\n", "bad.txt, line 1: '1234567890' is no node"),
        ("1 2\n3 03\n", "bad.txt, line 2: '3' is joined to itself"),
        ("a a\n", "bad.txt, line 1: 'a' is joined to itself"),
        ("a " + "b" * 99, "no match"),
        (b"0 1\n2 \xff\n", "bad.txt, line 2: this is no UTF-8 text"),
        ("0 " + "9" * 5000, "bad.txt, line 1: '" + "9" * 40 + "…' is no node"),
        ("0 \x1b[31m\n", r"bad.txt, line 1: '\\x1b\[31m' is no node"),
    ],
)
def test_lists_that_are_none_are_refused(tmp_path: Path, data: bytes | str, reason: str) -> None:
    path = written(tmp_path, "bad.txt", data)
    if reason == "no match":
        assert read_graph(path).size == 2
        return
    with pytest.raises(SourceError, match=reason) as error:
        read_graph(path)
    assert str(error.value).isprintable()


HEAD = '<?xml version="1.0"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
NODES = '<node id="b"/><node id="a"/>\n'


def graphml(inside: str, edgedefault: str = "undirected") -> str:
    return f'{HEAD}<graph edgedefault="{edgedefault}">\n{inside}\n</graph></graphml>'


def test_nodes_of_graphml_keep_their_order_and_need_no_edge(tmp_path: Path) -> None:
    inside = '<edge source="z" target="a"/><node id="a"><data key="k">1</data></node>'
    inside += '<node id="lone"/><node id="z"/><edge source="a" target="z" directed="false"/>'
    graph = read_graph(written(tmp_path, "a.graphml", graphml(inside)))
    assert graph.size == 3
    assert graph.edges.tolist() == [[0, 2]]


def test_graphml_of_another_prefix_and_encoding_is_read(tmp_path: Path) -> None:
    text = graphml(NODES + '<edge source="b" target="a"/>').replace("xmlns=", "xmlns:g=")
    for tag in ("graphml", "graph", "node", "edge"):
        text = text.replace(f"<{tag} ", f"<g:{tag} ").replace(f"</{tag}>", f"</g:{tag}>")
    text = text.replace('version="1.0"', 'version="1.0" encoding="utf-16"')
    graph = read_graph(written(tmp_path, "a.graphml", text.encode("utf-16")))
    assert graph.edges.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "bad.graphml, line 1: this is no XML: no element found"),
        ("0 1\n", "bad.graphml, line 1: this is no XML"),
        (graphml(NODES)[:-9], "bad.graphml, line 6: this is no XML"),
        ("<html><p/></html>", "bad.graphml has no nodes"),
        (graphml(""), "bad.graphml has no nodes"),
        (graphml("<node/>"), "bad.graphml, line 4: <node> has no id"),
        (graphml(NODES + '<node id="a"/>'), "bad.graphml, line 5: node 'a' comes twice"),
        (graphml(NODES + '<edge source="a"/>'), "line 5: <edge> has no target"),
        (
            graphml(NODES + '<edge source="a" target="c"/>'),
            "line 5: an edge ends at 'c', and there",
        ),
        (graphml(NODES + '<edge source="a" target="a"/>'), "line 5: 'a' is joined to itself"),
        (
            graphml(NODES + '<edge source="a" target="b" directed="true"/>'),
            "line 5: a directed edge; the graph must be undirected",
        ),
        (graphml(NODES + '<edge source="a" target="b"/>', "directed"), "line 5: a directed edge"),
        (graphml(NODES + "<hyperedge/>"), "line 5: a hyperedge"),
        (graphml('<node id="a"><graph/></node>'), "line 4: a second graph"),
        ('<?xml version="1.0" encoding="utf-7"?><graphml/>', "bad.graphml"),
        ('<?xml version="1.0" encoding="no-such"?><graphml/>', "bad.graphml"),
        ('<?xml version="1.0" encoding="shift-jis"?><graphml/>', "bad.graphml"),
    ],
)
def test_graphml_that_is_none_is_refused(tmp_path: Path, data: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as error:
        read_graph(written(tmp_path, "bad.graphml", data))
    assert str(error.value).isprintable()


LAUGHS = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
BOMB = (
    f'<!DOCTYPE g [<!ENTITY l0 "ha">{LAUGHS}]><graphml><graph><node id="&l9;"/></graph></graphml>'
)
OUTSIDE = '<!DOCTYPE g [<!ENTITY x SYSTEM "file:///etc/hostname">]>'
OUTSIDE += '<graphml><graph><node id="a">&x;</node></graph></graphml>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("text", [BOMB, OUTSIDE, "<!DOCTYPE g><graphml/>"])
def test_a_doctype_is_refused_before_its_entities(tmp_path: Path, text: str, encoding: str) -> None:
    path = written(tmp_path, "bomb.graphml", text.encode(encoding))
    with pytest.raises(SourceError, match=r"bomb\.graphml, line 1: a DOCTYPE is not read"):
        read_graph(path)


@pytest.mark.parametrize("name", ["graph.gml", "graph", "graph.graphml.gz"])
def test_other_files_are_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"must end in \.txt, \.edges, \.csv, \.graphml"):
        read_graph(written(tmp_path, name, "0 1\n"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path / "none.graphml"):
        with pytest.raises(SourceError, match=f"cannot read .*{path.name}: No such file"):
            read_graph(path)
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(SourceError, match=r"cannot read .*folder\.txt: Is a directory"):
        read_graph(tmp_path / "folder.txt")
