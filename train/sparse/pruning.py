"""Training of a network that is pruned step by step; all its prunings are trained jointly.

A training begins with the file of the step before it. So a step can be trained again from what is
on disk.
"""

from pathlib import Path

from quire.train.engine.options import Report, Running, best_device
from quire.train.sparse.graph_bundle import described
from quire.train.sparse.group_training import Training, batches_of, train_groups
from quire.train.sparse.groups import Group
from quire.train.sparse.pruning_run import Prune, read_plan
from quire.train.sparse.storage import Stored, group_path


def train_prune(
    config: Prune,
    data: str,
    prunings: Path,
    out: Path,
    *,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Args:
        data: the bundle of images to train on: a folder, or an address.
        prunings: the bundle of prunings, which `quire build pruned` made for such images.
        out: the run's folder (see `quire.train.engine.runs`).
        running: there is nothing to compile here.
        report: called with the steps of the optimizer that are done, and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on; the networks are
            not for them; or a loss is NaN or infinite, with the network, the step and the batch.
        BundleError: a bundle is damaged.
    """
    how = running or Running()
    plan, batches = read_plan(prunings), batches_of(config, data, config.seed, how)
    run, groups = described(config, data, batches, "prunings", plan.origin), plan.groups(config)

    def begun(group: Group) -> Training:
        if group.index:
            before = groups[group.index - 1]
            networks = Stored(group_path(out, before.name), before.members).networks()
        else:
            networks = plan.fresh(group)
        networks = networks.to(best_device(how.device))
        return Training.new(config, group, networks, batches, kept=plan.kept(group))

    return train_groups(run, groups, begun, out, how, report)
