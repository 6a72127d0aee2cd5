"""Training of a network for each graph, initialisation and seed, or of each pruning step by step.

First weights are drawn for each network by itself, and the order of the images hangs on the seed
alone. So a network that is trained in another group, or alone, is the same but for rounding. What
is pruned begins with the file of the step before it, so a step can be trained again from what is
on disk.
"""

from pathlib import Path

from quire.artifacts.address import Location
from quire.train.engine.mixture import Data, located, own, with_others
from quire.train.engine.options import Report, Running, best_device
from quire.train.sparse.graph_bundle import described
from quire.train.sparse.group_training import Training, batches_of, train_groups
from quire.train.sparse.groups import Group
from quire.train.sparse.pruning_run import Plan, Prune, read_plan
from quire.train.sparse.run import Graphs, Sparse, groups_of, read_graphs
from quire.train.sparse.storage import Stored, group_path


def train_networks(
    config: Sparse | Prune,
    data: Data,
    graphs: str | Path,
    out: Path,
    *,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Args:
        data: the bundle of images to train on, a folder or an address; or several and their shares.
        graphs: the bundle of graphs, which `quire build graphs` made for such images, or that of
            prunings, which `quire build pruned` made.
        out: the run's folder (see `quire.train.engine.runs`).
        running: there is nothing to compile here.
        report: called with the steps of the optimizer that are done, and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on; the networks are
            not for them; or a loss is NaN or infinite, with the network, the step and the batch.
        BundleError: a bundle is damaged.
    """
    data, graphs = located(data), Location(graphs)
    how = running or Running()
    known: Graphs | Plan
    if isinstance(config, Prune):
        known = read_plan(config, graphs)
        groups = known.groups()
    else:
        known = read_graphs(config, graphs)
        groups = groups_of(config, known)
    batches = batches_of(config, data, config.seed, how)
    run = described(config, own(data), batches, known.name, known.origin)
    run = with_others(run, data)

    def begun(group: Group) -> Training:
        last = groups[group.index - 1] if group.index else None
        before = Stored(group_path(out, last.name), last.members) if last else None
        networks = known.networks(group, before).to(best_device(how.device))
        order = batches_of(config, data, group.seed, how)
        return Training.new(config, group, networks, order, kept=known.kept(group))

    return train_groups(run, groups, begun, out, how, report)
