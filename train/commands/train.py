"""The commands that train: `quire train`, one for each method.

They are apart from the command line because their options are made from records that import torch.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from quire.train.classify.evaluate import Evaluate
from quire.train.classify.run import Classify
from quire.train.classify.training import train
from quire.train.commands.bundle_option import BundleOption, mixture
from quire.train.commands.gan import gan_command
from quire.train.commands.measure import measure_networks
from quire.train.commands.segmentation import segment_command
from quire.train.commands.training_summary import training_summary
from quire.train.engine.options import Bar, Running
from quire.train.gan.run import Gan
from quire.train.segmentation.run import Segment
from quire.train.sparse.pruning_run import Prune
from quire.train.sparse.run import Sparse
from quire.train.sparse.training import train_networks

_ACCURACY = (
    "{train_accuracy:.2f} % of the last epoch's images classified correctly,"
    " {images_per_second:,.0f} images/s"
)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """What `train sparse` and `train prune` read, where they write, and how they run."""

    data: tuple[BundleOption, ...]
    """The bundle of images to train on: a folder, or an address; or several, see mix."""
    out: Path
    """The run's folder. One in which the same run was stopped is taken up again."""
    running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff]
    mix: tuple[float, ...] = ()
    """The share of each of several bundles in every batch; an epoch is that of the first."""
    test: BundleOption | None = None
    """A bundle to measure the networks on when they are trained."""


def train_commands(bar: Bar) -> dict[str, Callable[..., int]]:
    """A command for each method of training."""

    def classify(
        data: tuple[BundleOption, ...],
        out: Path,
        running: Annotated[Running, OmitArgPrefixes, FlagCreatePairsOff],
        config: Annotated[Classify, arg(name="")],
        anchors: BundleOption | None = None,
        mix: tuple[float, ...] = (),
        test: BundleOption | None = None,
        test_every: int = 1,
    ) -> int:
        with bar("steps") as report:
            new = train(
                config,
                mixture(data, mix),
                out,
                anchors=anchors,
                test=test,
                test_every=test_every,
                running=running,
                report=report,
            )
        if int(os.environ.get("RANK", "0")) == 0:
            print(training_summary(out, new=new, of_epoch=_ACCURACY))
        return 0

    classify.__doc__ = f"""{Classify.__doc__}

    Args:
        data: The bundle to train on: a folder, or an address; or several, see mix.
        out: The run's folder. One in which the same run was stopped is taken up again.
        anchors: The bundle of images that a cnn2graph head compares all others with.
        mix: The share of each of several bundles in every batch; an epoch is that of the first.
        test: A bundle whose clean images are classified during training, which they have no part
            in: `test_accuracy` in metrics.jsonl.
        test_every: Epochs from one test to the next; the last one is always tested.
    """

    def sparse(
        graphs: BundleOption,
        common: Annotated[NetworkOptions, OmitArgPrefixes],
        config: Annotated[Sparse, OmitArgPrefixes],
    ) -> int:
        return _train_networks(bar, config, graphs, common)

    sparse.__doc__ = f"""{Sparse.__doc__}

    Args:
        graphs: The bundle of graphs, made for such images by `quire build graphs`.
    """

    def prune(
        prunings: BundleOption,
        common: Annotated[NetworkOptions, OmitArgPrefixes],
        config: Annotated[Prune, OmitArgPrefixes],
    ) -> int:
        return _train_networks(bar, config, prunings, common)

    prune.__doc__ = f"""{Prune.__doc__}

    Args:
        prunings: The bundle of prunings, made for such images by `quire build pruned`.
    """
    return {
        Classify.method: classify,
        Sparse.method: sparse,
        Prune.method: prune,
        Segment.method: segment_command(bar),
        Gan.method: gan_command(bar),
    }


def _train_networks(bar: Bar, config: Sparse | Prune, graphs: str, common: NetworkOptions) -> int:
    """Train networks, say so, and how well they do where that is asked."""
    out, running = common.out, common.running
    with bar("steps") as report:
        new = train_networks(
            config, mixture(common.data, common.mix), graphs, out, running=running, report=report
        )
    print(training_summary(out, new=new, of_epoch=_ACCURACY))
    if common.test is None:
        return 0
    return measure_networks(bar, out, common.test, Evaluate(), running.device)
