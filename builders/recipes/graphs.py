"""Recipe `graphs`: directed acyclic graphs, their masks as sparse networks, and their properties.

Graphs are drawn from a grid of parameters, or read from a folder of people's own. One graph is one
sample; `graphs.h5` has them all, by the layout of quire.artifacts.graph_table.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError
from quire.artifacts.fields import check_at_least
from quire.artifacts.graph_table import CELLS, GRAPHS, MAX_CELLS, write_graphs
from quire.artifacts.manifest import LeftOut
from quire.artifacts.shards import Samples
from quire.builders.draws import sample_rng
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Run, WriteTable
from quire.builders.graphs import generators, search
from quire.builders.graphs.dag import Count, Direction
from quire.builders.graphs.entries import Entry, columns, entry, members, part
from quire.builders.graphs.graph import Graph, undirected
from quire.builders.sources import layout
from quire.builders.sources import source as sources
from quire.builders.sources.graphs import GraphFolder
from quire.builders.sources.source import Source

Model: TypeAlias = Literal[
    "watts_strogatz",
    "watts_strogatz_networkx",
    "erdos_renyi",
    "barabasi_albert",
    "random_regular",
]

_PURPOSE = "graphs"  # of the draws
_PAPER: Mapping[str, Any] = {
    "generator": "watts_strogatz",
    "sizes": (250, 300, 350, 400, 500),
    "least": 50_000,
    "most": 91_000,
    "graphs": 100,
    "seed": 0,
}
_PAPER_VALUES = {"nei": (2, 4, 6, 8, 10, 20), "p": (0.5, 0.6, 0.7, 0.8, 0.9)}
_VALUES = ("nei", "k", "p", "m", "degree")  # parameters of generators, beside the size


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """Directed acyclic graphs as sparse networks, with their masks and properties.

    Random graphs, drawn from a grid of parameters until their networks have as many parameters as
    asked for; or, with --source graphs:PATH, all graphs of a folder. The defaults are the grid of
    Ben Amor, Stier & Granitzer: small worlds with 50,000 to 91,000 parameters for MNIST. It keeps
    about one graph in nine, and nearly all of these have nei = 2.
    """

    kind: ClassVar[str] = "graphs"
    reads: ClassVar[tuple[str, ...]] = (sources.NOTHING, sources.GRAPHS)
    libraries: ClassVar[tuple[str, ...]] = (*generators.LIBRARIES, "numba")

    generator: Model | None = None
    """Model of random graphs. Default: watts_strogatz, igraph's, which rewires both ends of an
    edge; watts_strogatz_networkx rewires one."""
    sizes: tuple[int, ...] | None = None
    """Numbers of nodes. Default: 250 300 350 400 500."""
    nei: tuple[int, ...] | None = None
    """Of watts_strogatz: neighbours on each side. Default: 2 4 6 8 10 20."""
    k: tuple[int, ...] | None = None
    """Of watts_strogatz_networkx: neighbours on both sides together."""
    p: tuple[float, ...] | None = None
    """Of both kinds of watts_strogatz: chances that an edge is rewired (default of igraph's: 0.5
    0.6 0.7 0.8 0.9); of erdos_renyi: that there is one."""
    m: tuple[int, ...] | None = None
    """Of barabasi_albert: edges that a new node brings."""
    degree: tuple[int, ...] | None = None
    """Of random_regular: edges at each node."""
    direction: Direction = "down"
    """Edges become arcs from the higher node to the lower (down, the paper's), or up."""
    inputs: int = 784
    """Inputs of the network; each source of the graph receives them all."""
    outputs: int = 10
    """Outputs of the network; each receives all sinks of the graph."""
    count: Count = "connected"
    """How parameters are counted: those that are there, or of full matrices, as deepstruct does."""
    least: int | None = None
    """Keep graphs of at least so many parameters. Default: 50000."""
    most: int | None = None
    """Keep graphs of at most so many parameters. Default: 91000."""
    graphs: int | None = None
    """How many to keep. Default: 100. The first of them are the same however many there are."""
    seed: int | None = None
    """Seed of every draw. Default: 0."""
    samples_per_shard: int = 20
    """Graphs in a shard, at most."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range.
        """
        for name in ("sizes", *_VALUES):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) != len(values)):
                raise RecipeError(f"{name} is empty or holds a value twice: {values}")
        check_at_least(
            1, self, "inputs", "outputs", "graphs", "samples_per_shard", error=RecipeError
        )
        check_at_least(0, self, "seed", error=RecipeError)

    @property
    def split(self) -> str:
        """`all`: neither source has another."""
        return sources.UNDIVIDED

    def resolve(self, source: Source) -> "Graphs":
        """The same recipe with its grid spelled out, or without one where graphs are read.

        Raises:
            RecipeError: a grid beside a folder of graphs, one that lacks a parameter or has one
                that its generator has not, or a cell that no graph has.
        """
        if isinstance(source, GraphFolder):
            for name in (*_PAPER, *_VALUES):
                if getattr(self, name) is not None:
                    raise RecipeError(f"{name} is given, but all graphs of a source are kept")
            return self
        given = {name: value for name in _PAPER if (value := getattr(self, name)) is not None}
        resolved = dataclasses.replace(self, **{**_PAPER, **given})._with_values()
        grid = resolved.grid
        if not grid.least <= grid.most:
            raise RecipeError(f"least is {grid.least}, which is more than most, {grid.most}")
        for cell in range(len(grid.cells)):
            search.check(grid.generator, grid.named(cell))
        return resolved

    def _with_values(self) -> "Graphs":
        """With a value for each parameter of the generator, and for no other."""
        wanted = generators.GENERATORS[str(self.generator)].parameters
        for name in _VALUES:
            if name not in wanted and getattr(self, name) is not None:
                raise RecipeError(f"{name} is given, but {self.generator} has no such parameter")
        values: dict[str, Any] = {}
        for name in wanted[1:]:  # the first is the size
            default = _PAPER_VALUES.get(name) if self.generator == _PAPER["generator"] else None
            values[name] = getattr(self, name) or default
            if values[name] is None:
                raise RecipeError(f"{self.generator} needs {name}")
        return dataclasses.replace(self, **values)

    @property
    def grid(self) -> search.Grid:
        """What a resolved recipe draws from.

        Raises:
            RecipeError: it has too many cells.
        """
        names = generators.GENERATORS[str(self.generator)].parameters
        axes: list[tuple[float, ...]] = [self.sizes or (), *(getattr(self, n) for n in names[1:])]
        if (cells := math.prod(map(len, axes))) > MAX_CELLS:
            raise RecipeError(f"the grid has {cells:,} cells; {MAX_CELLS:,} are possible")
        assert self.least is not None and self.most is not None
        return search.Grid(
            generator=str(self.generator),
            cells=tuple(itertools.product(*axes)),
            direction=self.direction,
            inputs=self.inputs,
            outputs=self.outputs,
            count=self.count,
            least=self.least,
            most=self.most,
        )

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: Source) -> tuple[ShardTask, ...]:
        """All graphs, cut into shards."""
        count = len(source) if self.graphs is None else self.graphs
        return tuple(
            ShardTask(f"graphs-{number:06d}.tar", "graphs", start, stop, bytes=None)
            for number, (start, stop) in enumerate(cut(count, self.samples_per_shard))
        )

    def samples(self, source: Source, task: ShardTask) -> Iterator[Run]:
        """The graphs of one shard, a run each; at last, how often each cell was drawn in it."""
        if isinstance(source, GraphFolder):
            yield self._none({})
            for index in range(task.start, task.stop):
                graph, name = source.read(index), layout.shown(source.files[index])
                if isinstance(graph, LeftOut):
                    yield Run(Samples([], {}), [graph])
                else:
                    yield self._run(index, self._entry(graph, file=name))
            return
        grid = self.grid
        yield self._none(_drawn(grid, (0,)))
        attempts, accepted = np.zeros((2, 1, len(grid.cells)), np.int64)
        for index in range(task.start, task.stop):
            found = search.find(grid, index, rng=sample_rng(self.seed or 0, _PURPOSE, index))
            attempts[0] += np.bincount(found.cells, minlength=len(grid.cells))
            accepted[0, found.cells[-1]] += 1
            yield self._run(index, self._entry(found.graph, drawn=_drawn(grid, found.cells)))
        counts = {f"{CELLS}attempts": attempts, f"{CELLS}accepted": accepted}
        yield Run(Samples([], {}), part=counts)

    def _entry(
        self, graph: Graph, *, drawn: Mapping[str, float] | None = None, file: str | None = None
    ) -> Entry:
        return entry(
            graph,
            self.direction,
            inputs=self.inputs,
            outputs=self.outputs,
            drawn=drawn,
            file=file,
        )

    def _run(self, index: int, one: Entry) -> Run:
        files = {extension: [data] for extension, data in members(one).items()}
        samples = Samples([f"{index:08d}"], files, columns(one, self.count))
        return Run(samples, part=part(one))

    def _none(self, drawn: Mapping[str, float]) -> Run:
        """No graph, but each array of the tables, without rows: a shard may have none to give."""
        one = self._entry(undirected(1, np.empty((0, 2), np.int64)), drawn=drawn)
        return Run(Samples([], {}), part={name: rows[:0] for name, rows in part(one).items()})

    def tables(self) -> Mapping[str, WriteTable]:
        """`graphs.h5`."""
        cells: dict[str, NDArray[Any]] = {}
        if self.sizes is not None:
            grid = self.grid
            named = [grid.named(cell) for cell in range(len(grid.cells))]
            cells = {name: np.array([cell[name] for cell in named]) for name in named[0]}
        return {GRAPHS: partial(write_graphs, cells=cells)}


def _drawn(grid: search.Grid, cells: Sequence[int]) -> dict[str, float]:
    """How a graph was drawn."""
    return {**grid.named(cells[-1]), "cell": cells[-1], "attempts": len(cells)}
