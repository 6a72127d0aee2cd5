"""Two processes of gloo: the gradients of one, and torchrun as a user types it."""

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
from torch import Tensor

import quire
from quire.artifacts.errors import RunError
from quire.train.classify.evaluate import evaluate
from quire.train.classify.training import batches_of
from quire.train.engine.metrics import read_metrics
from quire.train.engine.ranks import Ranks, gathered, over_ranks, share
from tests.train.engine.rank_steps import (
    ANCHORS,
    GANS,
    HEADS,
    KINDS,
    RIVALS,
    SHARES,
    compared,
    gradients,
    improved,
    rivalled,
    small_comparer,
    small_model,
    whole_batch,
)
from tests.train.learnable import QUICK, RUNNING, anchor_bundle, learnable_bundle

ROOT = Path(__file__).parents[3]


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def torchrun(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"),
            *(f"--master-port={free_port()}", *arguments),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Sequence[dict[str, dict[str, Tensor]]]:
    """What two processes write that find what torchrun would tell them in their environment."""
    out = tmp_path_factory.mktemp("ranks")
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.engine.rank_steps", str(out)],
            cwd=ROOT,
            env={**os.environ, **told, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
        )
        for rank in ("0", "1")
    ]
    assert [process.wait(300) for process in processes] == [0, 0]
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("count", ANCHORS)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_that_share_anchors_have_the_gradients_of_one(
    kind: str, share: str, count: int, by_two: Sequence[dict[str, dict[str, Tensor]]]
) -> None:
    model = small_comparer(KINDS[kind])
    images, labels = whole_batch(sum(SHARES[share]))
    alone = over_ranks(model, Ranks(0, 1, torch.device("cpu")))
    wanted = compared(model, alone, images, labels, count)
    assert wanted["head.proxies"].abs().sum() > 0 and wanted["encoder.1.weight"].abs().sum() > 0
    for rank in by_two:
        found = rank[f"{kind} {share} {count}"]
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("rival", RIVALS)
def test_two_processes_have_the_gradients_of_one_in_each_objective(
    rival: str, share: str, by_two: Sequence[dict[str, dict[str, Tensor]]]
) -> None:
    images, labels = whole_batch(sum(SHARES[share]))
    wanted = rivalled(rival, Ranks(0, 1, torch.device("cpu")), images, labels)
    for rank in by_two:
        found = rank[f"{rival} {share}"]
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            # in float32, as logits and distances are
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", GANS)
def test_two_processes_have_the_gradients_of_one_in_a_gan(
    kind: str, by_two: Sequence[dict[str, dict[str, Tensor]]]
) -> None:
    wanted = improved(kind, Ranks(0, 1, torch.device("cpu")))
    for rank in by_two:
        found = rank[f"gan {kind}"]
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def test_triplets_of_each_rank_alone_would_be_others() -> None:
    """The comparison above can fail."""
    images, labels = whole_batch(10)
    whole, halves = small_comparer(KINDS["gnn"]), small_comparer(KINDS["gnn"])
    alone = Ranks(0, 1, torch.device("cpu"))
    wanted = compared(whole, over_ranks(whole, alone), images, labels, 4)
    for half in (slice(0, 5), slice(5, 10)):
        found = compared(halves, over_ranks(halves, alone), images[half], labels[half], 4)
    assert (found["encoder.1.weight"] / 2 - wanted["encoder.1.weight"]).abs().max() > 1e-4


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


@pytest.mark.slow
def test_torchrun_trains_one_run(tmp_path: Path) -> None:
    data = learnable_bundle(tmp_path / "bundle")
    command = [
        *("-m", "quire", "train", "classify", "--data", str(data), "--encoder", "resnet8"),
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
    again = torchrun(*command, "--out", str(tmp_path / "run"))
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was trained before") == 1  # and the other rank waits for nobody


@pytest.mark.slow
def test_torchrun_trains_with_anchors(tmp_path: Path) -> None:
    data, anchors = learnable_bundle(tmp_path / "bundle"), anchor_bundle(tmp_path / "anchors")
    done = torchrun(
        *("-m", "quire", "train", "classify", "--data", str(data), "--encoder", "resnet8"),
        *("--epochs", "2", "--batch-size", "8", "--head", "cnn2graph", "--no-tensorboard"),
        *("--anchors", str(anchors), "--log-every", "1", "--device", "cpu", "--shift", "1"),
        *("--jitter", "0.4", "0.4", "0.4", "--out", str(tmp_path / "run")),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1
    steps = [line for line in read_metrics(tmp_path / "run") if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 11))
    assert all(line["ap_valid"] == 90 for line in steps)  # each anchor counts once
    measured = evaluate(tmp_path / "run", str(data), device="cpu")
    assert {one.setting for one in measured} == {"inductive", "transductive"}


def test_a_batch_must_be_shared_evenly(tmp_path: Path) -> None:
    data = learnable_bundle(tmp_path / "bundle")
    ranks = Ranks(0, 2, torch.device("cpu"))
    assert batches_of(QUICK, str(data), ranks, RUNNING).rows.shape == (40,)
    with pytest.raises(RunError, match="a batch of 9 cannot be shared by 2 processes"):
        batches_of(replace(QUICK, batch_size=9), str(data), ranks, RUNNING)


def test_one_process_gathers_nothing() -> None:
    rows = torch.randn(3, 2)
    assert gathered(rows) is rows and share(rows) is rows
