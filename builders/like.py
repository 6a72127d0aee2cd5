"""A bundle from its manifest and the source: what is a gigabyte travels as kilobytes.

Every shard that is made here is held against the digest in the manifest, so what comes out is the
bundle, or it is said where it is not.
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from quire.artifacts.digest import whole_file
from quire.artifacts.errors import BuildError
from quire.artifacts.manifest import CARD, INDEX, Manifest
from quire.artifacts.shards import Shard
from quire.builders.derivation import Derivation, derivation
from quire.builders.engine.folder import Finished
from quire.builders.engine.place import Place, build_place
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.pool import Pool, Scheduler
from quire.builders.engine.recipe import Part, Recipe
from quire.builders.engine.run import Report, derive, make_all
from quire.builders.sources.source import Source

_OTHERWISE = "{name} comes out otherwise than the manifest has it; {why}"
_FREE = frozenset((INDEX, CARD))  # whose form may be of another version of Quire


@dataclass(frozen=True, slots=True)
class Likeness:
    """A bundle that was built after a manifest."""

    manifest: Manifest
    differing: tuple[str, ...]
    """Files about the samples that another version of Quire writes otherwise: none as a rule."""


def build_like(
    manifest: Manifest,
    folder: str | os.PathLike[str],
    source: str | None,
    *,
    outside: Mapping[str, Any],
    workers: int = 0,
    scheduler: Scheduler | None = None,
    report: Report | None = None,
) -> Likeness:
    """Build the bundle of a manifest, or go on with one that was stopped.

    Args:
        manifest: all that is known of it.
        folder: where; or an address, see `quire.builders.engine.run.build`.
        source: the raw dataset as KIND:PATH; None where the recipe reads none.
        outside: paths of further files that the recipe reads, by field.
        workers: local processes; 0 builds in this process.
        scheduler: a Dask cluster that runs, or the address of its scheduler, to use instead.
        report: called when shards are finished.

    Raises:
        BuildError: the source is another, the folder belongs to another build, or a shard or table
            comes out otherwise: then there is no bundle.
    """
    place = build_place(folder)
    derived = derivation(manifest, source, outside, lazily=True)
    with place.claim(manifest.identity), Pool(workers, scheduler) as pool:
        made = place.manifest()
        if made is None:
            there = place.finished()
            missing = [task for task in derived.tasks if task.name not in there]
            shards = _known(manifest)
            make = partial(_make, derived.recipe, derived.source, shards, place)
            try:
                make_all(make, derived.tasks, missing, pool, report)
            except _Otherwise as error:
                derived.check_source()
                raise BuildError(_OTHERWISE.format(name=error, why=derived.why())) from None
            made = place.bind(
                lambda found: manifest.identity,
                [task.name for task in derived.tasks],
                derived.recipe.tables(),
                skip_bad=True,  # what is left out, too, has to be what the manifest says
                check=partial(_check, derived),
            )
        else:
            _check(derived, made)
        place.clear()
    return Likeness(made, tuple(sorted(_differing(manifest, made))))


def shards_like(
    manifest: Manifest,
    folder: Path,
    names: Collection[str],
    source: str | None,
    *,
    partials: Path,
    outside: Mapping[str, Any],
    workers: int = 0,
    scheduler: Scheduler | None = None,
    report: Report | None = None,
) -> None:
    """Make some shards of a manifest in a folder; one that comes out otherwise is left out.

    Args:
        manifest: the bundle's.
        folder: where they go, each when it is complete and right.
        names: of the shards.
        source: see `build_like`, as is all else.
        partials: where they lie until then.
        outside: see `build_like`.
        workers: see `build_like`.
        scheduler: see `build_like`.
        report: see `build_like`.

    Raises:
        BuildError: the source is another.
    """
    derived = derivation(manifest, source, outside)
    tasks = [task for task in derived.tasks if task.name in names]
    shards = _known(manifest)
    make = partial(_make_if_alike, derived.recipe, derived.source, shards, folder, partials)
    with Pool(workers, scheduler) as pool:
        make_all(make, tasks, tasks, pool, report)


def _known(manifest: Manifest) -> Mapping[str, Shard]:
    return {shard.name: shard for shard in manifest.shards}


def _make(
    recipe: Recipe[Any],
    source: Source,
    known: Mapping[str, Shard],
    place: Place,
    task: ShardTask,
) -> None:
    """Make one shard of a build, wherever this runs.

    Raises:
        _Otherwise: see `_derived`.
    """
    with place.shard(task.name) as file:
        finished, part = _derived(recipe, source, known, file, task)
    place.record(finished, part)


def _make_if_alike(
    recipe: Recipe[Any],
    source: Source,
    known: Mapping[str, Shard],
    folder: Path,
    partials: Path,
    task: ShardTask,
) -> None:
    """Make one shard, wherever this runs, if it comes out as it should."""
    with suppress(_Otherwise), whole_file(folder / task.name, partials=partials) as file:
        _derived(recipe, source, known, file, task)


class _Otherwise(BuildError):
    """A shard, which it names, comes out otherwise than it should."""


def _derived(
    recipe: Recipe[Any],
    source: Source,
    known: Mapping[str, Shard],
    file: IO[bytes],
    task: ShardTask,
) -> tuple[Finished, Part]:
    """Write one shard to a file, and give what is known of it.

    One without samples is no file of the bundle.

    Raises:
        _Otherwise: it is not the manifest's.
    """
    finished, part = derive(recipe, source, task, file, skip_bad=True)
    expected = known.get(task.name)
    if finished.shard != expected and (expected is not None or finished.shard.samples):
        raise _Otherwise(task.name)
    return finished, part


def _check(derived: Derivation, made: Manifest) -> None:
    """Refuse what is not the bundle of the manifest.

    Raises:
        BuildError: it names a file.
    """
    theirs = derived.manifest
    if wrong := _differing(theirs, made) - _FREE:
        raise BuildError(_OTHERWISE.format(name=min(wrong), why=derived.why()))
    if made.left_out != theirs.left_out:
        raise BuildError(f"other samples are left out than in the manifest; {derived.why()}")


def _differing(theirs: Manifest, made: Manifest) -> set[str]:
    files, others = theirs.files, made.files
    return {name for name in {*files, *others} if files.get(name) != others.get(name)}
