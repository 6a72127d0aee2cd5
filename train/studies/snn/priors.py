"""What the studies of sparse networks share: graphs, networks, attacks, and their correlation.

Ben Amor, Stier & Granitzer, *Correlation Analysis between the Robustness of Sparse Neural Networks
and their Random Hidden Structural Priors* (2021).

`full` is the paper's setting: 100 graphs in six initialisations. `small` is MNIST for a CPU: the
first 20 of these graphs, fewer epochs, and a shorter search for pixels on fewer images. `smoke` is
six small graphs for the embedded digits, and shows that everything fits together.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.address import Location
from quire.builders.recipes.graphs import Graphs
from quire.loaders.graphs import StoredGraph, load_graphs
from quire.train.engine.runs import to_record
from quire.train.report.grid import Grid
from quire.train.report.intervals import joined
from quire.train.report.page import Table, Value
from quire.train.sparse.attack import Attacked, attack
from quire.train.sparse.attack_catalogue import Attack
from quire.train.sparse.run import Sparse
from quire.train.sparse.training import train_networks
from quire.train.studies.bundles import DIGITS, Bundled, Ready, built, clean, missing, not_at_hand
from quire.train.studies.snn.correlation import Coefficient, Correlation, correlations
from quire.train.studies.study import USUAL, Findings, Layout, Place, Scale

Floats: TypeAlias = NDArray[np.float64]
Paper: TypeAlias = Mapping[tuple[str, str], tuple[float, float]]  # rho and tau

AUTHORS = "Ben Amor, Stier & Granitzer 2021"

PARAMETERS, DENSITY, PATHS, ECCENTRICITY = (
    "number of parameters",
    "density",
    "average path length",
    "average eccentricity",
)
PROPERTIES = (PARAMETERS, DENSITY, PATHS, ECCENTRICITY)
_STORED = {
    DENSITY: "dag/density",
    PATHS: "dag/path_length_reachable",
    ECCENTRICITY: "dag/mean_eccentricity",
}
# The same by other conventions, any of which the paper may have followed.
CONVENTIONS = {
    f"{PATHS}, unreachable as 0": "dag/path_length_all_pairs",
    f"{PATHS}, undirected": "undirected/path_length_reachable",
    f"{ECCENTRICITY}, undirected": "undirected/mean_eccentricity",
}
MEASURES = {  # of a network, and what its column of a table is called
    "fgsm_error_rate": "FGSM error rate",
    "fgsm_confidence": "FGSM confidence",
    "average_epsilon": "FGSM epsilon",
    "one_pixel_error_rate": "one pixel error rate",
    "one_pixel_confidence": "one pixel confidence",
}
_MEMBER = ("graph", "initialisation", "seed", "number")
_CLEAN = ("images", "correct", "macro_f1")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the networks of a scale are made and attacked."""

    dataset: str
    graphs: Graphs
    networks: Sparse
    attack: Attack


_SHORT = Attack(images=2000, pixel_images=50, population=100, generations=20)
SETTINGS: Mapping[Scale, Setting] = {
    "smoke": Setting(
        dataset=DIGITS,
        graphs=Graphs(
            sizes=(20, 30, 40),
            nei=(2, 3),
            p=(0.5, 0.9),
            inputs=64,
            least=500,
            most=3000,
            graphs=6,
        ),
        networks=Sparse(epochs=25, batch_size=32, lr=5e-3),
        attack=replace(_SHORT, images=120, pixel_images=10, population=20, generations=3),
    ),
    "small": Setting(
        dataset="mnist", graphs=Graphs(graphs=20), networks=Sparse(epochs=5), attack=_SHORT
    ),
    "full": Setting(dataset="mnist", graphs=Graphs(), networks=Sparse(), attack=Attack()),
}


@dataclass(frozen=True, eq=False)
class Robustness:
    """What is known of networks that were attacked: M of each of G graphs."""

    bundle: Location
    """Of the graphs."""
    properties: Mapping[str, Floats]
    """Of the graphs: (G,) each."""
    rows: Sequence[Sequence[Attacked]]
    """Of the M networks of each graph."""

    @property
    def count(self) -> int:
        """How many networks there are."""
        return sum(map(len, self.rows))

    def measure(self, name: str) -> Floats:
        """A number of every network. -> (G, M)."""
        return np.array([[_number(row, name) for row in rows] for rows in self.rows], np.float64)

    def findings(self, layout: Layout) -> Findings:
        """What is shown, with a line for each network."""
        heading = (*_MEMBER, *self.properties, *_CLEAN, *MEASURES)
        lines = []
        for index, rows in enumerate(self.rows):
            own = [values[index] for values in self.properties.values()]
            for row in rows:
                numbers = [_number(row, name) for name in (*_CLEAN, *MEASURES)]
                member = [str(getattr(row, name)) for name in _MEMBER]
                lines.append((*member, *(joined([number]) for number in (*own, *numbers))))
        return Findings(layout=layout, heading=heading, lines=tuple(lines))


def _number(row: Attacked, name: str) -> float:
    number: float = row.measure(name) if name in MEASURES else getattr(row, name)
    return number


def properties_of(graphs: Iterable[StoredGraph]) -> dict[str, Floats]:
    """What robustness is held against, for each graph. -> (G,) each."""
    stored = {**_STORED, **CONVENTIONS}
    each = [
        {PARAMETERS: graph.parameters["connected"]}
        | {title: graph.properties[name] for title, name in stored.items()}
        for graph in graphs
    ]
    names = (PARAMETERS, *stored)
    return {name: np.array([one[name] for one in each], np.float64) for name in names}


