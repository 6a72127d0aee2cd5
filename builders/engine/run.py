"""The engine: a recipe and a source become a bundle."""

import dataclasses
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any, cast

import h5py
import numpy as np

from quire.artifacts.errors import BuildError, SourceError
from quire.artifacts.manifest import Identity, LeftOut, Manifest
from quire.artifacts.shards import Samples, write_shard
from quire.builders.engine import folder as building
from quire.builders.engine.place import Place, build_place
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.pool import Pool, Scheduler
from quire.builders.engine.recipe import AnySource, Part, Recipe, Run, to_record
from quire.builders.engine.records import Record
from quire.builders.sources import layout
from quire.builders.sources.source import Source, of_files
from quire.builders.sources.tree import UNREAD

Report = Callable[[int, int], None]  # shards finished so far, shards in all
Make = Callable[[ShardTask], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will do, known before anything is written."""

    recipe: Recipe[Any]
    identity: Identity
    tasks: tuple[ShardTask, ...]
    missing: tuple[ShardTask, ...]
    read: Mapping[str, str] = field(default_factory=dict)
    """Digests of the source's files that were read for it, by name."""

    @property
    def bytes(self) -> int | None:
        """The size of all shards where every sample is there; None when that is open."""
        sizes = [task.bytes for task in self.tasks]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def describe(self) -> str:
        """The plan in a few lines."""
        size = (
            "of a size that depends on the samples"
            if self.bytes is None
            else f"{self.bytes:,} bytes"
        )
        recipe, source = self.identity.recipe, self.identity.source
        lines = [f"{field}: {value}" for field, value in recipe.items()]
        read = f"{source['samples']:,} samples of {source['kind']}" if source["samples"] else "none"
        lines += [
            f"source: {read}",
            f"parts: {', '.join(dict.fromkeys(task.part for task in self.tasks))}",
            f"samples: {sum(task.stop - task.start for task in self.tasks):,}",
            f"shards: {len(self.tasks):,}, {size}",
            f"already there: {len(self.tasks) - len(self.missing):,} shards",
        ]
        return "\n".join(lines)


def plan(
    recipe: Recipe[AnySource], source: AnySource, place: str | os.PathLike[str] | Place
) -> Plan:
    """Lay out a build in a folder or at an address, and see what of it is already there.

    Raises:
        RecipeError: the recipe cannot be built from this source.
        BuildError: the place belongs to another build.
    """
    where = build_place(place) if isinstance(place, str | os.PathLike) else place
    read: dict[str, str] = {}
    seen = _noting(source, read)
    recipe = recipe.resolve(seen)
    complete = where.manifest() is not None
    identity = identify(recipe, source) if complete else _begun(recipe, source)
    tasks = recipe.plan(seen)
    if not tasks:
        raise BuildError("there is nothing to build: the source has no samples")
    where.check(identity)
    there = set() if complete else where.finished()
    missing = [task for task in tasks if not complete and task.name not in there]
    return Plan(recipe, identity, tasks, tuple(missing), read)


def identify(recipe: Recipe[Any], source: Source, *, sha256: str | None = None) -> Identity:
    """Everything that decides the bytes of a resolved recipe's bundle.

    `sha256` is the fingerprint of a source of many files, where it is known or taken for granted.
    """
    if sha256 is None or of_files(source) is None:
        sha256 = source.fingerprint()
    return _identity(recipe, source, {"sha256": sha256})


def _begun(recipe: Recipe[Any], source: Source) -> Identity:
    """The identity of a bundle that is not complete: many files are known by name and length."""
    files = of_files(source)
    if files is None:
        return identify(recipe, source)
    sizes = zip(files.file_names, files.sizes(), strict=True)
    listing = {name: UNREAD if size is None else str(size) for name, size in sizes}
    return _identity(recipe, source, {building.LISTING: files.fingerprint(listing)})


def _identity(recipe: Recipe[Any], source: Source, digest: Mapping[str, str]) -> Identity:
    versions = {name: importlib.metadata.version(name) for name in ("numpy", *recipe.libraries)}
    return Identity(
        recipe=to_record(recipe),
        source={
            "kind": source.kind,
            "split": source.split,
            "samples": len(source),
            "class_names": list(source.class_names),
            **digest,
        },
        inputs=dict(recipe.fingerprints()),
        versions={**versions, "h5py": h5py.version.version, "hdf5": h5py.version.hdf5_version},
    )


def _completed(
    begun: Identity, source: Source, read: Mapping[str, str], pool: Pool, found: Iterable[Record]
) -> Identity:
    """The identity of a bundle whose shards are all there, by the digests of what was read.

    `read` is what was read before the shards; what nobody read is read now.

    Raises:
        SourceError: a file was another one when it was read again.
    """
    files = of_files(source)
    if files is None:
        return begun
    known = dict(read)
    for record in found:
        for name, digest in building.files_read(record):
            if known.setdefault(name, digest) != digest:
                raise SourceError(
                    f"{layout.shown(name)} has changed while the bundle was built: its shards are"
                    " not all of the same bytes; build it anew in another place"
                )
    unread = [name for name in files.file_names if name not in known]
    for names, digests in pool.each(files.digest, unread, layout.shown):
        known.update(zip(names, digests, strict=True))
    about = {name: value for name, value in begun.source.items() if name != building.LISTING}
    return dataclasses.replace(begun, source={**about, "sha256": files.fingerprint(known)})


def _noting(source: AnySource, digests: dict[str, str]) -> AnySource:
    """The source, which notes the digests of the files that it reads, if it is one of files."""
    files = of_files(source)
    return source if files is None else cast(AnySource, files.digesting(digests))


def build(
    recipe: Recipe[AnySource],
    source: AnySource,
    folder: str | os.PathLike[str],
    *,
    workers: int = 0,
    scheduler: Scheduler | None = None,
    skip_bad: bool = False,
    report: Report | None = None,
) -> Manifest:
    """Build a bundle, or go on with one that was stopped.

    Args:
        recipe: what to build; none of the other arguments changes a byte of it.
        source: the raw dataset.
        folder: where; on a cluster, a folder that every worker sees under the same name, or an
            address that all can write to, such as s3://bucket/name.
        workers: local processes; 0 builds in this process.
        scheduler: a Dask cluster that runs, or the address of its scheduler, to use instead.
        skip_bad: leave out samples that cannot be read, with the reasons in the manifest.
        report: called when shards are finished.

    Raises:
        RecipeError: the recipe cannot be built from this source.
        SourceError: a sample cannot be read and `skip_bad` is off.
        BuildError: the folder belongs to another build, or workers keep dying.
    """
    place = build_place(folder)
    planned = plan(recipe, source, place)
    with place.claim(planned.identity), Pool(workers, scheduler) as pool:
        manifest = place.manifest()
        if manifest is None:
            make = partial(_make, planned.recipe, source, place, skip_bad)
            make_all(make, planned.tasks, planned.missing, pool, report)
            identity = partial(_completed, planned.identity, source, planned.read, pool)
            names = [task.name for task in planned.tasks]
            tables = planned.recipe.tables()
            manifest = place.bind(identity, names, tables, skip_bad=skip_bad)
        place.clear()
    return manifest


def _make(
    recipe: Recipe[AnySource], source: AnySource, place: Place, skip_bad: bool, task: ShardTask
) -> None:
    """Make one shard, wherever this runs."""
    with place.shard(task.name) as file:
        finished, part = derive(recipe, source, task, file, skip_bad=skip_bad)
    place.record(finished, part)


def derive(
    recipe: Recipe[AnySource],
    source: AnySource,
    task: ShardTask,
    file: IO[bytes],
    *,
    skip_bad: bool,
) -> tuple[building.Finished, Part]:
    """Write one shard of a resolved recipe to a file; also gives its part of the tables.

    Raises:
        SourceError: a sample cannot be read and `skip_bad` is off.
    """
    left_out: list[LeftOut] = []
    pieces: list[Part] = []
    read: dict[str, str] = {}
    runs = recipe.samples(_noting(source, read), task)
    blocks = _readable(runs, left_out, pieces, skip_bad)
    shard, rows, digests = write_shard(file, task.name, blocks)
    names = dict.fromkeys(name for piece in pieces for name in piece)
    part = {name: np.concatenate([p[name] for p in pieces if name in p]) for name in names}
    return building.Finished(shard, rows, digests, tuple(left_out), read), part


def _readable(
    runs: Iterator[Run], left_out: list[LeftOut], pieces: list[Part], skip_bad: bool
) -> Iterator[Samples]:
    """The samples that can be read; the others go to `left_out`, or stop the build."""
    for run in runs:
        if run.bad and not skip_bad:
            bad = run.bad[0]
            raise SourceError(f"{bad.file}: {bad.reason} (skip-bad leaves such samples out)")
        left_out += run.bad
        pieces.append(run.part)
        if run.samples.keys:
            yield run.samples


def make_all(
    make: Make,
    tasks: Sequence[ShardTask],
    missing: Sequence[ShardTask],
    pool: Pool,
    report: Report | None,
) -> None:
    """Make those of some shards that are missing.

    `make` travels to the workers. An error of ours that it raises stops the others.
    """
    done, total, told = len(tasks) - len(missing), len(tasks), report or (lambda done, total: None)
    told(done, total)
    for made, _ in pool.each(make, missing, lambda task: task.name):
        done += len(made)
        told(done, total)
