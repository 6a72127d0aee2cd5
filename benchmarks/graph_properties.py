"""How fast the properties of a graph are found, beside networkx and igraph.

    python -m benchmarks.graph_properties --out graph_properties.json

A run is seven properties of one graph, from networkx's list of its edges on, on one core: density,
diameter, average path length, eccentricities, betweenness, closeness and degrees. Ours finds what
else `Properties` has in the same run. networkx is asked for the eccentricities once, not again
for the diameter. Graphs are rings and connected small worlds, for networkx has no diameter of
others; then the same as acyclic graphs, of which networkx is asked for shortest paths, and what
the three first take from them is summed by NumPy. Before anything is timed, all must agree.

What counts is processor time. None of the three waits or uses a second core, so on an idle machine
it is the time that passes; on a busy one, runs of a millisecond slip through between others' turns
and runs of a second do not, which would flatter the faster.
"""

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from math import exp, log
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple, TypeAlias

import igraph
import networkx
import numpy as np
import tyro

from benchmarks.timing import Contender, Run, Timing, measure
from quire.builders.graphs.dag import directed
from quire.builders.graphs.graph import undirected
from quire.builders.graphs.properties import dag_properties, graph_properties

OURS, NETWORKX, IGRAPH = "ours", "networkx", "igraph"
_REWIRED = 0.25


class Seven(NamedTuple):
    """The properties that all are asked for."""

    density: float
    diameter: int
    path_length: float
    eccentricity: Sequence[int]
    betweenness: Sequence[float]
    closeness: Sequence[float]
    degree: Sequence[int]


Find: TypeAlias = Callable[[Any], Seven]
Rows: TypeAlias = Mapping[str, Mapping[str, Timing]]  # by graph, then by contender


@dataclass(frozen=True, kw_only=True)
class Options:
    """Find the properties of graphs, our way and others', and print how long each takes."""

    out: Path | None = None
    """Also write all that was measured as JSON."""
    sizes: tuple[int, ...] = (250, 500)
    """Nodes of the graphs."""
    degrees: tuple[int, ...] = (2, 4, 6, 8, 10, 20)
    """Neighbours of a node: 2 is the ring, more are rewired."""
    rounds: int = 6
    """Runs of each; the first, which compiles or loads compiled code, is kept apart."""


def small_world(size: int, degree: int) -> Any:
    """A connected graph of networkx."""
    p = 0.0 if degree == 2 else _REWIRED
    return networkx.connected_watts_strogatz_graph(size, degree, p, seed=0)


def acyclic(graph: Any) -> Any:
    """The same with every edge from its higher node to its lower."""
    result = networkx.DiGraph()
    result.add_nodes_from(range(len(graph)))
    result.add_edges_from((max(edge), min(edge)) for edge in graph.edges)
    return result


def by_us(graph: Any, *, wasserman_faust: bool = True) -> Seven:
    """By one pass over the graph, which also finds closeness of both kinds."""
    plain = undirected(len(graph), np.array(graph.edges))
    if graph.is_directed():
        found = dag_properties(directed(plain))
    else:
        found = graph_properties(plain)
    return Seven(
        found.density,
        found.diameter,
        found.path_length_reachable,
        found.eccentricity.tolist(),
        found.betweenness.tolist(),
        (found.closeness if wasserman_faust else found.closeness_reachable).tolist(),
        found.degree.tolist(),
    )


def by_networkx(graph: Any) -> Seven:
    """Property by property; of shortest paths where it has no function."""
    if graph.is_directed():
        lengths = [
            list(ends.values()) for _, ends in networkx.all_pairs_shortest_path_length(graph)
        ]
        eccentricity = [max(row) for row in lengths]
        diameter = max(eccentricity)
        average = np.sum([sum(row) for row in lengths]) / sum(len(row) - 1 for row in lengths)
    else:
        by_node = networkx.eccentricity(graph)
        eccentricity = list(by_node.values())
        diameter = networkx.diameter(graph, e=by_node)
        average = networkx.average_shortest_path_length(graph)
    return Seven(
        networkx.density(graph),
        diameter,
        float(average),
        eccentricity,
        list(networkx.betweenness_centrality(graph).values()),
        list(networkx.closeness_centrality(graph).values()),
        [degree for _, degree in graph.degree],
    )


