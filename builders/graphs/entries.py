"""One graph as a bundle holds it: members of a sample, columns of the index, rows of graphs.h5."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.graph_table import LENGTHS, SCALARS
from quire.artifacts.members import array_file, record_file
from quire.builders.graphs.dag import Dag, Direction, directed, layers, parameters
from quire.builders.graphs.graph import Graph, Ints
from quire.builders.graphs.properties import Properties, dag_properties, graph_properties

_NODES = ("eccentricity", "betweenness", "closeness", "closeness_reachable", "degree")
_DAG_NODES = (*_NODES, "in_degree", "out_degree")  # of undirected graphs these equal the degree
_COUNTS = {"degree": "degree_counts", "path_length": "path_length_counts"}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A graph with a direction, and all that follows from it."""

    dag: Dag
    layers: Ints
    sources: int  # nodes that receive the inputs
    sinks: int  # nodes that the outputs receive from
    parameters: Mapping[str, int]  # of the network, by each way to count
    of_dag: Properties
    of_graph: Properties
    drawn: Mapping[str, float]  # how: parameters of the generator, cell, attempts
    file: str | None = None  # or where it was read

    @property
    def numbers(self) -> dict[str, int]:
        """What can be counted at a glance."""
        return {
            "size": self.dag.size,
            "num_edges": len(self.dag.arcs),
            "num_layers": int(self.layers.max(initial=-1)) + 1,
            "num_sources": self.sources,
            "num_sinks": self.sinks,
        }


def entry(
    graph: Graph,
    direction: Direction,
    *,
    inputs: int,
    outputs: int,
    drawn: Mapping[str, float] | None = None,
    file: str | None = None,
    pruned_from: Graph | None = None,
) -> Entry:
    """Measure a graph. O(n E) time.

    Layers, sources and sinks are those of the graph that it was pruned from, if it was: a network
    that loses connections wires no inputs to a node because nothing else is left of its own.
    """
    dag = directed(graph, direction)
    network = dag if pruned_from is None else directed(pruned_from, direction)
    connected = parameters(network, inputs=inputs, outputs=outputs, count="connected")
    return Entry(
        dag=dag,
        layers=layers(network),
        sources=len(network.sources),
        sinks=len(network.sinks),
        parameters={
            "connected": connected - len(network.arcs) + len(dag.arcs),
            "dense": parameters(network, inputs=inputs, outputs=outputs, count="dense"),
        },
        of_dag=dag_properties(dag),
        of_graph=graph_properties(graph),
        drawn=drawn or {},
        file=file,
    )


def mask(dag: Dag, layer: Ints) -> tuple[Ints, Ints]:
    """All masks of a graph as one CSR matrix. -> indptr (n + 1,), indices (E,).

    Rows are the nodes that arcs lead to, columns those that they come from, both by layer and
    within a layer by number, so that the mask between two layers is a block of it.
    """
    place = np.empty(dag.size, np.int32)
    place[np.argsort(layer, kind="stable")] = np.arange(dag.size)
    columns, rows = place[dag.arcs].T
    order = np.lexsort((columns, rows))
    starts = np.searchsorted(rows[order], np.arange(dag.size + 1))
    return starts.astype(np.int32), columns[order]


def members(entry: Entry) -> dict[str, bytes]:
    """The files of one sample by extension."""
    indptr, indices = mask(entry.dag, entry.layers)
    record: dict[str, Any] = dict(entry.numbers)
    record["parameters"] = dict(entry.parameters)
    record |= {"drawn": dict(entry.drawn)} if entry.drawn else {}
    record |= {"file": entry.file} if entry.file else {}
    record |= {"dag": _said(entry.of_dag), "undirected": _said(entry.of_graph)}
    return {
        "edges.npy": array_file(entry.dag.arcs),
        "layers.npy": array_file(entry.layers),
        "mask_indices.npy": array_file(indices),
        "mask_indptr.npy": array_file(indptr),
        "properties.json": record_file(record),
    }


def _said(properties: Properties) -> dict[str, Any]:
    """Scalars and distributions, as JSON has them: null for a mean over nothing."""
    scalars = {name: getattr(properties, name) for name in SCALARS}
    counts = {field: getattr(properties, field).tolist() for field in _COUNTS.values()}
    return {name: None if math.isnan(value) else value for name, value in scalars.items()} | counts


def columns(entry: Entry, count: str) -> dict[str, NDArray[Any]]:
    """What the index says of one sample. (1,) each; `parameters` by the way to count."""
    numbers: dict[str, float] = dict(entry.numbers)
    numbers |= {"parameters": entry.parameters[count], **entry.drawn}
    found: dict[str, NDArray[Any]] = {name: np.array([value]) for name, value in numbers.items()}
    return found | ({"file": np.array([entry.file.encode()])} if entry.file else {})


def part(entry: Entry) -> dict[str, NDArray[Any]]:
    """One graph's rows of graphs.h5, by the names of its arrays."""
    indptr, indices = mask(entry.dag, entry.layers)
    rows: dict[str, NDArray[Any]] = {name: np.array([n]) for name, n in entry.numbers.items()}
    rows |= {f"parameters/{name}": np.array([n]) for name, n in entry.parameters.items()}
    rows |= {f"generator/{name}": np.array([value]) for name, value in entry.drawn.items()}
    rows |= {"edges": entry.dag.arcs, "layers": entry.layers}
    rows |= {"masks/indptr": indptr, "masks/indices": indices}
    rows |= {
        f"{LENGTHS}edges": np.array([len(entry.dag.arcs)]),
        f"{LENGTHS}nodes": np.array([entry.dag.size]),
        f"{LENGTHS}indptr": np.array([len(indptr)]),
    }
    return (
        rows | _rows("dag", entry.of_dag, _DAG_NODES) | _rows("undirected", entry.of_graph, _NODES)
    )


def _rows(kind: str, properties: Properties, nodes: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    rows: dict[str, NDArray[Any]] = {
        f"{kind}/{name}": np.array([getattr(properties, name)]) for name in SCALARS
    }
    rows |= {f"{kind}/nodes/{name}": getattr(properties, name) for name in nodes}
    for name, field in _COUNTS.items():
        counts = getattr(properties, field)
        rows |= {
            f"{kind}/counts/{name}": counts,
            f"{LENGTHS}{kind}/{name}": np.array([len(counts)]),
        }
    return rows
