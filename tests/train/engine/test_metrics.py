"""Metrics and checkpoints: what is written is whole, and can be gone on from."""

import json
import math
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from quire.artifacts.errors import RunError
from quire.train.engine import checkpoint
from quire.train.engine.metrics import Clock, Log, NotFinite, read_metrics


def write_steps(folder: Path, first: int, last: int) -> None:
    with Log(folder, step=first, tensorboard=False) as log:
        for step in range(first + 1, last + 1):
            log.step(step, torch.tensor(float(step)), torch.tensor([step]), lr=0.5)
        log.flush()


def test_lines_come_when_they_are_flushed_and_in_order(tmp_path: Path) -> None:
    with Log(tmp_path, step=0, tensorboard=False) as log:
        for step in (1, 2):
            log.step(step, torch.tensor(1 / step), torch.tensor([step]), lr=0.1)
        assert read_metrics(tmp_path) == []
        log.flush()
        assert [line["loss"] for line in read_metrics(tmp_path)] == [1.0, 0.5]
        log.flush()
        log.write(2, {"epoch": 1})
    assert read_metrics(tmp_path)[2:] == [{"step": 2, "epoch": 1}]


def test_a_log_that_goes_on_drops_what_came_after_its_step(tmp_path: Path) -> None:
    write_steps(tmp_path, 0, 5)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "loss"')
    write_steps(tmp_path, 3, 7)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    write_steps(tmp_path, 0, 2)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_bad_loss_is_named_with_its_rows(bad: float, tmp_path: Path) -> None:
    with Log(tmp_path, step=0, tensorboard=False) as log:
        for step, loss in enumerate([1.0, bad, 2.0, math.nan], 1):
            log.step(step, torch.tensor(loss), torch.tensor([10 * step]))
        with pytest.raises(NotFinite) as caught:
            log.flush()
    assert (caught.value.step, caught.value.rows.tolist()) == (2, [20])
    assert caught.value.loss == pytest.approx(bad, nan_ok=True)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1]


def test_without_a_folder_losses_are_still_looked_at() -> None:
    with Log(None, step=0, tensorboard=True) as log:
        log.step(1, torch.tensor(1.0), torch.tensor([1]))
        log.flush()
        log.step(2, torch.tensor(math.nan), torch.tensor([1]))
        with pytest.raises(NotFinite):
            log.flush()


def test_the_clock_tells_waiting_from_working() -> None:
    def slow_batches() -> object:
        for _ in range(3):
            time.sleep(0.03)
            yield {"row": torch.arange(4)}

    clock = Clock(1e9)
    for _ in clock.timed(slow_batches()):  # type: ignore[arg-type]
        time.sleep(0.03)
    read = clock.read()
    assert 0.09 <= read["data_wait"] * read["seconds"] <= read["seconds"] - 0.09
    assert read["images_per_second"] == pytest.approx(12 / read["seconds"])
    assert clock.read()["images_per_second"] == 0
    assert not clock.due() and Clock(0.0).due()


def test_the_last_whole_checkpoint_counts_and_earlier_ones_go(tmp_path: Path) -> None:
    model = nn.Linear(2, 3)
    assert checkpoint.restore(tmp_path, model) is None
    for step in (9, 10, 100):
        with torch.no_grad():
            model.weight.fill_(step)
        checkpoint.save(tmp_path, step, model, {"step": step, "tensor": torch.arange(step)})
    (tmp_path / ".checkpoint-1.partial").mkdir()  # one that was being written
    (tmp_path / ".checkpoint-1.partial" / "weights.safetensors").write_bytes(b"half")
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-00000100"]
    other = nn.Linear(2, 3)
    found = checkpoint.restore(tmp_path, other)
    assert found is not None
    assert found[0] == found[1]["step"] == 100 and len(found[1]["tensor"]) == 100
    assert torch.equal(other.weight, torch.full((3, 2), 100.0))
    with pytest.raises(RunError, match="does not hold the weights of this model"):
        checkpoint.restore(tmp_path, nn.Linear(3, 3))
    checkpoint.clear(tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_keep_their_layout_in_memory(tmp_path: Path) -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    checkpoint.save_weights(tmp_path / "weights.safetensors", model)
    other = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    checkpoint.load_weights(tmp_path / "weights.safetensors", other)
    assert torch.equal(model.weight, other.weight)
    assert other.weight.is_contiguous(memory_format=torch.channels_last)
    header = json.loads((tmp_path / "weights.safetensors").read_bytes()[8:].split(b"}}")[0] + b"}}")
    assert header["weight"]["shape"] == [4, 3, 3, 3]


def test_of_models_side_by_side_the_one_whose_loss_is_nan_is_named(tmp_path: Path) -> None:
    rows = torch.arange(2)
    with Log(tmp_path, step=0, tensorboard=False) as log:
        log.step(1, torch.tensor([1.0, 4.0, 1.0]), rows)
        log.step(2, torch.tensor([1.0, 4.0, torch.nan]), rows)
        with pytest.raises(NotFinite) as caught:
            log.flush()
    assert (caught.value.step, caught.value.member) == (2, 2)
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 2.0, "least": 1.0, "most": 4.0}]
