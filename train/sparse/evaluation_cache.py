"""Questions to all networks of a run, whose answers are kept group by group.

The answers of a group to a question lie in `evaluations/<digest of the question>/` as soon as they
are found. So measuring that was stopped goes on, and what is known is not measured again.
"""

import json
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.loaders.augment import to_float
from quire.loaders.stream import Stream
from quire.models.sparse_batch import SparseNetworks
from quire.train.engine.options import Report
from quire.train.engine.runs import EVALUATIONS, NETWORKS, digest, write_record
from quire.train.sparse.groups import Member
from quire.train.sparse.storage import Stored

SPARSE = "sparse"  # how the networks are asked, whatever method trained them

Record: TypeAlias = dict[str, Any]  # the answer of one network
# what is found for M networks, with their numbers, in flat images in [0, 1] and labels; it adds up
Ask: TypeAlias = Callable[[SparseNetworks, Tensor, "Batch"], Any]


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of a bundle, on the device of the networks."""

    images: Tensor
    """(B, inputs) float32 in [0, 1]."""
    labels: Tensor
    """(B,) int64."""
    rows: Tensor
    """(B,) int64, in the bundle."""
    shape: tuple[int, int, int]
    """Channels, height and width."""
    tell: Callable[[float], None] = lambda share: None
    """To be called with the share of the batch that is done, where it takes long."""


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of every network of a run."""

    record: Mapping[str, Any]
    """What decides the answer, beside the networks."""
    batches: Stream
    """The images: an epoch for each group."""
    ask: Ask
    """What is found in a batch; that of batches is added up."""
    records: Callable[[Any], list[Record]]
    """The answer of each network, from the sum."""

    def place(self, folder: Path) -> Path:
        """The folder of its answers in that of a run."""
        return folder / EVALUATIONS / digest(self.record)


def answers(
    folder: Path,
    groups: Sequence[Stored],
    questions: Mapping[str, Question],
    *,
    device: torch.device,
    report: Report | None,
) -> Iterator[tuple[Member, dict[str, Record]]]:
    """Each network and its answers by name, read where they are known.

    `report` is called with the images seen and their number, over all groups and questions that
    are not answered yet.

    Raises:
        RunError: a file of networks or answers is damaged, or the images are of another size.
    """
    open_ = [
        (group, question)
        for group in groups
        for question in questions.values()
        if not _path(folder, group, question).exists()
    ]
    seen = _Seen(sum(len(question.batches.rows) for _, question in open_), report)
    for group in groups:
        networks: SparseNetworks | None = None
        found: dict[str, list[Record]] = {}
        for name, question in questions.items():
            path = _path(folder, group, question)
            if not path.exists():
                networks = networks or group.networks().to(device)
                records = _asked(networks, group, question, seen)
                write_record(path, {"question": dict(question.record), "answers": records})
            found[name] = _read(path, group)
        for index, member in enumerate(group.members):
            yield member, {name: records[index] for name, records in found.items()}


def write_table(place: Path, question: Any, text: str) -> None:
    """Write the table of what is known so far, a line for each network, beside the question."""
    write_record(place / "question.json", {"question": question})
    with whole_file(place / NETWORKS) as file:
        file.write(text.encode())


@dataclass
class _Seen:
    """Images that were seen."""

    total: int
    report: Report | None
    done: int = 0

    def more(self, images: int) -> None:
        self.done += images
        if self.report:
            self.report(self.done, self.total)

    def within(self, images: int, share: float) -> None:
        """A share of so many images is done."""
        if self.report:
            self.report(self.done + int(share * images), self.total)


def _path(folder: Path, group: Stored, question: Question) -> Path:
    return question.place(folder) / f"{group.path.stem}.json"


def _asked(
    networks: SparseNetworks, group: Stored, question: Question, seen: _Seen
) -> list[Record]:
    """Ask a group, batch by batch."""
    found = []
    numbers = torch.tensor([member.number for member in group.members])
    for batch in question.batches:
        images = batch["image"]
        channels, height, width = images.shape[1:]
        if (pixels := math.prod(images.shape[1:])) != networks.input_weight.shape[1]:
            inputs = networks.input_weight.shape[1]
            raise RunError(f"the images have {pixels} pixels; the networks have {inputs} inputs")
        flat = to_float(images).flatten(1)
        shape, tell = (channels, height, width), partial(seen.within, len(images))
        own = Batch(flat, batch["label"], batch["row"], shape, tell)
        found.append(question.ask(networks, numbers, own))
        seen.more(len(images))
    return question.records(reduce(operator.add, found))


def _read(path: Path, group: Stored) -> list[Record]:
    """The answers of a group."""
    try:
        records = json.loads(path.read_text("utf-8"))["answers"]
        if len(records) == len(group.members) and all(isinstance(one, dict) for one in records):
            return list(records)
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} holds no answers ({error!r}): remove it") from error
    raise RunError(f"{path} does not hold an answer of each network: remove it")
