"""What is prepared for a GPU runs on a CPU, and says what it found."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import Options, main
from benchmarks.gpu_steps import TINY, Place, Sizes, classify, steps


def report(out: Path, only: str, seconds: float = 600) -> dict[str, Any]:
    main(Options(out=out, device="cpu", only=only, seconds=seconds))
    return dict(json.loads(out.read_text()))


@pytest.mark.parametrize(
    ("only", "figure"),
    [
        ("stream raw", "samples/s"),
        ("linear on jpeg", "samples/s"),
        ("train sparse", "steps of one network/s"),
        ("one pixel", "candidates/s"),
        ("segment plain", "waits for data"),
        ("stream scenes", "samples/s"),
    ],
)
def test_a_step_finds_a_figure(only: str, figure: str, tmp_path: Path) -> None:
    found = report(tmp_path / "gpu.json", only)
    first = found["results"][0]
    assert "failed" not in first and first[figure] >= 0 and not found["left out"]
    assert {"device", "torch", "cuda", "processors"} <= found["machine"].keys()


def test_what_there_is_no_time_for_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = report(tmp_path / "gpu.json", "stream", seconds=0)
    assert found["left out"] == ["stream raw", "stream jpeg", "stream scenes"]
    assert "stream raw: left out, the time was over" in capsys.readouterr().out


def test_a_step_that_fails_is_told_and_the_next_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any) -> Any:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr("benchmarks.gpu_steps.streaming", failing)
    found = report(tmp_path / "gpu.json", "stream")
    assert [one["failed"] for one in found["results"]] == [
        "RuntimeError('no kernel image is available')"
    ] * 3


def test_the_heads_that_compare_with_anchors_are_measured_too(tmp_path: Path) -> None:
    place = Place(tmp_path, torch.device("cpu"), TINY)
    assert classify("resnet8", "gnn", False, place)["samples/s"] > 0


def test_every_head_and_size_is_measured() -> None:
    names = [name for name, _ in steps(Sizes())]
    assert len(names) == len(set(names)) == 33
    for part in ("resnet18 mbsg", "resnet50 transformer, compiled", "sparse 600", "segment", "gan"):
        assert any(part in name for name in names)
    assert len(list(steps(TINY))) < len(names)
