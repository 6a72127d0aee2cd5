"""What a run of `quire train prune` is: its configuration, its phases, its networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.graphs import Prunings, load_prunings
from quire.models.sparse_batch import SparseNetworks
from quire.train.sparse.fit import Fit
from quire.train.sparse.graph_bundle import Origin, origin_of
from quire.train.sparse.groups import Group, Initialisation, Member
from quire.train.sparse.storage import Stored


@dataclass(frozen=True, kw_only=True)
class Prune(Fit):
    """Train a network, prune it at random, train it again, and so on: all prunings jointly.

    The point of reference of Ben Amor, Stier & Granitzer (2020). Which connections go is in the
    bundle of prunings; each has first weights of its own. A training begins with a new optimizer,
    so it hangs on nothing but the weights that are left.
    """

    method: ClassVar[str] = "prune"

    epochs: int = 30
    """Times that every image is seen before the first step."""
    retrain: int = 5
    """Times that every image is seen after each step. The paper does not say."""
    initialisation: Initialisation = "he_normal"
    """How first weights are drawn."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run takes from a bundle of prunings."""

    name: ClassVar[str] = "prunings"  # of that bundle, in a run's record

    config: Prune
    prunings: Prunings
    origin: Origin

    def groups(self) -> list[Group]:
        """The networks of all prunings after each step; step 0 is before any of them.

        Numbers are those of the run, which counts each step's networks.
        """
        groups, before = [], 0
        for step, graphs in enumerate(zip(*self.prunings.graphs, strict=True)):
            members = tuple(
                Member(
                    number=step * len(graphs) + index,
                    graph=graph.key,
                    initialisation=self.config.initialisation,
                    seed=self.config.seed,
                    parameters=graph.parameters["connected"],
                )
                for index, graph in enumerate(graphs)
            )
            epochs = self.config.retrain if step else self.config.epochs
            groups.append(
                Group(
                    what="pruned",
                    index=step,
                    name=f"step-{step:04d}",
                    members=members,
                    epochs=epochs,
                    before=before,
                    known=before,
                )
            )
            before += epochs
        return groups

    def kept(self, group: Group) -> Tensor:
        """Which hidden connections each network of a step has. -> (P, E) bool.

        Raises:
            RunError: the bundle is wrong about their parameters.
        """
        kept, whole = self.prunings.kept(group.index), self.prunings.whole.parameters["connected"]
        for member, there in zip(group.members, kept, strict=True):
            if member.parameters != (found := whole - int((~there).sum())):
                raise RunError(f"{member} has {found} parameters in truth")
        return kept

    def networks(self, group: Group, before: Stored | None = None) -> SparseNetworks:
        """The networks of a step as they are before it: those of the step before, if there is one.

        Raises:
            RunError: the bundle is wrong about their parameters.
        """
        return before.networks() if before else self.fresh(group)

    def fresh(self, group: Group) -> SparseNetworks:
        """The networks of step 0 before they are trained; each pruning has its own weights.

        Raises:
            RunError: the bundle is wrong about their parameters.
        """
        whole = self.prunings.whole
        return SparseNetworks(
            [self.origin.network(member, whole, self.config) for member in group.members]
        )


def read_plan(config: Prune, bundle: str | Path) -> Plan:
    """What a run is to do.

    Raises:
        BundleError: the bundle is incomplete or damaged, or has no prunings.
    """
    return Plan(config, load_prunings(bundle), origin_of(bundle))


def step_of(member: Member) -> int:
    """How often connections were removed from a network: the end of its graph's key.

    >>> step_of(Member(number=7, graph="0001-0003", initialisation="", seed=0, parameters=1))
    3
    """
    return int(member.graph.rpartition("-")[2])
