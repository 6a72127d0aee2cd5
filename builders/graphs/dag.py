"""Directed acyclic graphs as sparse networks: a node is a neuron, its layer a longest path.

The transformation of Ben Amor, Stier & Granitzer, Correlation Analysis between the Robustness of
Sparse Neural Networks and their Random Hidden Structural Priors. A network has its inputs joined
to every source (a node that no arc leads to) and every sink (from which none leads) to its
outputs, in whatever layers they are; an isolated node is both. Each node adds a bias to its sum.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from quire.builders.graphs import traversal
from quire.builders.graphs.graph import Graph, Ints

Direction: TypeAlias = Literal["down", "up"]
Count: TypeAlias = Literal["connected", "dense"]
Masks: TypeAlias = dict[tuple[int, int], csr_array]

_COLUMNS = {"down": (1, 0), "up": (0, 1)}
_STEP = {"down": -1, "up": 1}


@dataclass(frozen=True, slots=True, eq=False)
class Dag:
    """Arcs (E, 2) int32, rows (from, to), from the higher index to the lower or the other way.

    Made by `directed`. "down" is the paper's strictly lower triangular adjacency matrix read as
    a_ij = 1 for an arc from i to j; "up" its transpose.
    """

    size: int
    arcs: Ints
    direction: Direction

    @property
    def order(self) -> NDArray[np.uint32]:
        """All nodes, each before those that its arcs lead to. (n,)."""
        return np.ascontiguousarray(np.arange(self.size, dtype=np.uint32)[:: _STEP[self.direction]])

    @property
    def in_degrees(self) -> NDArray[np.int64]:
        """How many arcs lead to each node. (n,)."""
        return np.bincount(self.arcs[:, 1], minlength=self.size)

    @property
    def out_degrees(self) -> NDArray[np.int64]:
        """How many arcs lead from each node. (n,)."""
        return np.bincount(self.arcs[:, 0], minlength=self.size)

    @property
    def sources(self) -> NDArray[np.int64]:
        """The nodes that no arc leads to, ascending."""
        return np.flatnonzero(self.in_degrees == 0)

    @property
    def sinks(self) -> NDArray[np.int64]:
        """The nodes from which no arc leads, ascending."""
        return np.flatnonzero(self.out_degrees == 0)


def directed(graph: Graph, direction: Direction = "down") -> Dag:
    """Give every edge of a graph the direction that makes it acyclic."""
    return Dag(graph.size, graph.edges[:, _COLUMNS[direction]], direction)


def layers(dag: Dag) -> Ints:
    """Each node's layer: 0 without predecessors, else 1 + the highest of theirs. -> (n,) int32.

    >>> from quire.builders.graphs.graph import undirected
    >>> layers(directed(undirected(3, np.array([[2, 1], [1, 0], [2, 0]])))).tolist()
    [2, 1, 0]
    """
    arcs = dag.arcs.astype(np.uint32)
    return traversal.longest_paths(traversal.csr(dag.size, arcs[:, 0], arcs[:, 1]), dag.order)


def layer_nodes(dag: Dag) -> tuple[NDArray[np.int64], ...]:
    """The nodes of each layer, ascending: the order of the rows and columns of `masks`."""
    layer = layers(dag)
    order = np.argsort(layer, kind="stable")
    return tuple(np.split(order, np.cumsum(np.bincount(layer))[:-1])) if dag.size else ()


def masks(dag: Dag) -> Masks:
    """Which weights there are between layers, for each pair of layers that an arc joins.

    {(layer, later layer): csr_array (nodes of the later one, nodes of the first) of True}, in
    order; rows and columns as in `layer_nodes`, so that a mask times a layer's values fits, as in
    torch.nn.Linear.
    """
    layer, sizes = layers(dag), [len(nodes) for nodes in layer_nodes(dag)]
    place = np.empty(dag.size, dtype=np.int32)  # of a node within its layer
    for nodes in layer_nodes(dag):
        place[nodes] = np.arange(len(nodes))
    (first, later), (column, row) = layer[dag.arcs].T, place[dag.arcs].T
    order = np.lexsort((column, row, later, first))
    pairs = np.column_stack([first, later])[order]
    cuts = np.flatnonzero(np.diff(pairs, axis=0).any(axis=1)) + 1
    result: Masks = {}
    for part in np.split(order, cuts) if len(order) else ():
        s, t = int(first[part[0]]), int(later[part[0]])
        starts = np.searchsorted(row[part], np.arange(sizes[t] + 1))
        true = np.ones(len(part), dtype=np.bool_)
        result[s, t] = csr_array((true, column[part], starts), shape=(sizes[t], sizes[s]))
    return result


def parameters(
    dag: Dag, *, inputs: int = 784, outputs: int = 10, count: Count = "connected"
) -> int:
    """How many parameters the network has, by one of two ways to count.

    "connected": the weights that are there and the biases; that is inputs * sources + arcs +
    outputs * sinks + nodes + outputs. The paper's range of 50,000 to 91,000 is of this kind: only
    so does its grid give the graphs it describes.

    "dense": what deepstruct's MaskedDeepDAN holds, masked weights included: a full matrix with a
    bias of its own from the inputs to layer 0, between every two layers that an arc joins, and
    from the last layer alone, not from every sink, to the outputs.
    """
    return _COUNTS[count](dag, inputs, outputs)


def _connected(dag: Dag, inputs: int, outputs: int) -> int:
    weights = inputs * len(dag.sources) + len(dag.arcs) + outputs * len(dag.sinks)
    return weights + dag.size + outputs


def _dense(dag: Dag, inputs: int, outputs: int) -> int:
    sizes = [len(nodes) for nodes in layer_nodes(dag)] or [0]
    joined = np.unique(layers(dag)[dag.arcs], axis=0).tolist()
    shapes = [(inputs, sizes[0]), *((sizes[s], sizes[t]) for s, t in joined), (sizes[-1], outputs)]
    return sum((columns + 1) * rows for columns, rows in shapes)


_COUNTS = {"connected": _connected, "dense": _dense}
