"""The loop that every training shares: what it writes, and how it goes on."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream, stream
from quire.train.engine import loop
from quire.train.engine.metrics import read_metrics
from tests.train.learnable import RUNNING, learnable_bundle

STEPS, EPOCH, BEFORE = 15, 5, 100  # of 40 samples in batches of 8; steps of the run before these


@dataclass
class Slopes:
    """Two lines through the labels of a batch, learned jointly."""

    nothing: ClassVar[Mapping[str, float]] = {"right": 0, "error": 0.0, "images": 0}

    batches: Stream
    model: nn.Linear = field(default_factory=lambda: nn.Linear(1, 2, bias=False))
    step: int = 0

    def __post_init__(self) -> None:
        nn.init.ones_(self.model.weight)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3, momentum=0.9)

    def left(self) -> Iterator[dict[str, Any]]:
        while self.step < STEPS:
            yield from self.batches

    def update(self, batch: dict[str, Any]) -> loop.Step:
        label = batch["label"].float()[:, None]
        losses = (self.model(label) - 2 * label - 1).square().mean(dim=0)
        self.optimizer.zero_grad()
        losses.sum().backward()
        self.optimizer.step()
        self.step += 1
        counts = {
            "right": (losses.detach() < 10).long(),
            "error": losses.detach().double().sum(),
            "images": len(label),
        }
        return loop.Step(losses, batch["row"], counts, {"momentum": 0.9})

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        return {
            "epoch": self.step // EPOCH,
            "right": int(counts["right"].sum()),
            "error": float(counts["error"]) / EPOCH,
            "seen": counts["images"],
        }


class Stop(Exception):
    """A run is stopped."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learnable_bundle(tmp_path_factory.mktemp("data") / "bundle")


def go_on(
    data: Path, out: Path, *, until: int = 0, log_every: int = 1, seconds: float = 0.0
) -> Slopes:
    """Train in a folder, until a step after which the run is stopped."""
    training = Slopes(stream(data, batch_size=8, shuffle=True, seed=1))
    running = replace(RUNNING, log_every=log_every, checkpoint_seconds=seconds)

    def report(done: int, total: int) -> None:
        assert total == 1_000
        if done == BEFORE + until:
            raise Stop

    loop.run(training, part(training, out), running, report)
    return training


def part(training: Slopes, out: Path) -> loop.Part:
    checkpoints = out / "checkpoints"
    names = ("first", "second")
    return loop.Part(
        out=out,
        checkpoints=checkpoints,
        stream=training.batches,
        before=BEFORE,
        total=1_000,
        names=names,
    )


def lines(out: Path) -> list[dict[str, float]]:
    timed = {"seconds", "images_per_second", "data_wait"}
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(out)]


def test_every_step_and_every_epoch_is_noted(data: Path, tmp_path: Path) -> None:
    training = go_on(data, tmp_path, log_every=7)
    found = lines(tmp_path)
    steps, epochs = ([line for line in found if name in line] for name in ("loss", "epoch"))
    assert [line["step"] for line in steps] == list(range(BEFORE + 1, BEFORE + STEPS + 1))
    assert [line["step"] for line in epochs] == [BEFORE + EPOCH * one for one in (1, 2, 3)]
    assert list(steps[0]) == ["step", "loss", "least", "most", "momentum"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3]
    assert [line["seen"] for line in epochs] == [40] * 3
    for number, line in enumerate(epochs):
        own = steps[EPOCH * number : EPOCH * (number + 1)]
        assert line["error"] == pytest.approx(sum(2 * step["loss"] for step in own) / EPOCH)
        assert line["right"] == sum((s["least"] < 10) + (s["most"] < 10) for s in own)
    assert training.step == STEPS


@pytest.mark.parametrize(
    ("log_every", "stop", "there"), [(7, 3, 0), (3, 3, 3), (3, 4, 3), (7, 5, 6)]
)
def test_losses_are_looked_at_now_and_then_and_when_an_epoch_ends(
    log_every: int, stop: int, there: int, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Stop):
        go_on(data, tmp_path, until=stop, log_every=log_every, seconds=1e9)
    assert len(lines(tmp_path)) == there


@pytest.mark.slow
@settings(max_examples=10)  # each waits for many files to be on disk
@given(
    stops=st.lists(st.tuples(st.integers(1, STEPS), st.sampled_from([0.0, 1e9])), max_size=2),
    log_every=st.integers(1, STEPS),
)
def test_wherever_it_is_stopped_it_goes_on_to_the_same_end(
    stops: list[tuple[int, float]], log_every: int, data: Path, whole: tuple[Path, Slopes]
) -> None:
    with TemporaryDirectory() as folder:
        out = Path(folder)
        for until, seconds in stops:
            try:
                go_on(data, out, until=until, log_every=log_every, seconds=seconds)
            except Stop:
                pass
        training = go_on(data, out, log_every=log_every)
        assert lines(out) == lines(whole[0])
        assert torch.equal(training.model.weight, whole[1].model.weight)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Slopes]:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    return out, go_on(data, out)


@pytest.mark.parametrize("step", [3, EPOCH])
def test_a_checkpoint_has_what_an_epoch_came_to(step: int, data: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        go_on(data, tmp_path, until=step)
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert checkpoint.name == f"checkpoint-{step:08d}"
    rest = torch.load(checkpoint / "rest.pt", weights_only=True)
    assert list(rest) == ["optimizer", "batches", "right", "error", "images"]
    assert (rest["images"], type(rest["error"])) == (8 * (step % EPOCH), float)
    assert (rest["right"] == 0) if step == EPOCH else (rest["right"].shape == (2,))


@pytest.mark.parametrize(
    "wrong", [{"images": "many"}, {"right": None}, {"optimizer": 3}, {"batches": {}}, None]
)
def test_a_checkpoint_of_something_else_is_refused(
    wrong: dict[str, Any] | None, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(Stop):
        go_on(data, tmp_path, until=3)
    path = tmp_path / "checkpoints" / "checkpoint-00000003" / "rest.pt"
    rest = torch.load(path, weights_only=True)
    torch.save({} if wrong is None else {**rest, **wrong}, path)
    with pytest.raises(RunError, match="checkpoints is not of this run"):
        go_on(data, tmp_path)
    assert len(lines(tmp_path)) == 3  # nothing was lost


def test_a_loss_that_is_not_finite_ends_it(data: Path, tmp_path: Path) -> None:
    training = Slopes(stream(data, batch_size=8))
    with torch.no_grad():
        training.model.weight[1] = 1e30
    with pytest.raises(RunError, match=r"step 101 is inf of second; its batch of 8"):
        loop.run(training, part(training, tmp_path), RUNNING, None)
    assert json.loads((tmp_path / "failed.json").read_text())["network"] == "second"


def test_a_rank_that_is_not_the_first_writes_nothing(data: Path, tmp_path: Path) -> None:
    training = Slopes(stream(data, batch_size=8))
    loop.run(training, replace(part(training, tmp_path), out=None), RUNNING, None)
    assert training.step == STEPS and not list(tmp_path.iterdir())
