"""What a run of `quire train sparse` is: its configuration, and the networks that belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, get_args

from quire.artifacts.errors import RunError
from quire.loaders.graphs import StoredGraph, load_graphs
from quire.models.sparse_batch import SparseNetworks
from quire.train.sparse.fit import Fit
from quire.train.sparse.graph_bundle import Origin, origin_of
from quire.train.sparse.groups import Group, Initialisation, Member
from quire.train.sparse.storage import Stored


@dataclass(frozen=True, kw_only=True)
class Sparse(Fit):
    """Train a network for each graph, initialisation and seed, many of them jointly.

    The defaults are those of Ben Amor, Stier & Granitzer for MNIST, where they say them:
    100 graphs in six initialisations are 600 networks.

    A network is what its graph, its initialisation and its seed make it: trained alone it is the
    same, but for rounding.
    """

    method: ClassVar[str] = "sparse"

    initialisations: tuple[Initialisation, ...] = get_args(Initialisation)
    """How first weights are drawn, one network for each."""
    first: int | None = None
    """Take so many graphs of their bundle, the first ones; default: all."""
    seeds: int = 1
    """Train each graph and initialisation with so many seeds: seed, seed + 1, ..."""
    epochs: int = 30
    """Times that every image is seen."""
    together: int = 60
    """Networks of a group, which are trained jointly; another number rounds otherwise."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the data.

        Raises:
            RunError: a field is out of range.
        """
        Fit.__post_init__(self)
        if not self.initialisations or len({*self.initialisations}) != len(self.initialisations):
            raise RunError("initialisations must be some, each of them once")
        if unknown := {*self.initialisations} - {*get_args(Initialisation)}:
            raise RunError(f"there is no initialisation {min(unknown)!r}")


@dataclass(frozen=True, eq=False)
class Graphs:
    """The graphs of a run by their keys, and the bundle that they are from."""

    name: ClassVar[str] = "graphs"  # of that bundle, in a run's record

    config: Sparse
    by_key: Mapping[str, StoredGraph]
    origin: Origin

    def networks(self, group: Group, before: Stored | None = None) -> SparseNetworks:
        """The networks of a group as they are before training, whatever group was before.

        Raises:
            RunError: the bundle is wrong about their parameters.
        """
        return SparseNetworks(
            [
                self.origin.network(member, self.by_key[member.graph], self.config)
                for member in group.members
            ]
        )

    def kept(self, group: Group) -> None:
        """All connections: none is pruned."""


def read_graphs(config: Sparse, bundle: str | Path) -> Graphs:
    """The graphs that a run is to have.

    Raises:
        RunError: there are not as many.
        BundleError: the bundle is incomplete or damaged, or has no graphs.
    """
    graphs = load_graphs(bundle)
    wanted = config.first or len(graphs)
    if not 0 < wanted <= len(graphs):
        raise RunError(f"{bundle} has {len(graphs)} graphs; at least {max(wanted, 1)} are wanted")
    return Graphs(config, {graph.key: graph for graph in graphs[:wanted]}, origin_of(bundle))


def groups_of(config: Sparse, graphs: Graphs) -> list[Group]:
    """All networks of a run: seed after seed, graph after graph, in each initialisation."""
    seeds = range(config.seed, config.seed + config.seeds)
    identities = product(seeds, graphs.by_key.values(), config.initialisations)
    members = [
        Member(
            number=number,
            graph=graph.key,
            initialisation=initialisation,
            seed=seed,
            parameters=graph.parameters["connected"],
        )
        for number, (seed, graph, initialisation) in enumerate(identities)
    ]
    share = len(members) // config.seeds  # of one seed
    starts = [
        start + first
        for first in range(0, len(members), share)
        for start in range(0, share, config.together)
    ]
    stops = [*starts[1:], len(members)]
    return [
        group_of(config, index, members[start:stop])
        for index, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


def group_of(config: Sparse, index: int, members: Sequence[Member]) -> Group:
    """Members that are trained jointly; groups before have as many epochs."""
    return Group(
        what="group",
        index=index,
        name=f"{members[0].number:05d}-{members[-1].number:05d}",
        members=tuple(members),
        epochs=config.epochs,
        before=index * config.epochs,
    )
