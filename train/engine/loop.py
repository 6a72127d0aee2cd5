"""The loop of every training: steps, what is noted of them, and checkpoints.

What a step does, and what there is to say of an epoch, is for each method to know.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream
from quire.train.engine import checkpoint
from quire.train.engine.failure import flush
from quire.train.engine.metrics import Clock, Log
from quire.train.engine.options import Report, Running


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step."""

    loss: Tensor  # (), or (M,) of models that are trained jointly
    rows: Tensor  # (B,), of the batch; of all ranks
    counts: Mapping[str, Tensor | float]  # to be added up over an epoch: () or (M,)
    numbers: Mapping[str, Tensor | float] = field(default_factory=dict)  # (), to be noted


class Stateful(Protocol):
    """Something that goes on where it was stopped."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on there."""


class Batches(Stateful, Protocol):
    """The batches of an epoch, and where in it they are."""

    def __len__(self) -> int:
        """Batches of an epoch."""


class Training(Protocol):
    """A model on its way: what changes it, and how far it is."""

    nothing: ClassVar[Mapping[str, float]]  # the counts of no step
    step: int  # steps done

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    @property
    def optimizer(self) -> Stateful:
        """What changes it."""

    @property
    def batches(self) -> Batches:
        """What it learns from."""

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left, epoch after epoch."""

    def update(self, batch: dict[str, Any]) -> Step:
        """One step."""

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of the epoch that has just ended, by the sums of its counts."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a training is of its run: all of it, or one of several that follow each other."""

    out: Path | None  # the run's folder; None where another rank writes
    checkpoints: Path  # the folder of this training's own
    stream: Stream  # of the samples, which it names by their keys
    before: int = 0  # steps of the run before the first
    total: int  # steps of the whole run
    names: Sequence[str] = ()  # of models that are trained jointly


def run(training: Training, part: Part, running: Running, report: Report | None) -> None:
    """Take every step that is left, from the last checkpoint on, where there is one.

    Raises:
        RunError: the checkpoint is damaged, or of something else; or a loss is NaN or infinite,
            with the step and the batch's keys.
    """
    torch.backends.cudnn.benchmark = True  # batches have one shape, so the search pays
    counts, clock = _restored(training, part.checkpoints), Clock(running.checkpoint_seconds)
    with Log(part.out, step=part.before + training.step, tensorboard=running.tensorboard) as log:
        for batch in clock.timed(training.left()):
            step = training.update(batch)
            done, counts = part.before + training.step, _added(counts, step.counts)
            log.step(done, step.loss, step.rows, **step.numbers)
            ends = training.step % len(training.batches) == 0
            due = part.out is not None and clock.due()
            if ends or due or training.step % running.log_every == 0:
                flush(log, part.stream, part.out, part.names)
            if ends:
                times = clock.read()
                log.write(done, training.epoch_ends(counts) | times)
                clock.restart()  # what the end of an epoch takes is no part of the next
                counts = dict(training.nothing)
            if due:
                _save(training, counts, part.checkpoints)
            if report:
                report(done, part.total)


def _added(counts: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    return {name: count + more[name] for name, count in counts.items()}


def _save(training: Training, counts: Mapping[str, Any], folder: Path) -> None:
    """Write a checkpoint; in it a count of one number is no tensor."""
    rest = {
        "optimizer": training.optimizer.state_dict(),
        "batches": training.batches.state_dict(),
    }
    for name, count in counts.items():
        single = isinstance(count, Tensor) and not count.dim()
        rest[name] = count.item() if single else count
    checkpoint.save(folder, training.step, training.model, rest)


def _restored(training: Training, folder: Path) -> dict[str, Any]:
    """Go on at the last checkpoint, where there is one. Returns the counts of the epoch so far."""
    try:
        found = checkpoint.restore(folder, training.model)
        if found is None:
            return dict(training.nothing)
        training.step, rest = found
        training.optimizer.load_state_dict(rest["optimizer"])
        training.batches.load_state_dict(rest["batches"])
        device = next(training.model.parameters()).device
        counts = {name: rest[name] for name in training.nothing}
        there = {n: c.to(device) if isinstance(c, Tensor) else c for n, c in counts.items()}
        return _added(training.nothing, there)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"the checkpoint in {folder} is not of this run ({error})") from error
