"""How robust the networks of a run are, in the measures of Ben Amor, Stier & Granitzer.

Images that a network misclassifies are not attacked, and are in no measure of it. The one-pixel
attack is on few images, the same for all networks; the others are on all.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from operator import attrgetter, methodcaller
from pathlib import Path
from typing import Any

import torch

from quire.artifacts.address import Location
from quire.train.attacks.results import Outcome
from quire.train.engine.options import Report, best_device
from quire.train.engine.runs import EVALUATIONS, Run, digest, to_record
from quire.train.sparse.attack_catalogue import ATTACKS, Attack, Counts, Kind
from quire.train.sparse.evaluate import COLUMNS as MEASURED
from quire.train.sparse.evaluate import Measured, classification, images_of, measured
from quire.train.sparse.evaluation_cache import SPARSE, Question, Record, answers, write_table
from quire.train.sparse.loading import trained
from quire.train.sparse.table import Column, as_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked(Measured):
    """How well a network classifies, and what the attacks that were asked for did to it."""

    attacks: Mapping[Kind, Counts]

    def measure(self, name: str) -> float:
        """A measure of robustness, such as `fgsm_error_rate`; NaN if its attack was not asked for.

        Raises:
            KeyError: no attack has such a measure.
        """
        kind, measure = next(
            (kind, one.measures[name]) for kind, one in ATTACKS.items() if name in one.measures
        )
        return measure.of(self.attacks[kind]) if kind in self.attacks else math.nan


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
    data = Location(data)
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
        numbers: dict[str, Any] = asdict(measured(member, found["clean"]))
        counts = {kind: Counts(**found[kind]) for kind in how.attacks}
        rows.append(Attacked(**numbers, attacks=counts))
        if member in last:
            write_table(place, whole, as_lines(rows, columns(how)))
    return rows


def columns(how: Attack) -> dict[str, Column]:
    """What a table has of each network: how it classifies, and what the attacks did."""
    found = dict(MEASURED)
    for kind in how.attacks:
        for count in ("correct", "fooled", "withstood"):
            found[f"{kind}_{count}"] = partial(_count, kind, count)
        found |= {name: methodcaller("measure", name) for name in ATTACKS[kind].measures}
    return found


def _count(kind: Kind, count: str, row: Attacked) -> int:
    number: int = attrgetter(count)(row.attacks[kind])
    return number


def _question(kind: Kind, how: Attack, run: Run, data: str, device: torch.device) -> Question:
    """What one attack asks."""
    one = ATTACKS[kind]
    images: int | None = getattr(how, one.images)
    batches = images_of(run, data, images, batch_size=one.at_once, device=device)
    options = to_record(how)
    record = {
        "method": SPARSE,
        "what": kind,
        "bundle": batches.state_dict()["bundle"],
        "images": images,
        **{name: options[name] for name in one.options},
    }
    return Question(record, batches, partial(one.run, how), _records)


def _records(outcome: Outcome) -> list[Record]:
    """The answer of each network."""
    columns = (outcome.correct.tolist(), outcome.fooled.tolist(), outcome.total.tolist())
    names = ("correct", "fooled", "total")
    return [dict(zip(names, numbers, strict=True)) for numbers in zip(*columns, strict=True)]
