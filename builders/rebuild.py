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
from quire.artifacts.errors import BuildError
from quire.artifacts.manifest import Identity, Manifest
from quire.builders.engine import folder as building
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.recipe import Recipe, from_record
from quire.builders.engine.run import Report, derive, identify
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import Source


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
    manifest = read_manifest(bundle)
    recipe = from_record(RECIPES, manifest.identity.recipe, outside)
    opened = open_source(source, split=recipe.split, reads=recipe.reads)
    recipe = recipe.resolve(opened)
    ours = _identified(recipe, opened, manifest.identity)
    tasks, whole = _chosen(recipe.plan(opened), manifest, shards, seed)
    with TemporaryDirectory() as scratch:
        compared = _compared(recipe, opened, tasks, manifest, Path(scratch), report)
        same = dict(compared)
        if whole:
            same |= _tables(recipe, [task.name for task in tasks], manifest, Path(scratch))
    lines = [f"{name}: {'the same' if is_same else 'DIFFERENT'}" for name, is_same in same.items()]
    if not all(same.values()):
        lines.append(_why(ours.versions, manifest.identity.versions))
    return Outcome(all(same.values()), tuple(lines))


def _why(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """What a difference may come from: other versions of libraries, or damage.

    Processors are no explanation: see `quire.builders.engine.recipe`.
    """
    others = [
        f"{name} {ours.get(name, 'none')} here, {theirs.get(name, 'none')} there"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]
    if others:
        return f"this may be honest, for library versions differ: {'; '.join(others)}"
    return "library versions are the same, so this is not what recipe and source make"


def _identified(recipe: Recipe[Any], source: Source, theirs: Identity) -> Identity:
    """The identity of a build here and now; source and further files must be the bundle's."""
    ours = identify(recipe, source)
    for part in ("source", "inputs"):
        if getattr(ours, part) != getattr(theirs, part):
            raise BuildError(f"not what the bundle was built from; {ours.difference(theirs)}")
    return ours


def _chosen(
    planned: Sequence[ShardTask], manifest: Manifest, count: int, seed: int | None
) -> tuple[Sequence[ShardTask], bool]:
    """The shards to derive, and whether these are all, those without samples included."""
    tasks = {task.name: task for task in planned}
    if foreign := {shard.name for shard in manifest.shards} - tasks.keys():
        raise BuildError(f"the bundle has a shard {min(foreign)!r}, which its recipe does not make")
    if count >= len(manifest.shards):
        return planned, True
    chosen = random.Random(seed).sample(manifest.shards, count)
    return [tasks[shard.name] for shard in chosen], False


def _compared(
    recipe: Recipe[Any],
    source: Source,
    tasks: Sequence[ShardTask],
    manifest: Manifest,
    scratch: Path,
    report: Report | None,
) -> Iterator[tuple[str, bool]]:
    """Each shard with samples, and whether it came out the same; its part is kept in `scratch`."""
    known = {shard.name: shard for shard in manifest.shards}
    building.partials(scratch).mkdir()
    for done, task in enumerate(tasks, start=1):
        with open(os.devnull, "wb") as nowhere:
            finished, part = derive(recipe, source, task, nowhere, skip_bad=True)
        building.record(scratch, finished, part)
        if finished.shard.samples or task.name in known:  # else it is no file of the bundle
            yield task.name, finished.shard == known.get(task.name)
        if report is not None:
            report(done, len(tasks))


def _tables(
    recipe: Recipe[Any], names: Sequence[str], manifest: Manifest, scratch: Path
) -> Iterator[tuple[str, bool]]:
    """Each whole-dataset table, and whether it came out the same."""
    found = building.records_of(scratch, names)
    for name, write in recipe.tables().items():
        building.write_table(scratch / name, write, found)
        known = manifest.files.get(name)
        yield name, known is not None and known.sha256 == sha256(scratch / name)
