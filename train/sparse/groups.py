"""Which sparse networks a run has, and which of them are trained jointly."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Initialisation: TypeAlias = Literal[
    "normal", "uniform", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Which network of a run it is."""

    number: int
    """Its number in the run, from 0."""
    graph: str
    """The key of its graph in their bundle."""
    initialisation: str
    seed: int
    parameters: int
    """Weights of connections that exist, and biases."""

    def __str__(self) -> str:
        """As a message has it."""
        return f"network {self.number} ({self.graph}, {self.initialisation}, seed {self.seed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Networks that are trained jointly, with one seed: a part of a run."""

    what: str
    """What its index counts: the name of the index in metrics."""
    index: int
    """Its place in the run, from 0."""
    name: str
    """Of its file."""
    members: tuple[Member, ...]
    epochs: int
    before: int
    """Epochs of the run before its first."""
    known: int = 0
    """Of these, epochs in which its own networks were trained."""

    @property
    def seed(self) -> int:
        """Of all of them."""
        return self.members[0].seed
