"""The commands that train: `quire train`, one for each method.

They are apart from the command line because their options are made from records that import torch.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from quire.train.classify.evaluate import Evaluate
from quire.train.classify.run import Classify
from quire.train.classify.training import train
from quire.train.commands.measure import measure_networks
from quire.train.commands.segmentation import segment_command
from quire.train.engine.metrics import read_metrics
from quire.train.engine.options import Bar, Running
from quire.train.segmentation.run import Segment
from quire.train.sparse.pruning_run import Prune
from quire.train.sparse.run import Sparse
from quire.train.sparse.training import train_networks


def train_commands(bar: Bar) -> dict[str, Callable[..., int]]:
    """A command for each method of training."""

    def classify(
        data: str,
        out: Path,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        config: Annotated[Classify, arg(name="")],
        anchors: str | None = None,
    ) -> int:
        with bar("steps") as report:
            new = train(config, data, out, anchors=anchors, running=running, report=report)
        if int(os.environ.get("RANK", "0")) == 0:
            print(f"{out}: {'trained' if new else 'was trained before'}; {_summary(out)}")
        return 0

    classify.__doc__ = f"""{Classify.__doc__}

    Args:
        data: The bundle to train on: a folder, or an address.
        out: The run's folder. One in which the same run was stopped is taken up again.
        anchors: The bundle of images that a cnn2graph head compares all others with.
    """

    def sparse(
        data: str,
        graphs: Path,
        out: Path,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        config: Annotated[Sparse, OmitArgPrefixes],
        test: str | None = None,
    ) -> int:
        return _networks(bar, config, data, graphs, out, running, test)

    sparse.__doc__ = f"""{Sparse.__doc__}

    Args:
        data: The bundle of images to train on: a folder, or an address.
        graphs: The bundle of graphs, made for such images by `quire build graphs`.
        out: The run's folder. One in which the same run was stopped is taken up again.
        test: A bundle to measure the networks on when they are trained.
    """

    def prune(
        data: str,
        prunings: Path,
        out: Path,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        config: Annotated[Prune, OmitArgPrefixes],
        test: str | None = None,
    ) -> int:
        return _networks(bar, config, data, prunings, out, running, test)

    prune.__doc__ = f"""{Prune.__doc__}

    Args:
        data: The bundle of images to train on: a folder, or an address.
        prunings: The bundle of prunings, made for such images by `quire build pruned`.
        out: The run's folder. One in which the same run was stopped is taken up again.
        test: A bundle to measure the networks on, after each step, when all are trained.
    """
    return {
        Classify.method: classify,
        Sparse.method: sparse,
        Prune.method: prune,
        Segment.method: segment_command(bar),
    }


def _networks(
    bar: Bar,
    config: Sparse | Prune,
    data: str,
    graphs: Path,
    out: Path,
    running: Running,
    test: str | None,
) -> int:
    """Train networks, say so, and how well they do where that is asked."""
    with bar("steps") as report:
        new = train_networks(config, data, graphs, out, running=running, report=report)
    print(f"{out}: {'trained' if new else 'was trained before'}; {_summary(out)}")
    return 0 if test is None else measure_networks(bar, out, test, Evaluate(), running.device)


def _summary(run: Path) -> str:
    """What the last epoch of a run says of itself."""
    lines = [line for line in read_metrics(run) if "train_accuracy" in line]
    if not lines:
        return "no metrics"
    last = lines[-1]
    return (
        f"{last['step']:,} steps, {last['train_accuracy']:.2f} % of the last epoch's images"
        f" classified correctly, {last['images_per_second']:,.0f} images/s"
    )
