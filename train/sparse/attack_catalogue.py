"""The attacks on sparse networks: each with its options, what it does and what is reported of it.

To add one: its algorithm in `quire.train.attacks`, its name in `Kind`, its options in `Attack`, and
an entry in `ATTACKS`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least, check_some_of
from quire.models.sparse_batch import SparseNetworks
from quire.train.attacks.epsilon import EpsilonSearch, smallest_epsilons
from quire.train.attacks.evolution import Evolution
from quire.train.attacks.fgsm import fgsm
from quire.train.attacks.one_pixel import one_pixel
from quire.train.attacks.results import Outcome
from quire.train.sparse.evaluation_cache import Batch

Kind: TypeAlias = Literal["fgsm", "epsilon", "one_pixel"]
Unit: TypeAlias = Literal["normalised", "pixel"]


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Attack every network of a run. The defaults are those of Ben Amor, Stier & Granitzer."""

    attacks: tuple[Kind, ...] = get_args(Kind)
    """The fast gradient sign method with one epsilon; the least epsilon that fools; one pixel."""
    images: int | None = None
    """Images for fgsm and epsilon, chosen at random once and for all; default: all."""
    unit: Unit = "normalised"
    """Of epsilon, first, step and cap. normalised: the standard deviation that the networks
    normalise pixels by, as in the paper, whose inputs are normalised; pixel: that of [0, 1]."""
    epsilon: float = 0.1
    """Of fgsm: how far each pixel moves."""
    clip: bool = False
    """Bring pixels that fgsm and epsilon moved back to [0, 1]."""
    first: float = 0.001
    """The first epsilon that is tried."""
    step: float = 0.01
    """From one epsilon to the next."""
    cap: float = 1.0
    """No epsilon above it is tried; images that none fools are not in the average."""
    pixel_images: int = 100
    """Images for one_pixel, chosen at random once and for all: the same for every network."""
    population: int = 500
    """Candidates for a pixel in each generation."""
    generations: int = 500
    """Generations after the first, at most; an image that is misclassified needs no more."""
    mutation: tuple[float, float] = (0.5, 1.0)
    """Bounds of the scale of mutations."""
    chunk: int | None = None
    """Images that all networks of a group together see at once, in epsilon and one_pixel; it
    decides last digits alone. Default: 8,192, and 524,288 of one_pixel on a GPU."""
    seed: int = 0
    """Of the evolution of pixels."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        check_some_of(get_args(Kind), self, "attacks", error=RunError)
        check_at_least(1, self, "images", "pixel_images", "chunk", error=RunError)
        if not 0 <= self.epsilon < math.inf:
            raise RunError(f"epsilon is {self.epsilon}; it must be 0 or more")
        try:
            _ = self.search, self.evolution
        except ValueError as error:
            raise RunError(str(error)) from error

    @property
    def search(self) -> EpsilonSearch:
        """Which epsilons are tried."""
        return EpsilonSearch(first=self.first, step=self.step, cap=self.cap, clip=self.clip)

    def pixel(self, networks: SparseNetworks) -> float:
        """The unit of epsilons, in that of pixels, of [0, 1]."""
        return float(networks.std) if self.unit == "normalised" else 1.0

    @property
    def evolution(self) -> Evolution:
        """How a pixel is looked for."""
        return Evolution(
            population=self.population,
            generations=self.generations,
            mutation=self.mutation,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the images of one network; measures of nothing are NaN."""

    correct: int
    """Classified correctly before."""
    fooled: int
    """And not after."""
    total: float
    """Of the fooled: their confidences, or epsilons, added up."""

    @property
    def error_rate(self) -> float:
        """Eq. 4, in [0, 1]."""
        return self.fooled / self.correct if self.correct else math.nan

    @property
    def mean(self) -> float:
        """Eq. 5 of confidences, Eq. 6 of epsilons."""
        return self.total / self.fooled if self.fooled else math.nan

    @property
    def withstood(self) -> int:
        """Classified correctly, whatever the attack did."""
        return self.correct - self.fooled


@dataclass(frozen=True)
class Measure:
    """A measure of robustness: a column of tables."""

    of: Callable[[Counts], float]
    heading: str
    scale: float = 100  # per cent


@dataclass(frozen=True)
class NetworkAttack:
    """An attack on sparse networks."""

    run: Callable[[Attack, SparseNetworks, Tensor, Batch], Outcome]
    """The attack of M networks, whose numbers are (M,) int64, on a batch."""
    options: tuple[str, ...]
    """Fields of `Attack` that decide what is found, beside the images."""
    measures: Mapping[str, Measure]
    """By their names in files."""
    images: str = "images"
    """Field of `Attack`: how many images are attacked."""
    at_once: int = 256
    """Images in a batch: as many gradients, or populations, for each network."""


def _fgsm(how: Attack, networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Outcome:
    epsilon = how.epsilon * how.pixel(networks)
    found = fgsm(networks, batch.images, batch.labels, epsilon=epsilon, clip=how.clip)
    return found.outcome()


def _epsilon(how: Attack, networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Outcome:
    unit = how.pixel(networks)
    found = smallest_epsilons(
        networks,
        batch.images,
        batch.labels,
        search=how.search,
        unit=unit,
        chunk=how.chunk or 2**13,
    )
    return found.outcome()


def _one_pixel(how: Attack, networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Outcome:
    found = one_pixel(
        networks,
        batch.images,
        batch.labels,
        batch.rows,
        numbers=numbers,
        shape=batch.shape,
        evolution=how.evolution,
        chunk=how.chunk,
        tell=batch.tell,
    )
    return found.outcome()


_ERROR_RATE, _MEAN = attrgetter("error_rate"), attrgetter("mean")

ATTACKS: Mapping[Kind, NetworkAttack] = {
    "fgsm": NetworkAttack(
        _fgsm,
        options=("unit", "epsilon", "clip"),
        measures={
            "fgsm_error_rate": Measure(_ERROR_RATE, "FGSM: error rate (%)"),
            "fgsm_confidence": Measure(_MEAN, "FGSM: confidence (%)"),
        },
    ),
    "epsilon": NetworkAttack(
        _epsilon,
        options=("unit", "first", "step", "cap", "clip"),
        measures={"average_epsilon": Measure(_MEAN, "average epsilon", scale=1)},
    ),
    "one_pixel": NetworkAttack(
        _one_pixel,
        options=("population", "generations", "mutation", "seed"),
        measures={
            "one_pixel_error_rate": Measure(_ERROR_RATE, "one pixel: error rate (%)"),
            "one_pixel_confidence": Measure(_MEAN, "one pixel: confidence (%)"),
        },
        images="pixel_images",
        at_once=64,
    ),
}
