"""Random undirected graphs, each decided by its parameters and a generator.

Small worlds come from igraph, for the paper on robustness and structural priors names igraph's
parameters, and from networkx, which it does not exclude; the other models from networkx. Both draw
from a Mersenne Twister seeded by 256 bits of the generator that is passed in, so a call takes the
same number of draws from it whatever it makes. Which edges come out may change with igraph and
networkx: their versions belong to the bytes.

A probability p is 0, or 1e-9 to 1. Every generator raises RecipeError where no graph has such
parameters.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from quire.artifacts.errors import RecipeError
from quire.builders.graphs.graph import Graph, undirected

LIBRARIES = ("igraph", "networkx")  # whose versions decide the edges

_LEAST = 1e-9
_IGRAPH = threading.Lock()  # igraph has one source of randomness for the whole process


def watts_strogatz(size: int, nei: int, p: float, *, rng: np.random.Generator) -> Graph:
    """A ring in which each node knows `nei` others on each side, rewired; size * nei edges.

    This is igraph's variant of Watts & Strogatz (1998): with probability p an edge gets two new
    ends, not one, so about (1 - p)**2 of the edges stay on the ring, nodes can lose every edge,
    and p = 1 is the random graph of so many edges. The degree of networkx's function is 2 * nei.

    1 <= nei, 2 * nei < size. Another thread that uses igraph's random functions in the meantime
    would draw from `rng`; calls of this function wait for each other.
    """
    import igraph  # half a second, so only who draws small worlds pays for it

    if not (1 <= nei and 2 * nei < size):
        raise RecipeError(f"nei is {nei}; it must be at least 1, and 2 * nei less than size {size}")
    _check_probability(p)
    with _igraph_drawing_from(rng):
        graph = igraph.Graph.Watts_Strogatz(1, size, nei, p)
    return undirected(size, np.array(graph.get_edgelist()))


def watts_strogatz_networkx(size: int, k: int, p: float, *, rng: np.random.Generator) -> Graph:
    """A ring in which each node knows its `k` nearest, half of them on each side, rewired.

    This is networkx's variant, as Watts & Strogatz (1998) have it: with probability p an edge gets
    one new end, so every node keeps at least k / 2 edges. Of an odd k one less counts.
    size * (k // 2) edges. 2 <= k < size.
    """
    import networkx

    if not 2 <= k < size:
        raise RecipeError(f"k is {k}; it must be at least 2 and less than size {size}")
    _check_probability(p)
    return _from_networkx(networkx.watts_strogatz_graph(size, k, p, seed=_twister(rng)))


def erdos_renyi(size: int, p: float, *, rng: np.random.Generator) -> Graph:
    """Each pair of nodes is joined with probability p (Gilbert, 1959). 1 <= size."""
    import networkx

    _check_size(size)
    _check_probability(p)
    return _from_networkx(networkx.fast_gnp_random_graph(size, p, seed=_twister(rng)))


def barabasi_albert(size: int, m: int, *, rng: np.random.Generator) -> Graph:
    """Nodes come one by one, each joined to m earlier ones, by degree; (size - m) * m edges.

    Barabási & Albert (1999), begun as networkx does with a star of m + 1 nodes. 1 <= m < size.
    """
    import networkx

    if not 1 <= m < size:
        raise RecipeError(f"m is {m}; it must be at least 1 and less than size {size}")
    return _from_networkx(networkx.barabasi_albert_graph(size, m, seed=_twister(rng)))


def random_regular(size: int, degree: int, *, rng: np.random.Generator) -> Graph:
    """Each node has the same degree. 1 <= size, 0 <= degree < size, size * degree even."""
    import networkx

    _check_size(size)
    if not 0 <= degree < size or size * degree % 2:
        raise RecipeError(
            f"degree is {degree}; it must be less than size {size}, and their product even"
        )
    if degree <= (size - 1) // 2:
        return _from_networkx(networkx.random_regular_graph(degree, size, seed=_twister(rng)))
    # Draws that are nearly complete hardly ever succeed; what they lack is drawn as well.
    lacking = networkx.random_regular_graph(size - 1 - degree, size, seed=_twister(rng))
    return _from_networkx(networkx.complement(lacking))


class Generator(NamedTuple):
    """A random graph model, and the names of what it asks for beside `rng`."""

    draw: Callable[..., Graph]
    parameters: tuple[str, ...]


GENERATORS: dict[str, Generator] = {
    "watts_strogatz": Generator(watts_strogatz, ("size", "nei", "p")),
    "watts_strogatz_networkx": Generator(watts_strogatz_networkx, ("size", "k", "p")),
    "erdos_renyi": Generator(erdos_renyi, ("size", "p")),
    "barabasi_albert": Generator(barabasi_albert, ("size", "m")),
    "random_regular": Generator(random_regular, ("size", "degree")),
}


def random_graph(name: str, parameters: Mapping[str, float], *, rng: np.random.Generator) -> Graph:
    """A graph of a model by its name in GENERATORS. Counts may come as 8.0.

    Raises:
        RecipeError: no such model, a parameter that lacks or is not the model's, or its value.
    """
    if name not in GENERATORS:
        raise RecipeError(f"no graph generator is called {name!r}; there are {_names(GENERATORS)}")
    generator = GENERATORS[name]
    if parameters.keys() != set(generator.parameters):
        wanted, given = _names(generator.parameters), _names(parameters) or "none"
        raise RecipeError(f"{name} has the parameters {wanted}; given are {given}")
    return generator.draw(**{key: _typed(key, parameters[key]) for key in parameters}, rng=rng)


def _typed(parameter: str, value: float) -> float:
    """Counts as int, though a table or JSON may have had them as 8.0."""
    if parameter == "p":
        return value
    if not float(value).is_integer():
        raise RecipeError(f"{parameter} is {value}; it must be a whole number")
    return int(value)


def _names(names: Mapping[str, Any] | tuple[str, ...]) -> str:
    return ", ".join(names)


def _twister(rng: np.random.Generator) -> random.Random:
    return random.Random(int.from_bytes(rng.bytes(32), "little"))


@contextmanager
def _igraph_drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """Let igraph draw from `rng`, and afterwards as it does by default: from the module `random`.

    What it drew from before can't be asked for.
    """
    import igraph

    with _IGRAPH:
        igraph.set_random_number_generator(_twister(rng))
        try:
            yield
        finally:
            igraph.set_random_number_generator(random)


def _from_networkx(graph: Any) -> Graph:
    return undirected(len(graph), np.array(graph.edges, dtype=np.int64))


def _check_size(size: int) -> None:
    if size < 1:
        raise RecipeError(f"size is {size}; it must be at least 1")


def _check_probability(p: float) -> None:
    """Nearer to 0, igraph skips edges without end, and networkx divides by log(1 - p) = 0."""
    if not (p == 0 or _LEAST <= p <= 1):
        raise RecipeError(f"the probability p is {p}; it must be 0, or {_LEAST} to 1")
