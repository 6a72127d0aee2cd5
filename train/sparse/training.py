"""Training of a network for each graph, initialisation and seed.

First weights are drawn for each network by itself, and the order of the images hangs on the seed
alone. So a network that is trained in another group, or alone, is the same but for rounding.
"""

from pathlib import Path

from quire.train.engine.options import Report, Running, best_device
from quire.train.sparse.graph_bundle import described
from quire.train.sparse.group_training import Training, batches_of, train_groups
from quire.train.sparse.groups import Group
from quire.train.sparse.run import Sparse, groups_of, read_graphs


def train_sparse(
    config: Sparse,
    data: str,
    graphs: Path,
    out: Path,
    *,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Args:
        data: the bundle of images to train on: a folder, or an address.
        graphs: the bundle of graphs, which `quire build graphs` made for such images.
        out: the run's folder (see `quire.train.engine.runs`).
        running: there is nothing to compile here.
        report: called with the steps done and their number, of all groups.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on; the graphs are
            not for them; or a loss is NaN or infinite, with the network, the step and the batch.
        BundleError: a bundle is damaged.
    """
    how = running or Running()
    read, batches = read_graphs(config, graphs), batches_of(config, data, config.seed, how)
    run = described(config, data, batches, "graphs", read.origin)

    def begun(group: Group) -> Training:
        networks = read.networks(group).to(best_device(how.device))
        return Training.new(config, group, networks, batches_of(config, data, group.seed, how))

    return train_groups(run, groups_of(config, read), begun, out, how, report)
