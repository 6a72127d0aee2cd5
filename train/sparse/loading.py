"""Runs of sparse networks, whatever method trained them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from quire.artifacts.errors import RunError
from quire.train.engine.runs import Run, read_run
from quire.train.sparse.groups import Member
from quire.train.sparse.pruning_run import Prune, step_of
from quire.train.sparse.run import Sparse
from quire.train.sparse.storage import Stored, stored_groups


@dataclass(frozen=True, slots=True)
class Kind:
    """What tells the networks of a method apart in an overview."""

    name: str
    of: Callable[[Member], str]


KINDS: Mapping[str, Kind] = {
    Sparse.method: Kind("initialisation", attrgetter("initialisation")),
    Prune.method: Kind("step", lambda member: str(step_of(member))),
}


def trained(folder: Path) -> tuple[Run, list[Stored]]:
    """The record of a finished run of sparse networks, and its groups in order.

    Raises:
        RunError: there is none, it is of another method, not finished, or lacks networks.
    """
    run = read_run(folder)
    if run.method not in KINDS:
        raise RunError(f"{folder} is a run of {run.method}, not of {' or '.join(KINDS)}")
    return run, stored_groups(folder)
