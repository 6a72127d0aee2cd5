"""What it saves to train sparse networks jointly, not one after another.

    python -m benchmarks.sparse --out sparse.json

Networks of the paper's grid of graphs, as many in a group as `quire train sparse` has. Each
contender takes a step with every network of the group on the same batch, in rounds; rates are in
steps of one network, so the ratio is that of the times. On a GPU every round is waited for. With
`--data` and `--graphs` the images and the graphs are those of bundles.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro

from benchmarks.timing import Contender, Run, Table, measure, write_report
from quire.builders.engine.run import build
from quire.builders.recipes.graphs import Graphs
from quire.builders.sources.source import Nothing
from quire.train.engine.options import Running, best_device
from quire.train.sparse.group_training import Training, batches_of
from quire.train.sparse.groups import Group
from quire.train.sparse.run import Graphs as Read
from quire.train.sparse.run import Sparse, group_of, groups_of, read_graphs
from tests.bundles import image_bundle, random_images

TOGETHER, ALONE = "jointly", "one after another"
_MNIST = 60_000  # images of an epoch


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train networks jointly and one after another in turn, and print the ratio."""

    out: Path | None = None
    """Also write all that was measured as JSON."""
    data: str | None = None
    """A bundle of images; default: random ones of MNIST's shape."""
    graphs: Path | None = None
    """A bundle of graphs for such images; default: the first of the paper's grid."""
    networks: tuple[int, ...] = (60,)
    """Networks of a group; a table for each."""
    batch_size: int = 64
    """Images in a step."""
    device: str | None = None
    """Where to compute; default: a GPU where there is one."""
    rounds: int = 6
    """Steps of every network; the first is kept apart."""


def trainings(
    options: Options, networks: int, data: str, graphs: Path
) -> dict[str, list[Training]]:
    """The same networks as one group, and as groups of one."""
    config = Sparse(epochs=10_000, batch_size=options.batch_size, together=networks)
    read = read_graphs(config, graphs)
    members = [member for group in groups_of(config, read) for member in group.members][:networks]
    if len(members) < networks:
        raise SystemExit(f"{graphs} has graphs for {len(members)} networks, not for {networks}")
    alone = [group_of(config, index, [member]) for index, member in enumerate(members)]
    return {
        TOGETHER: [training(options, config, group_of(config, 0, members), read, data)],
        ALONE: [training(options, config, group, read, data) for group in alone],
    }


def training(options: Options, config: Sparse, group: Group, graphs: Read, data: str) -> Training:
    """A group at its first step."""
    batches = batches_of(config, data, config.seed, Running(device=options.device))
    networks = graphs.networks(group).to(best_device(options.device))
    return Training.new(config, group, networks, batches)


def steps(made: Sequence[Training], device: torch.device) -> Callable[[], Run]:
    """A contender that takes a step with every network whenever it is run."""

    def start() -> Run:
        streams = [(one, one.left()) for one in made]

        def run() -> int:
            for one, batches in streams:
                one.update(next(batches))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            return sum(len(one.networks) for one in made)

        return run

    return start


def bundles(options: Options, folder: Path) -> tuple[str, Path]:
    """The bundles that were given, or small ones in their place."""
    data, graphs = options.data, options.graphs
    if data is None:
        images, labels = random_images(8 * options.batch_size, (28, 28, 1))
        image_bundle(folder / "images", images, labels, samples_per_shard=len(images))
        data = str(folder / "images")
    if graphs is None:
        wanted = int(np.ceil(max(options.networks) / len(Sparse().initialisations)))
        build(Graphs(graphs=wanted), Nothing(), folder / "graphs")
        graphs = folder / "graphs"
    return data, graphs


def main(options: Options) -> None:
    """Measure and print."""
    tables, device = [], best_device(options.device)
    with tempfile.TemporaryDirectory() as place:
        data, graphs = bundles(options, Path(place))
        for networks in options.networks:
            made = trainings(options, networks, data, graphs)
            contenders = [Contender(name, steps(some, device)) for name, some in made.items()]
            title = f"{networks} sparse networks, batch of {options.batch_size}, steps of one/s"
            table = Table(title, measure(contenders, rounds=options.rounds), [ALONE])
            print(table)
            for timing in table.timings:
                step = networks / median(timing.steady)
                epoch = step * _MNIST / options.batch_size
                print(f"{timing.name}: {1e3 * step:.1f} ms a step of all, {epoch:.0f} s an epoch")
            tables.append(table)
    if options.out:
        write_report(options.out, tables)


if __name__ == "__main__":
    main(tyro.cli(Options))
