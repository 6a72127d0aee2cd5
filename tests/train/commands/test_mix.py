"""Training on several bundles, as a user types it."""

from pathlib import Path
from typing import Any

import pytest

from quire.train.classify.evaluate import evaluate
from quire.train.classify.training import train
from quire.train.engine.runs import MODEL
from tests.train.learnable import QUICK, RUNNING, learnable_bundle

CLASSIFY = ["--encoder", "resnet8", "--epochs", "1", "--batch-size", "10", "--k", "3"]


class Stopped(Exception):
    """A run is stopped."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for seed, name in enumerate(("own", "extra", "more")):
        learnable_bundle(tmp_path / name, seed=seed)
    return tmp_path


def places(place: Path) -> list[tuple[str, float]]:
    return [(str(place / "own"), 0.7), (str(place / "extra"), 0.3)]


@pytest.mark.slow
def test_a_run_on_a_mixture_goes_on_to_the_same_weights(place: Path) -> None:
    """40 samples of its own make an epoch of 57 or 58, 8 at a time."""
    config: Any = QUICK
    train(config, places(place), place / "whole", running=RUNNING)

    def report(done: int, total: int) -> None:
        assert total == 2 * 8
        if done == 11:
            raise Stopped

    with pytest.raises(Stopped):
        train(config, places(place), place / "stopped", running=RUNNING, report=report)
    train(config, places(place), place / "stopped", running=RUNNING)
    whole, stopped = ((place / run / MODEL).read_bytes() for run in ("whole", "stopped"))
    assert whole == stopped
    train(config, str(place / "own"), place / "alone", running=RUNNING)
    assert (place / "alone" / MODEL).read_bytes() != whole
    measured = evaluate(place / "whole", str(place / "own"))  # the context is of its own bundle
    assert measured[0].images == 20
