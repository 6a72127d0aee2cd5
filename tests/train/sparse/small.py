"""The smallest run of sparse networks: three graphs for 8 x 8 images, in two initialisations."""

from pathlib import Path
from typing import Any

from quire.builders.recipes.graphs import Graphs
from quire.train.engine.options import Running
from quire.train.sparse.attack_catalogue import Attack
from quire.train.sparse.run import Sparse
from quire.train.sparse.training import train_networks
from tests.graph_bundles import graph_bundle
from tests.train.learnable import learnable_bundle

GRAPHS = Graphs(
    sizes=(12, 16), nei=(1, 2), p=(0.5,), inputs=64, least=200, most=2_000, graphs=3, seed=1
)
QUICK = Sparse(
    initialisations=("he_normal", "uniform"), epochs=2, batch_size=8, lr=0.01, together=4
)
RUNNING = Running(tensorboard=False, log_every=1, checkpoint_seconds=0.0)
STEPS = 20  # of two groups, on 40 samples
ATTACK = Attack(population=5, generations=2, pixel_images=20, step=0.2, epsilon=0.2)


def bundles(folder: Path) -> tuple[str, Path]:
    """Images and graphs."""
    learnable_bundle(folder / "train")
    learnable_bundle(folder / "test", seed=1)
    graph_bundle(folder / "graphs", GRAPHS)
    return str(folder / "train"), folder / "graphs"


class Stop(Exception):
    """A run is stopped."""


def stopping_at(step: int, steps: int = STEPS) -> Any:
    """A report that stops a run of so many steps after one of them."""

    def report(done: int, total: int) -> None:
        assert total == steps
        if done == step:
            raise Stop

    return report


def trained_run(folder: Path, config: Sparse = QUICK) -> Path:
    """A run on bundles of its own."""
    data, graphs = bundles(folder)
    train_networks(config, data, graphs, folder / "run", running=RUNNING)
    return folder / "run"
