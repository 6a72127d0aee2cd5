"""What a command of `quire train` says when it is done."""

from pathlib import Path
from string import Formatter

from quire.train.engine.metrics import read_metrics


def training_summary(run: Path, *, new: bool, of_epoch: str) -> str:
    """Whether a run was trained now, its steps, and the metrics of its last epoch.

    Args:
        run: its folder.
        new: False when it was finished before.
        of_epoch: a format of the metrics that are written at the end of an epoch.
    """
    names = {name for _, name, _, _ in Formatter().parse(of_epoch) if name}
    lines = [line for line in read_metrics(run) if names <= line.keys()]
    done = f"{run}: {'trained' if new else 'was trained before'}; "
    if not lines:
        return f"{done}no metrics"
    return f"{done}{lines[-1]['step']:,} steps, {of_epoch.format(**lines[-1])}"
