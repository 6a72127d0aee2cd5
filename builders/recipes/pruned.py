"""Recipe `pruned`: what is left of a fully connected network that is pruned step by step.

The point of reference of Ben Amor, Stier & Granitzer (their Table 2). The hidden neurons are the
nodes of a graph, in which each is joined to all of the next layer. A step removes a share of the
connections that remain; a pruning is all its steps, and there are several, independent of each
other. A sample is the graph of one step; step 0 is the whole.

The inputs stay joined to the first layer alone, and the outputs to the last: those connections are
not pruned. After some steps a neuron of a later layer has no predecessor left. It does not become
a source, as in other graphs of this kind: it receives its bias alone. So the arcs of a sample are
not to be made a network by the rule that sources receive the inputs; they are a mask over the arcs
of step 0, as `quire.loaders.graphs.load_prunings` gives it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError
from quire.artifacts.fields import check_at_least
from quire.artifacts.graph_table import GRAPHS, write_graphs
from quire.artifacts.shards import Samples
from quire.builders.draws import sample_rng
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Part, Run, WriteTable
from quire.builders.graphs.entries import Entry, columns, entry, members, part
from quire.builders.graphs.graph import Graph, checked_graph
from quire.builders.sources import source as sources
from quire.builders.sources.source import Nothing, Source

_PURPOSE = "pruned"  # of the draws
_DEFINITIONS = {  # where those of other graphs would be wrong
    "num_sources": "nodes of the first layer: they alone hear all inputs",
    "num_sinks": "nodes of the last layer: the outputs hear them alone",
    "num_layers": "of the network, whatever was pruned",
    "layers": "of the network, whatever was pruned",
    "parameters/connected": "weights that are left, and biases",
    "parameters/dense": "weights before any was removed, and biases",
}


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A fully connected network pruned at random step by step, as graphs with masks and properties.

    Each step removes a share of the hidden connections that remain; inputs and outputs keep
    theirs. The defaults are the reference network of Ben Amor, Stier & Granitzer for MNIST, with
    60,010 parameters, and their 20 steps.
    """

    kind: ClassVar[str] = "pruned"
    reads: ClassVar[tuple[str, ...]] = (sources.NOTHING,)
    libraries: ClassVar[tuple[str, ...]] = ("numba",)

    layers: tuple[int, ...] = (50, 100, 100, 50)
    """Neurons of each hidden layer."""
    inputs: int = 784
    """Inputs of the network; each neuron of the first layer receives them all."""
    outputs: int = 10
    """Outputs of the network; each receives all neurons of the last layer."""
    alpha: float = 0.1
    """Share of the remaining hidden connections that a step removes, rounded to whole ones (a half
    to the even number). The paper gives none."""
    steps: int = 20
    """Steps of each pruning. The first of them are the same however many there are."""
    prunings: int = 6
    """How often the whole network is pruned, each time in another order."""
    seed: int = 0
    """Seed of every order."""
    samples_per_shard: int = 21
    """Graphs in a shard, at most."""

    def __post_init__(self) -> None:
        """Refuse what no network has.

        Raises:
            RecipeError: a field is out of range.
        """
        if len(self.layers) < 2 or min(self.layers) < 1:
            wanted = "at least two layers of at least one neuron are wanted"
            raise RecipeError(f"layers is {self.layers}; {wanted}")
        check_at_least(
            1,
            self,
            "inputs",
            "outputs",
            "steps",
            "prunings",
            "samples_per_shard",
            error=RecipeError,
        )
        if not 0 < self.alpha < 1:
            raise RecipeError(f"alpha is {self.alpha}; it must be above 0 and below 1")
        check_at_least(0, self, "seed", error=RecipeError)

    @property
    def split(self) -> str:
        """`all`: there is no other."""
        return sources.UNDIVIDED

    def resolve(self, source: Source) -> "Pruned":
        """The same recipe: nothing depends on a source.

        Raises:
            RecipeError: there is one; the bundle would name it as its origin.
        """
        if not isinstance(source, Nothing):
            raise RecipeError(f"{self.kind} reads no source, but {source.kind} is given")
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: Source) -> tuple[ShardTask, ...]:
        """All steps of the first pruning, then of the next, cut into shards."""
        count = self.prunings * (self.steps + 1)
        return tuple(
            ShardTask(f"pruned-{number:06d}.tar", "pruned", start, stop, bytes=None)
            for number, (start, stop) in enumerate(cut(count, self.samples_per_shard))
        )

    def samples(self, source: Source, task: ShardTask) -> Iterator[Run]:
        """The graphs of one shard, a run each."""
        whole = fully_connected(self.layers)
        for index in range(task.start, task.stop):
            pruning, step = divmod(index, self.steps + 1)
            one = self._entry(whole, pruning, step)
            files = {extension: [data] for extension, data in members(one).items()}
            key = f"{pruning:04d}-{step:04d}"
            yield Run(Samples([key], files, columns(one, "connected")), part=part(one))

    def _entry(self, whole: Graph, pruning: int, step: int) -> Entry:
        order = sample_rng(self.seed, _PURPOSE, pruning).permutation(len(whole.edges))
        left = remaining(len(whole.edges), self.alpha, step)[-1]
        kept = np.sort(order[len(order) - left :])
        return entry(
            checked_graph(whole.size, whole.edges[kept]),
            "up",
            inputs=self.inputs,
            outputs=self.outputs,
            drawn={"pruning": pruning, "step": step},
            pruned_from=whole,
        )

    def tables(self) -> Mapping[str, WriteTable]:
        """`graphs.h5`."""
        return {GRAPHS: _write}


def fully_connected(widths: tuple[int, ...]) -> Graph:
    """Layers of so many nodes, numbered from the first on, each node joined to all of the next.

    >>> fully_connected((2, 1, 2)).edges.tolist()
    [[0, 2], [1, 2], [2, 3], [2, 4]]
    """
    ends = [0, *accumulate(widths)]
    blocks: list[NDArray[Any]] = []
    for start, middle, stop in zip(ends, ends[1:], ends[2:], strict=False):
        tail, head = np.arange(start, middle), np.arange(middle, stop)
        blocks.append(np.column_stack([np.repeat(tail, len(head)), np.tile(head, len(tail))]))
    return checked_graph(ends[-1], np.concatenate(blocks))


def remaining(connections: int, share: float, steps: int) -> list[int]:
    """How many connections are left after 0, 1, ... `steps` steps. -> steps + 1 numbers.

    >>> remaining(100, 0.1, 3)
    [100, 90, 81, 73]
    """
    left = [connections]
    for _ in range(steps):
        left.append(left[-1] - round(share * left[-1]))
    return left


def _write(file: h5py.File, parts: Iterator[Part]) -> None:
    write_graphs(file, parts, cells={})
    for name, definition in _DEFINITIONS.items():
        file[name].attrs["definition"] = np.bytes_(definition.encode())
