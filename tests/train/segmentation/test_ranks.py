"""Two processes of gloo train one network: each takes its part, and gradients are averaged."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import key
from quire.train.engine.ranks import Ranks
from quire.train.segmentation.run import build_model
from quire.train.segmentation.stages import Bundles, prepared
from quire.train.segmentation.training import Training, train_segmentation
from tests.train.engine.test_ranks import torchrun
from tests.train.segmentation.small import QUICK, RUNNING, cooccurrence, scenes

# all 20 scenes in one step, in either stage
CONFIG = replace(QUICK, variant="binding-cm", batch_size=20, epochs=1)


def bundles(place: Path) -> Bundles:
    return Bundles(data=str(place / "scenes"), cooccurrence=str(place / "cooccurrence"))


def as_rank(place: Path) -> None:
    """What each of two processes does."""
    running = replace(RUNNING, device="cpu")
    train_segmentation(CONFIG, bundles(place), place / "run", running=running)


def by_itself(place: Path) -> Iterator[tuple[Training, Tensor]]:
    """What each rank's part of the first step comes to, without the other's."""
    for rank in range(2):
        ranks = Ranks(rank, 2, torch.device("cpu"))
        stage = prepared(CONFIG, bundles(place), ranks, RUNNING)[1][0]
        torch.manual_seed(key(CONFIG.seed, "weights"))
        model = build_model(CONFIG, 21).to(memory_format=torch.channels_last).train()
        training = Training.new(CONFIG, stage, model, Ranks(0, 1, ranks.device))
        training.ranks = ranks
        (batch,) = stage.batches
        assert len(batch["row"]) == 10
        yield training, training.update(batch).loss


@pytest.mark.slow  # three processes import torch
def test_a_step_is_that_of_the_mean_gradient(tmp_path: Path) -> None:
    scenes(tmp_path / "scenes")
    cooccurrence(tmp_path / "cooccurrence")
    done = torchrun("-m", "tests.train.segmentation.test_ranks", str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = by_itself(tmp_path)
    found = load_file(tmp_path / "run" / "separation.safetensors")
    theirs = dict(second[0].model.named_parameters())
    for name, own in first[0].model.named_parameters():
        # the first step of SGD is linear in the gradient
        assert torch.allclose(found[name], (own + theirs[name]) / 2, atol=1e-6), name
        if not name.startswith("mean"):
            assert not torch.allclose(own, theirs[name], atol=1e-6), name
    lines = [line for line in read_metrics(tmp_path / "run") if "loss" in line]
    assert len(lines) == 2  # both stages came to their end
    assert lines[0]["loss"] == pytest.approx(float(first[1] + second[1]) / 2, rel=1e-5)


if __name__ == "__main__":
    as_rank(Path(sys.argv[1]))
