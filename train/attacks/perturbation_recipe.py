"""A perturbation that is crafted here, as a bundle: a recipe of the engine that builds bundles."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import h5py
import numpy as np
from torch import Tensor

from quire.artifacts.perturbation_table import PERTURBATIONS, Perturbation, write_perturbations
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.recipe import OUTSIDE, Part, Run, WriteTable
from quire.builders.sources.source import UNDIVIDED, Nothing

WEIGHTS = "weights"  # among the inputs: the digest of the network's weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafted:
    """What came of it."""

    delta: Tensor  # (3, H, W) float32, in grey levels
    flipped: float  # share of predictions that it changes


@dataclass(frozen=True, kw_only=True)
class CraftedPerturbation:
    """One crafted perturbation; it is called by its method and its prior."""

    kind: ClassVar[str] = "perturbations"
    reads: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ("torch",)

    split: str = UNDIVIDED
    method: str
    how: Mapping[str, Any]
    xi: float = field(metadata=OUTSIDE)
    prior: str = field(default="", metadata=OUTSIDE)  # what was known of the data
    inputs: Mapping[str, str] = field(metadata=OUTSIDE)
    crafted: Callable[[], Crafted] = field(metadata=OUTSIDE)

    @property
    def name(self) -> str:
        """What the perturbation is called."""
        return "-".join(filter(None, (self.method, self.prior)))

    def resolve(self, source: Nothing) -> "CraftedPerturbation":
        """The same recipe."""
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """The digests of the network's weights, and of the bundles of images."""
        return self.inputs

    def plan(self, source: Nothing) -> tuple[ShardTask, ...]:
        """One task without samples."""
        return (ShardTask("perturbation-000000.tar", "perturbations", 0, 1, bytes=0),)

    def samples(self, source: Nothing, task: ShardTask) -> Iterator[Run]:
        """The perturbation."""
        crafted = self.crafted()
        part = {"delta": crafted.delta.numpy(), "flipped": np.array([crafted.flipped])}
        yield Run(Samples([], {}), (), part)

    def tables(self) -> Mapping[str, WriteTable]:
        """`perturbations.h5`."""
        return {PERTURBATIONS: self._write}

    def _write(self, file: h5py.File, parts: Iterator[Part]) -> None:
        (part,) = parts
        one = Perturbation(
            name=self.name,
            delta=part["delta"],
            xi=self.xi,
            origin="crafted",
            of=self.inputs[WEIGHTS],
            prior=self.prior,
            flipped=float(part["flipped"][0]),
        )
        write_perturbations(file, [one])