def by_igraph(graph: Any) -> Seven:
    """Property by property; closeness without Wasserman & Faust's factor."""
    n, is_directed = len(graph), graph.is_directed()
    its = igraph.Graph(n, list(graph.edges), directed=is_directed)
    scale = (1 if is_directed else 2) / ((n - 1) * (n - 2))
    return Seven(
        its.density(),
        its.diameter(),
        its.average_path_length(),
        its.eccentricity(mode="out"),
        [raw * scale for raw in its.betweenness()],
        its.closeness(mode="in", normalized=True),
        its.degree(),
    )


def check(graph: Any) -> None:
    """Refuse to time ways that do not agree."""
    for name, theirs, wasserman_faust in (
        (NETWORKX, by_networkx(graph), True),
        (IGRAPH, by_igraph(graph), False),
    ):
        ours = by_us(graph, wasserman_faust=wasserman_faust)
        for field, one, other in zip(Seven._fields, ours, theirs, strict=True):
            numbers = np.asarray(one, dtype=float), np.asarray(other, dtype=float)
            if not np.allclose(*numbers, rtol=1e-9, atol=1e-9, equal_nan=True):
                raise RuntimeError(f"{name} has another {field} of {graph}")


def timed(graph: Any, rounds: int) -> dict[str, Timing]:
    """The timings of one graph, by contender."""
    check(graph)
    ways: dict[str, Find] = {OURS: by_us, NETWORKX: by_networkx, IGRAPH: by_igraph}
    contenders = [Contender(name, partial(_run, way, graph), cores=1) for name, way in ways.items()]
    return {timing.name: timing for timing in measure(contenders, rounds=rounds)}


def _run(way: Find, graph: Any) -> Run:
    def run() -> int:
        way(graph)
        return 1

    return run


def table(title: str, rows: Rows) -> str:
    """Milliseconds of processor time a graph, and how many times as fast ours is, with means."""
    peers = (NETWORKX, IGRAPH)
    lines = [f"{title:22}{OURS:>10}" + "".join(f"{peer:>12}{'ours /':>8}" for peer in peers)]
    for name, row in rows.items():
        line = f"{name:22}{1e3 * median(_seconds(row[OURS])):10.2f}"
        for peer in peers:
            line += f"{1e3 * median(_seconds(row[peer])):12.2f}{_ratio(row, peer):8.1f}"
        lines.append(line)
    means = "".join(f"{'':12}{mean_ratio(rows, peer):8.1f}" for peer in peers)
    return "\n".join([*lines, f"{'geometric mean':32}{means}", ""])


def mean_ratio(rows: Rows, peer: str) -> float:
    """How many times as fast as a peer ours is: the geometric mean over the graphs."""
    return exp(fmean(log(_ratio(row, peer)) for row in rows.values()))


def _ratio(row: Mapping[str, Timing], peer: str) -> float:
    """The median over the rounds."""
    rounds = zip(_seconds(row[OURS]), _seconds(row[peer]), strict=True)
    return median(theirs / ours for ours, theirs in rounds)


def _seconds(timing: Timing) -> tuple[float, ...]:
    """Processor time a graph in the later rounds, or in the only one."""
    return timing.processor[1:] or timing.processor


def record(tables: Mapping[str, Rows]) -> dict[str, Any]:
    """All that was measured as JSON has it, every round's graphs and CPU seconds included."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "libraries": {name: version(name) for name in ("numpy", "numba", "networkx", "igraph")},
        "tables": {
            title: {
                "mean_ratio": {peer: mean_ratio(rows, peer) for peer in (NETWORKX, IGRAPH)},
                "rates": {
                    name: {contender: list(timing.rates) for contender, timing in row.items()}
                    for name, row in rows.items()
                },
                "processor": {
                    name: {contender: list(timing.processor) for contender, timing in row.items()}
                    for name, row in rows.items()
                },
            }
            for title, rows in tables.items()
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Time each graph, and print the tables."""
    options = tyro.cli(Options, args=argv)
    graphs = {
        f"{size} nodes, degree {degree}": small_world(size, degree)
        for size in options.sizes
        for degree in options.degrees
    }
    tables: dict[str, Rows] = {}
    forms: dict[str, Callable[[Any], Any]] = {"undirected": networkx.Graph, "acyclic": acyclic}
    for title, form in forms.items():
        rows = {name: timed(form(graph), options.rounds) for name, graph in graphs.items()}
        tables[title] = rows
        print(table(f"{title}, CPU ms", rows))
    if options.out:
        options.out.write_text(json.dumps(record(tables), indent=1) + "\n")


if __name__ == "__main__":
    main()
