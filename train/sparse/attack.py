"""How robust the networks of a run are, in the measures of Ben Amor, Stier & Granitzer.

Images that a network misclassifies are not attacked, and are in no measure of it. The one-pixel
attack is on few images, the same for all networks; the others are on all.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.models.sparse_batch import SparseNetworks
from quire.train.attacks.epsilon import EpsilonSearch, smallest_epsilons
from quire.train.attacks.evolution import Evolution
from quire.train.attacks.fgsm import fgsm
from quire.train.attacks.one_pixel import one_pixel
from quire.train.attacks.results import Outcome
from quire.train.engine.options import Report, best_device
from quire.train.engine.runs import EVALUATIONS, Run, digest, to_record
from quire.train.sparse.evaluate import COLUMNS as MEASURED
from quire.train.sparse.evaluate import Measured, classification, images_of, measured
from quire.train.sparse.evaluation_cache import (
    SPARSE,
    Batch,
    Question,
    Record,
    answers,
    write_table,
)
from quire.train.sparse.loading import trained
from quire.train.sparse.table import Column, as_lines

Kind: TypeAlias = Literal["fgsm", "epsilon", "one_pixel"]

_PART = 256  # images that are attacked at once: as many gradients for each network
_PIXEL_PART = 64  # of the one-pixel attack: as many populations for each network


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Attack every network of a run. The defaults are those of Ben Amor, Stier & Granitzer."""

    attacks: tuple[Kind, ...] = get_args(Kind)
    """The fast gradient sign method with one epsilon; the least epsilon that fools; one pixel."""
    images: int | None = None
    """Images for fgsm and epsilon, chosen at random once and for all; default: all."""
    epsilon: float = 0.1
    """Of fgsm: how far each pixel moves, of [0, 1]."""
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
    seed: int = 0
    """Of the evolution of pixels."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        if not self.attacks or len({*self.attacks}) != len(self.attacks):
            raise RunError("attacks must be some, each of them once")
        if unknown := {*self.attacks} - {*get_args(Kind)}:
            raise RunError(f"there is no attack {min(unknown)!r}")
        check_at_least(1, self, "images", "pixel_images", error=RunError)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked(Measured):
    """How well a network classifies, and what the attacks did to it; None: not asked for."""

    fgsm: Counts | None = None
    epsilon: Counts | None = None
    one_pixel: Counts | None = None

    @property
    def fgsm_error_rate(self) -> float:
        """Eq. 4, in [0, 1]; NaN, as the others here, of nothing."""
        return self.fgsm.error_rate if self.fgsm else math.nan

    @property
    def fgsm_confidence(self) -> float:
        """Eq. 5, in [0, 1]."""
        return self.fgsm.mean if self.fgsm else math.nan

    @property
    def average_epsilon(self) -> float:
        """Eq. 6, over the images that some epsilon fools."""
        return self.epsilon.mean if self.epsilon else math.nan

    @property
    def one_pixel_error_rate(self) -> float:
        """Eq. 4, in [0, 1]."""
        return self.one_pixel.error_rate if self.one_pixel else math.nan

    @property
    def one_pixel_confidence(self) -> float:
        """Eq. 5, in [0, 1]."""
        return self.one_pixel.mean if self.one_pixel else math.nan


def attack(
    folder: Path,
    data: str,
    *,
    how: Attack | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> list[Attacked]:
    """Attack every network of a finished run; what is known is not measured again.

    Each attack is a question of its own: another epsilon does not look for pixels again. Macro-F1
    and accuracy are over the images of fgsm. The table grows group by group in
    `evaluations/…/networks.csv`.

    Args:
        folder: the run's.
        data: the bundle whose images are attacked, all its samples: a folder, or an address.
        how: which attacks; default: all, as in the paper.
        device: a GPU where there is one, unless it is named.
        report: called with the images seen and their number, over groups of networks and attacks.

    Raises:
        RunError: the run is not finished, or the bundle has other classes or images than the run.
        BundleError: the bundle is damaged.
    """
    how = how or Attack()
    run, groups = trained(folder)
    where = best_device(device)
    questions = {"clean": classification(run, data, how.images, where)}
    questions |= {kind: _question(kind, how, run, data, where) for kind in how.attacks}
    whole = {name: question.record for name, question in questions.items()}
    place = folder / EVALUATIONS / digest(whole)
    last = {group.members[-1] for group in groups}
    rows: list[Attacked] = []
    for member, found in answers(folder, groups, questions, device=where, report=report):
        numbers: dict[str, Any] = asdict(measured(member, found.pop("clean")))
        numbers |= {kind: Counts(**record) for kind, record in found.items()}
        rows.append(Attacked(**numbers))
        if member in last:
            write_table(place, whole, as_lines(rows, columns(how)))
    return rows


COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    "fgsm": ("fgsm_error_rate", "fgsm_confidence"),
    "epsilon": ("average_epsilon",),
    "one_pixel": ("one_pixel_error_rate", "one_pixel_confidence"),
}


def columns(how: Attack) -> dict[str, Column]:
    """What a table has of each network: how it classifies, and what the attacks did."""
    found = dict(MEASURED)
    for kind in how.attacks:
        for count in ("correct", "fooled", "withstood"):
            found[f"{kind}_{count}"] = attrgetter(f"{kind}.{count}")
        found |= {name: attrgetter(name) for name in COLUMNS[kind]}
    return found


_FIELDS: Mapping[Kind, tuple[str, ...]] = {  # that decide what is found, beside the images
    "fgsm": ("epsilon", "clip"),
    "epsilon": ("first", "step", "cap", "clip"),
    "one_pixel": ("population", "generations", "mutation", "seed"),
}


def _question(kind: Kind, how: Attack, run: Run, data: str, device: torch.device) -> Question:
    """What one attack asks."""
    pixels = kind == "one_pixel"
    images, part = (how.pixel_images, _PIXEL_PART) if pixels else (how.images, _PART)
    batches = images_of(run, data, images, batch_size=part, device=device)
    record = {
        "method": SPARSE,
        "what": kind,
        "bundle": batches.state_dict()["bundle"],
        "images": images,
        **{name: to_record(how)[name] for name in _FIELDS[kind]},
    }
    return Question(record, batches, partial(_ATTACKS[kind], how), _records)


def _fgsm(how: Attack, networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Outcome:
    found = fgsm(networks, batch.images, batch.labels, epsilon=how.epsilon, clip=how.clip)
    return found.outcome()


def _epsilon(how: Attack, networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Outcome:
    return smallest_epsilons(networks, batch.images, batch.labels, search=how.search).outcome()


def _one_pixel(how: Attack, networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Outcome:
    found = one_pixel(
        networks,
        batch.images,
        batch.labels,
        batch.rows,
        numbers=numbers,
        shape=batch.shape,
        evolution=how.evolution,
    )
    return found.outcome()


_ATTACKS: Mapping[Kind, Callable[[Attack, SparseNetworks, Tensor, Batch], Outcome]] = {
    "fgsm": _fgsm,
    "epsilon": _epsilon,
    "one_pixel": _one_pixel,
}


def _records(outcome: Outcome) -> list[Record]:
    """The answer of each network."""
    columns = (outcome.correct.tolist(), outcome.fooled.tolist(), outcome.total.tolist())
    names = ("correct", "fooled", "total")
    return [dict(zip(names, numbers, strict=True)) for numbers in zip(*columns, strict=True)]
