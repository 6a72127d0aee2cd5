"""Two processes of gloo, started as torchrun starts them."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import quire
from artifacts.errors import RunError
from models.classifier import Classifier
from models.similarity_graph import GraphConfig, LinearHead, SimilarityGraphHead
from tests.train.learnable import QUICK, RUNNING, learnable_bundle
from train.classify import batches_of
from train.metrics import read_metrics
from train.ranks import Ranks, gathered, joined, over_ranks

ROOT = Path(__file__).parents[2]
HEADS = {
    "linear": None,
    "mbsg": GraphConfig(k=3, width=6, combine="sum"),
    "attention": GraphConfig(k=4, width=6, layers=2, combine="concat", attention=True),
    "all-others": GraphConfig(k=99, width=6, combine="concat"),
}
SHARES = {"equal": (5, 5), "unequal": (6, 3), "one-alone": (1, 7)}


def small_model(config: GraphConfig | None) -> Classifier:
    """In float64, without batch normalisation, whose statistics are each rank's own on a CPU."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh())
    head = LinearHead(8, 4) if config is None else SimilarityGraphHead(8, 4, config)
    return Classifier(encoder, head, mean=[0.5], std=[0.25]).double()


def whole_batch(size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(size, 3, 2, 2, dtype=torch.float64, generator=generator)
    return images, torch.randint(4, (size,), generator=generator)


def gradients(model: Classifier) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def as_rank(out: Path) -> None:
    """What each of two processes does: every head on every share, gradients to a file."""
    found = {}
    with joined("cpu") as ranks:
        for head, config in HEADS.items():
            for share, sizes in SHARES.items():
                images, labels = whole_batch(sum(sizes))
                own = slice(sum(sizes[: ranks.rank]), sum(sizes[: ranks.rank + 1]))
                model = small_model(config)
                together = over_ranks(model, ranks)  # kept: its hooks average the gradients
                loss = F.cross_entropy(together(images[own]), gathered(labels[own]))
                loss.backward()
                found[f"{head} {share}"] = {"loss": loss.detach(), **gradients(model)}
    torch.save(found, out / f"{ranks.rank}.pt")


def torchrun(*arguments: str, processes: int = 2) -> "subprocess.CompletedProcess[str]":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"),
            *(f"--master-port={port}", *arguments),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Sequence[dict[str, dict[str, Tensor]]]:
    out = tmp_path_factory.mktemp("ranks")
    done = torchrun("-m", "tests.train.test_ranks", str(out))
    assert done.returncode == 0, done.stderr
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("head", HEADS)
def test_two_processes_have_the_gradients_of_one_with_the_whole_batch(
    head: str, share: str, by_two: Sequence[dict[str, dict[str, Tensor]]]
) -> None:
    images, labels = whole_batch(sum(SHARES[share]))
    model = small_model(HEADS[head])
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    wanted = {"loss": loss.detach(), **gradients(model)}
    assert len(wanted) > 3
    for rank in by_two:
        found = rank[f"{head} {share}"]
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-13)


def test_a_graph_of_each_rank_alone_would_be_another() -> None:
    """The comparison above can fail: halves of a batch give other gradients than the whole."""
    images, labels = whole_batch(10)
    whole, halves = small_model(HEADS["mbsg"]), small_model(HEADS["mbsg"])
    F.cross_entropy(whole(images), labels).backward()
    for half in (slice(0, 5), slice(5, 10)):
        (F.cross_entropy(halves(images[half]), labels[half]) / 2).backward()
    wanted = gradients(whole)
    found = gradients(halves)
    assert any((found[name] - wanted[name]).abs().max() > 1e-4 for name in wanted)


def test_torchrun_trains_one_run(tmp_path: Path) -> None:
    data = learnable_bundle(tmp_path / "bundle")
    command = [
        *("-m", "quire", "train", "classify", "--data", str(data), "--encoder", "resnet20"),
        *("--epochs", "2", "--batch-size", "8", "--k", "3", "--width", "16", "--no-tensorboard"),
        *("--log-every", "1", "--device", "cpu"),
    ]
    done = torchrun(*command, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1  # only the first rank speaks
    steps = [line for line in read_metrics(tmp_path / "run") if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 11))
    alone = ["train", "classify", *command[4:], "--out", str(tmp_path / "alone")]
    assert quire.main(alone) == 0
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("run", "alone")]
    assert records[0] == records[1]  # the measured mean too: it is of all images
    rates = [line["lr"] for line in read_metrics(tmp_path / "alone") if "loss" in line]
    assert [line["lr"] for line in steps] == rates
    one = load_file(tmp_path / "alone" / "model.safetensors")
    assert load_file(tmp_path / "run" / "model.safetensors").keys() == one.keys()


def test_a_batch_must_be_shared_evenly(tmp_path: Path) -> None:
    data = learnable_bundle(tmp_path / "bundle")
    ranks = Ranks(0, 2, torch.device("cpu"))
    assert batches_of(QUICK, str(data), ranks, RUNNING).rows.shape == (40,)
    with pytest.raises(RunError, match="a batch of 9 cannot be shared by 2 processes"):
        batches_of(replace(QUICK, batch_size=9), str(data), ranks, RUNNING)


def test_one_process_gathers_nothing() -> None:
    rows = torch.randn(3, 2)
    assert gathered(rows) is rows


if __name__ == "__main__":
    as_rank(Path(sys.argv[1]))
