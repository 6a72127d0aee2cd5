"""An audit: derive some shards of a bundle anew and compare digests, without a full build.

Whole-dataset tables follow from all shards: they are derived too where all shards are.
"""

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quire.artifacts.bundle import read_manifest
from quire.artifacts.digest import sha256
from quire.builders.derivation import Derivation, derivation
from quire.builders.engine import folder as building
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.run import Report, derive


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit found: whether everything came out the same, and a line for each file."""

    same: bool
    lines: tuple[str, ...]


def rebuild(
    bundle: str | os.PathLike[str],
    source: str | None,
    *,
    outside: Mapping[str, Any],
    shards: int,
    seed: int | None = None,
    report: Report | None = None,
) -> Outcome:
    """Derive shards, chosen at random, from the source and hold their digests against the manifest.

    Args:
        bundle: a folder, in which nothing is changed, or an address.
        source: the raw dataset as KIND:PATH; None where the recipe reads none.
        outside: paths of further files that the recipe reads, by field.
        shards: how many to derive; all where there are not so many, and then the tables as well.
        seed: of the choice.
        report: called when shards are finished.

    Raises:
        BuildError: source or further files are not those that the bundle was built from.
    """
    derived = derivation(read_manifest(bundle), source, outside)
    tasks, whole = _chosen(derived, shards, seed)
    with TemporaryDirectory() as scratch:
        same = dict(_compared(derived, tasks, Path(scratch), report))
        if whole:
            same |= _tables(derived, [task.name for task in tasks], Path(scratch))
    lines = [f"{name}: {'the same' if is_same else 'DIFFERENT'}" for name, is_same in same.items()]
    if not all(same.values()):
        lines.append(derived.why())
    return Outcome(all(same.values()), tuple(lines))


def _chosen(derived: Derivation, count: int, seed: int | None) -> tuple[Sequence[ShardTask], bool]:
    """The shards to derive, and whether these are all, those without samples included."""
    shards = derived.manifest.shards
    if count >= len(shards):
        return derived.tasks, True
    tasks = {task.name: task for task in derived.tasks}
    chosen = random.Random(seed).sample(shards, count)
    return [tasks[shard.name] for shard in chosen], False


def _compared(
    derived: Derivation,
    tasks: Sequence[ShardTask],
    scratch: Path,
    report: Report | None,
) -> Iterator[tuple[str, bool]]:
    """Each shard with samples, and whether it came out the same; its part is kept in `scratch`."""
    known = {shard.name: shard for shard in derived.manifest.shards}
    building.partials(scratch).mkdir()
    for done, task in enumerate(tasks, start=1):
        with open(os.devnull, "wb") as nowhere:
            finished, part = derive(derived.recipe, derived.source, task, nowhere, skip_bad=True)
        building.record(scratch, finished, part)
        if finished.shard.samples or task.name in known:  # else it is no file of the bundle
            yield task.name, finished.shard == known.get(task.name)
        if report is not None:
            report(done, len(tasks))


def _tables(derived: Derivation, names: Sequence[str], scratch: Path) -> Iterator[tuple[str, bool]]:
    """Each whole-dataset table, and whether it came out the same."""
    found = building.records_of(scratch, names)
    for name, write in derived.recipe.tables().items():
        building.write_table(scratch / name, write, found)
        known = derived.manifest.files.get(name)
        yield name, known is not None and known.sha256 == sha256(scratch / name)
