"""The smallest run of a network that is pruned: three prunings in three steps, for 8 x 8 images."""

from pathlib import Path

from quire.builders.recipes.pruned import Pruned
from quire.train.engine.options import Running
from quire.train.sparse.pruning_run import Prune
from quire.train.sparse.training import train_networks
from tests.graph_bundles import graph_bundle
from tests.train.learnable import learnable_bundle

LAYERS = (6, 7, 5)
RECIPE = Pruned(layers=LAYERS, inputs=64, outputs=10, alpha=0.55, steps=3, prunings=3)
QUICK = Prune(epochs=2, retrain=1, batch_size=8, lr=0.01)
RUNNING = Running(tensorboard=False, log_every=1, checkpoint_seconds=0.0)
TOTAL = 25  # steps of the optimizer: five epochs of 40 samples


def bundles(folder: Path) -> tuple[str, Path]:
    """Images and prunings."""
    learnable_bundle(folder / "train")
    learnable_bundle(folder / "test", seed=1)
    graph_bundle(folder / "prunings", RECIPE)
    return str(folder / "train"), folder / "prunings"


def trained_run(folder: Path, config: Prune = QUICK) -> Path:
    """A run on bundles of its own."""
    data, prunings = bundles(folder)
    train_networks(config, data, prunings, folder / "run", running=RUNNING)
    return folder / "run"