@dataclass(frozen=True, kw_only=True)
class Priors:
    """A study of networks whose structure is a random graph: all of them trained and attacked."""

    scales: ClassVar[tuple[Scale, ...]] = USUAL

    title: str
    paper: str
    present: Callable[[Scale, Robustness], Layout]
    setting: Setting | None = None
    """Another one than that of the scale."""
    graphs: Callable[[Graphs], Graphs] = lambda recipe: recipe
    """The recipe of graphs, from the setting's."""

    def carry_out(
        self, scale: Scale, place: Place, *, seeds: int | None = None
    ) -> Iterator[Findings]:
        """See `quire.train.studies.study.Study`; each network is trained with each of the seeds."""
        wanted = self.setting or SETTINGS[scale]
        train, test = images(wanted.dataset, scale, place, self.paper)
        bundle = built(Bundled(recipe=self.graphs(wanted.graphs)), place)
        config = replace(wanted.networks, seeds=seeds or 1)
        run = place.run(config.method, to_record(config), train.name, bundle.name)
        running, report = place.running, place.report
        if train_networks(config, train.place, bundle.place, run, running=running, report=report):
            place.say(f"trained: {run.name}")
        rows = attack(run, test.place, how=wanted.attack, device=running.device, report=report)
        place.say(f"attacked: {len(rows):,} networks")
        graphs = load_graphs(bundle.place)
        found = Robustness(
            bundle=bundle.place,
            properties=properties_of(graphs),
            rows=[[row for row in rows if row.graph == graph.key] for graph in graphs],
        )
        yield found.findings(self.present(scale, found))


def images(dataset: str, scale: Scale, place: Place, paper: str) -> tuple[Ready, Ready]:
    """The bundles to train on and to measure on.

    Raises:
        RunError: no source of them is given.
    """
    if lacking := missing([clean(dataset, split) for split in ("train", "test")], place):
        raise not_at_hand(lacking, paper, scale)
    return built(clean(dataset, "train"), place), built(clean(dataset, "test"), place)


def by_measure(rows: Mapping[str, Sequence[tuple[float, float] | None]]) -> Paper:
    """A table of the paper: the coefficients of each property in the order of MEASURES."""
    return {
        (name, measure): both
        for name, row in rows.items()
        for measure, both in zip(MEASURES.values(), row, strict=True)
        if both is not None
    }


def correlated(found: Robustness, paper: Paper, *notes: str) -> Layout:
    """Tables of every property against every measure: rho and tau beside the paper's, and all."""
    measures = {title: found.measure(name) for name, title in MEASURES.items()}
    cells = correlations(found.properties, measures)
    coefficients: Mapping[str, Callable[[Correlation], Coefficient]] = {
        "Spearman's rho": lambda one: one.spearman,
        "Kendall's tau-b": lambda one: one.kendall,
    }
    grids = [
        Grid(
            title=title,
            values={cell: _known(which(one).value) for cell, one in cells.items()},
            rows=tuple(found.properties),
            columns=tuple(MEASURES.values()),
            paper={cell: both[number] for cell, both in paper.items()},
            corner="property",
            over="correlation",
        )
        for number, (title, which) in enumerate(coefficients.items())
    ]
    rows = tuple((*cell, *_all_of(one)) for cell, one in cells.items())
    table = Table(rows, _HEADINGS, "correlations; strength by Cohen's standard, of rho")
    return Layout(grids=tuple(grids), tables={"correlations": table}, notes=(_CONVENTIONS, *notes))


def scores(found: Robustness, paper: str) -> str:
    """The macro-F1 of the networks, beside what the paper says of its own."""
    percent = 100 * found.measure("macro_f1")
    low, mean, high = percent.min(), percent.mean(), percent.max()
    return (
        f"Macro-F1 of {percent.size:,} networks: {low:.1f} to {high:.1f} %, {mean:.1f} on average;"
        f" the paper's on MNIST: {paper}."
    )


def settings(config: Any, how: Attack) -> str:
    """What has to be known of the numbers before they are held against the paper's."""
    return (
        f"Trained for {config.epochs} epochs. FGSM and its epsilon: {_all(how.images)} of the test"
        f" images. One pixel: {how.pixel_images} of them, with {how.population} candidates for"
        f" {how.generations} generations. The paper's: 30 epochs, all, 100 images, 500, 500."
    )


def _all(images: int | None) -> str:
    return "all" if images is None else f"{images:,}"


def _known(value: float) -> tuple[float, ...]:
    return () if math.isnan(value) else (value,)


_HEADINGS = ("property", "measure", "n", "rho", "p of rho", "tau", "p of tau", "strength")


def _all_of(one: Correlation) -> tuple[Value, ...]:
    numbers = (one.spearman.value, one.spearman.p, one.kendall.value, one.kendall.p)
    return str(one.n), *(f"{number:.4f}" for number in numbers), one.spearman.strength


_CONVENTIONS = (
    "Properties are those of the directed graph; the average path length is over the pairs of nodes"
    " of which one reaches the other, the eccentricity of a node over the nodes that it reaches."
    " The paper does not say its conventions: others have rows of their own, and its numbers stand"
    " beside the first."
    " Values outside 1.5 interquartile ranges are left out of each measure, the networks of a graph"
    " that remain are averaged, and the means are ranked."
)
