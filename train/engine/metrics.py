"""What a run tells of itself: lines of JSON, and TensorBoard beside them.

A line has a step and numbers. Losses stay on the device until they are wanted, as asking for a
number waits for the device. A run that goes on cuts the lines after its checkpoint, so the file
reads as if it had never stopped.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

import torch
from torch import Tensor

from quire.train.engine.runs import METRICS

Batch = TypeVar("Batch", bound=Mapping[str, Any])


class NotFinite(ArithmeticError):
    """A loss is NaN or infinite; has the step, the loss, the batch's rows, and whose loss it is."""

    def __init__(self, step: int, loss: float, rows: Tensor, member: int) -> None:
        super().__init__(f"the loss of step {step} is {loss}")
        self.step, self.loss, self.rows, self.member = step, loss, rows, member


class Log:
    """Writes the metrics of a run from some step on; a context manager. Steps count from 1."""

    def __init__(self, folder: Path | None, *, step: int, tensorboard: bool) -> None:
        """`step` steps are done already. Without a folder only the losses are looked at."""
        self._file: TextIO | None = None
        self._board: Any = None
        if folder is not None:
            _cut(folder / METRICS, step)
            self._file = (folder / METRICS).open("a", encoding="utf-8")
            self._board = _board(folder, step) if tensorboard else None
        self._waiting: list[tuple[int, Tensor, Tensor, Mapping[str, float | Tensor]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in (self._file, self._board):
            if file is not None:
                file.close()

    def step(self, step: int, loss: Tensor, rows: Tensor, **numbers: float | Tensor) -> None:
        """Note a step: its loss, on any device, the batch's rows (B,), and more numbers.

        These may be tensors () on any device too; every step has the same.

        Of models that are trained jointly there is a loss each, (M,): their mean is written,
        beside the least and the most.
        """
        self._waiting.append((step, loss.detach(), rows, numbers))

    def flush(self) -> None:
        """Write the steps that wait.

        Raises:
            NotFinite: for the first loss that is NaN or infinite; the steps before it are written.
        """
        waiting, self._waiting = self._waiting, []
        losses = torch.stack([loss for _, loss, _, _ in waiting]).tolist() if waiting else []
        fetched = _fetched([numbers for _, _, _, numbers in waiting])
        for (step, _, rows, _), loss, numbers in zip(waiting, losses, fetched, strict=True):
            each = loss if isinstance(loss, list) else [loss]
            for member, one in enumerate(each):
                if not math.isfinite(one):
                    raise NotFinite(step, one, rows, member)
            spread = {"least": min(each), "most": max(each)} if isinstance(loss, list) else {}
            self.write(step, {"loss": math.fsum(each) / len(each), **spread, **numbers})

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write one line."""
        if self._file is not None:
            self._file.write(json.dumps({"step": step, **numbers}) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(name, number, step)


class Clock:
    """Where the time of an epoch goes, and when the next checkpoint is due."""

    def __init__(self, checkpoint_seconds: float) -> None:
        self._every = checkpoint_seconds
        self._saved = self._begin = perf_counter()
        self._waited, self._images = 0.0, 0

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time until each is there counts as waiting for data."""
        iterator = iter(batches)
        while True:
            asked = perf_counter()
            batch = next(iterator, None)
            self._waited += perf_counter() - asked
            if batch is None:
                return
            self._images += len(batch["row"])
            yield batch

    def due(self) -> bool:
        """Whether it is time for a checkpoint; asked again, it is not."""
        if perf_counter() - self._saved < self._every:
            return False
        self._saved = perf_counter()
        return True

    def read(self) -> dict[str, float]:
        """Seconds since this was last asked, images/s of this rank, part spent waiting."""
        seconds = perf_counter() - self._begin
        read = {
            "seconds": seconds,
            "images_per_second": self._images / seconds,
            "data_wait": self._waited / seconds,
        }
        self.restart()
        return read

    def restart(self) -> None:
        """Leave out what was done since this was last read."""
        self._begin, self._waited, self._images = perf_counter(), 0.0, 0


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of a run, in order."""
    path = folder / METRICS
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


def _fetched(steps: Sequence[Mapping[str, float | Tensor]]) -> list[dict[str, float]]:
    """The numbers of each step; those of one name leave the device together."""
    columns = {name: [numbers[name] for numbers in steps] for name in (steps[0] if steps else ())}
    for name, values in columns.items():
        tensors = [value for value in values if isinstance(value, Tensor)]
        if tensors:
            columns[name] = torch.stack(tensors).tolist()
    rows = zip(*columns.values(), strict=True) if columns else [()] * len(steps)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _cut(path: Path, step: int) -> None:
    """Drop the lines of steps after `step`, and a last line that was never finished."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines(keepends=True):
        if not line.endswith("\n") or json.loads(line)["step"] > step:
            break
        kept.append(line)
    path.write_text("".join(kept), "utf-8")


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    return SummaryWriter(str(folder), purge_step=step + 1)
