"""Figures of a bundle of graphs: how their sizes, parameters and properties are distributed.

They are Figures 3 and 4 of Ben Amor, Stier & Granitzer: whether the networks spread evenly over the
numbers of parameters asked for, whether those with few parameters were drawn otherwise than the
rest, and how the properties spread that robustness is held against.
"""

from collections.abc import Iterator, Mapping

from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.graph_table import GRAPHS, Array, GraphTable, read_graphs
from quire.train.report.plots.figure import Panel
from quire.train.report.plots.histogram import Histogram

_GRAPHS = "graphs"  # what is counted
_FEW = 0.25  # of the range of parameters: the paper's first 10,000 of 41,000
_DRAWN = {  # columns of the index that a generator has, and their titles
    "nei": ("Neighbours on each side", "nei"),
    "p": ("Probability", "p"),
    "m": ("Edges of a new node", "m"),
    "degree": ("Degree", "degree"),
}
_PROPERTIES = {
    "density": ("Density", "fraction of the possible arcs"),
    "diameter": ("Diameter", "arcs"),
    "path_length_reachable": ("Average path length", "arcs (reachable pairs)"),
    "mean_eccentricity": ("Average eccentricity", "arcs"),
    "mean_betweenness": ("Average betweenness", "share of shortest paths"),
    "mean_closeness": ("Average closeness", "by Wasserman and Faust"),
}


def distributions(bundle: Bundle) -> tuple[Panel, ...]:
    """Histograms of the graphs' numbers of parameters, of how they were drawn, and of properties.

    How they were drawn, so far as the index says it, is shown apart for the graphs in the first
    quarter of the range of parameters and for the others. Properties are those of the DAG.

    Raises:
        BundleError: the bundle has no graphs, or their table is damaged.
    """
    table = read_graphs(bundle)
    parameters = _panel("Parameters", "weights and biases", {"": table.parameters["connected"]})
    properties = [
        _panel(*titles, {"": _numbers(name, table.properties[f"dag/{name}"])})
        for name, titles in _PROPERTIES.items()
    ]
    return (parameters, *_drawn(bundle, table), *properties)


def _drawn(bundle: Bundle, table: GraphTable) -> Iterator[Histogram]:
    """A histogram of the sizes, and of each parameter that the generator was given."""
    split = _split(table.parameters["connected"])
    columns = bundle.index.rows.columns
    found = {"size": table.sizes} | {name: columns[name] for name in _DRAWN if name in columns}
    for name, values in found.items():
        if values.dtype.kind in "iuf":
            title, label = _DRAWN.get(name, ("Size", "nodes"))
            yield _panel(title, label, {group: values[here] for group, here in split.items()})


def _split(parameters: Array) -> Mapping[str, Array]:
    """Which graphs have few parameters and which have more, by name; all are one where equal."""
    if not len(parameters) or parameters.min() == parameters.max():
        return {"": parameters == parameters}
    low, high = int(parameters.min()), int(parameters.max())
    most = int(low + _FEW * (high - low))
    few = parameters <= most
    return {f"up to {most:,} parameters": few, "more": ~few}


def _numbers(name: str, values: Array) -> Array:
    if values.dtype.kind not in "iuf":
        raise BundleError(f"{GRAPHS}: dag/{name} is {values.dtype}, not numbers")
    return values


def _panel(title: str, label: str, groups: Mapping[str, Array]) -> Histogram:
    return Histogram(title=title, x_label=label, y_label=_GRAPHS, groups=groups)
