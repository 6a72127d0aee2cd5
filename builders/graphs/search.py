"""A grid of parameters, searched at random for graphs of which networks of some size can be made.

The grid search of Ben Amor, Stier & Granitzer (see quire.builders.graphs.dag) draws a graph in
every cell and keeps those with 50,000 to 91,000 parameters. One pass over its 150 cells keeps about
16.5, and it reports 100, so it must have been repeated. Here the cell is drawn too, again and again
until a graph is kept: each graph is its own search, with the shares that the cells have in the long
run of a repeated grid search, and the first hundred are the same whether or not there are more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from quire.artifacts.errors import RecipeError
from quire.builders.graphs.dag import Count, Direction, directed, parameters
from quire.builders.graphs.generators import GENERATORS, random_graph
from quire.builders.graphs.graph import Graph

ATTEMPTS = 5_000  # for one graph; a grid that keeps one in a hundred fails once in 10**21


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Which graphs may be drawn, and how many parameters the network of one that is kept has."""

    generator: str
    cells: tuple[tuple[float, ...], ...]  # values of the generator's parameters, in their order
    direction: Direction
    inputs: int
    outputs: int
    count: Count
    least: int
    most: int

    def named(self, cell: int) -> dict[str, float]:
        """The parameters of a cell by name."""
        names = GENERATORS[self.generator].parameters
        return {
            name: float(value) if name == "p" else value  # so that a table has one type for all
            for name, value in zip(names, self.cells[cell], strict=True)
        }


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A graph that was kept, and the cell of every attempt: the last one is its own."""

    graph: Graph
    cells: tuple[int, ...]


def find(grid: Grid, number: int, *, rng: np.random.Generator, attempts: int = ATTEMPTS) -> Found:
    """Draw cells and graphs until one is kept; `number` is what an error calls the graph.

    Raises:
        RecipeError: none of so many graphs can be kept.
    """
    cells: list[int] = []
    counts: list[int] = []
    while len(cells) < attempts:
        cells.append(int(rng.integers(len(grid.cells))))
        graph = random_graph(grid.generator, grid.named(cells[-1]), rng=rng)
        dag = directed(graph, grid.direction)
        counts.append(parameters(dag, inputs=grid.inputs, outputs=grid.outputs, count=grid.count))
        if grid.least <= counts[-1] <= grid.most:
            return Found(graph, tuple(cells))
    raise RecipeError(
        f"graph {number}: none of {attempts:,} graphs of the grid has {grid.least:,} to"
        f" {grid.most:,} parameters; they have {min(counts):,} to {max(counts):,}"
    )


def check(generator: str, cell: Mapping[str, float]) -> None:
    """Refuse a cell that no graph has, without drawing one.

    Raises:
        RecipeError: what `random_graph` would say.
    """
    try:
        random_graph(generator, cell, rng=_Begun(np.random.PCG64(0)))
    except _BeginsError:
        pass


class _BeginsError(Exception):
    """The parameters are sound: a draw begins."""


class _Begun(np.random.Generator):
    """Ends a draw where it begins."""

    def bytes(self, length: int) -> NoReturn:
        raise _BeginsError
