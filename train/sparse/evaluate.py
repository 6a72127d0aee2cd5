"""How well the networks of a run classify a bundle: macro-F1 and accuracy of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quire.artifacts.address import Location
from quire.loaders.stream import Stream
from quire.models.sparse_batch import SparseNetworks
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.options import Report, best_device
from quire.train.engine.runs import Run
from quire.train.engine.subset import stream_of
from quire.train.sparse.evaluation_cache import (
    SPARSE,
    Batch,
    Question,
    Record,
    answers,
    write_table,
)
from quire.train.sparse.groups import Member
from quire.train.sparse.loading import trained
from quire.train.sparse.table import Column, as_lines

_PART = 512  # images that are classified at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Member):
    """How well a network classifies."""

    images: int
    correct: int
    macro_f1: float
    """In [0, 1]."""

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.correct / self.images


COLUMNS: Mapping[str, Column] = {
    name: attrgetter(name) for name in ("images", "correct", "accuracy", "macro_f1")
}


def measure(
    folder: Path,
    data: str,
    *,
    images: int | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> list[Measured]:
    """Measure every network of a finished run; what was measured before is not measured again.

    The table grows group by group in `evaluations/…/networks.csv`.

    Args:
        folder: the run's.
        data: the bundle to measure on, all its samples: a folder, or an address.
        images: so many of its images, chosen at random once and for all; default: all.
        device: a GPU where there is one, unless it is named.
        report: called with the images seen and their number, over all groups of networks.

    Raises:
        RunError: the run is not finished, or the bundle has other classes or images than the run.
        BundleError: the bundle is damaged.
    """
    data = Location(data)
    run, groups = trained(folder)
    where = best_device(device)
    question = classification(run, data, images, where)
    last = {group.members[-1] for group in groups}
    rows: list[Measured] = []
    asked = answers(folder, groups, {"clean": question}, device=where, report=report)
    for member, found in asked:
        rows.append(measured(member, found["clean"]))
        if member in last:
            write_table(question.place(folder), question.record, as_lines(rows, COLUMNS))
    return rows


def classification(run: Run, data: str, images: int | None, device: torch.device) -> Question:
    """The question how well a bundle's images are classified.

    Raises:
        RunError: the bundle has other classes or images than the run, or nothing tells which image
            a sample shows.
    """
    batches = images_of(run, data, images, batch_size=_PART, device=device)
    bundle = batches.state_dict()["bundle"]
    record = {"method": SPARSE, "what": "clean", "images": images, "bundle": bundle}
    classes = len(run.classes)

    def ask(networks: SparseNetworks, numbers: Tensor, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return confusions(networks(batch.images), batch.labels, classes)

    return Question(record, batches, ask, _records)


def images_of(run: Run, data: str, images: int | None, **options: Any) -> Stream:
    """A bundle's batches, if a run can be measured on them; `options` are those of `stream`.

    Raises:
        RunError: it cannot, or nothing tells which image a sample shows.
    """
    batches = stream_of(data, images, **options)
    check_same_kind(run, batches, data)
    return batches


def measured(member: Member, record: Record) -> Measured:
    """The row of a network."""
    return Measured(**asdict(member), **record)


def confusions(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often each class is taken for each, by each network.

    (M, B, K), (B,) int64 -> (M, K, K) int64 of (true class, predicted class).
    """
    cells = (labels * classes + logits.argmax(dim=2)).flatten()
    first = torch.arange(len(logits), device=logits.device).repeat_interleave(len(labels))
    counts = torch.bincount(first * classes**2 + cells, minlength=len(logits) * classes**2)
    return counts.view(len(logits), classes, classes)


def macro_f1(counts: Tensor) -> Tensor:
    """The mean of 2 TP / (2 TP + FP + FN) over the classes that are there or are predicted.

    (..., K, K) of (true class, predicted class) -> (...) float64 in [0, 1]. NaN where nothing was
    counted. It is scikit-learn's with zero_division=0.

    >>> macro_f1(torch.tensor([[2, 0, 0], [1, 1, 0], [0, 0, 0]])).item()
    0.7333...
    """
    both = (counts.sum(-1) + counts.sum(-2)).double()  # 2 TP + FP + FN
    there = both > 0
    scores = torch.where(there, 2 * counts.diagonal(dim1=-2, dim2=-1) / both, 0)
    return scores.sum(-1) / there.sum(-1)


def _records(counts: Tensor) -> list[Record]:
    """(M, K, K) -> the answer of each network."""
    numbers = zip(
        counts.sum((1, 2)).tolist(),
        counts.diagonal(dim1=1, dim2=2).sum(1).tolist(),
        macro_f1(counts.cpu()).tolist(),
        strict=True,
    )
    return [{"images": n, "correct": right, "macro_f1": score} for n, right, score in numbers]
