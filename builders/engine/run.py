"""The engine: a recipe and a source become a bundle. The only place that knows Dask."""

import importlib.metadata
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

import h5py
import numpy as np

from quire.artifacts.errors import BuildError, QuireError, SourceError
from quire.artifacts.manifest import Identity, LeftOut, Manifest
from quire.artifacts.shards import Samples, write_shard
from quire.builders.engine import folder as building
from quire.builders.engine.place import Place, build_place
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.recipe import AnySource, Part, Recipe, Run, to_record
from quire.builders.sources.source import Source

PATIENCE = "10s"  # for a scheduler to answer
_SHARES = 32  # groups of shards that a worker makes, if there are as many; the last one ends them
DEATHS = 2  # workers that may die over one shard before the build stops

Report = Callable[[int, int], None]  # shards finished so far, shards in all
Make = Callable[[ShardTask], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will do, known before anything is written."""

    recipe: Recipe[Any]
    identity: Identity
    tasks: tuple[ShardTask, ...]
    missing: tuple[ShardTask, ...]

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
    recipe = recipe.resolve(source)
    identity = identify(recipe, source)
    tasks = recipe.plan(source)
    if not tasks:
        raise BuildError("there is nothing to build: the source has no samples")
    where.check(identity)
    complete = where.manifest() is not None
    there = set() if complete else where.finished()
    missing = [task for task in tasks if not complete and task.name not in there]
    return Plan(recipe, identity, tasks, tuple(missing))


def identify(recipe: Recipe[Any], source: Source) -> Identity:
    """Everything that decides the bytes of a resolved recipe's bundle."""
    versions = {name: importlib.metadata.version(name) for name in ("numpy", *recipe.libraries)}
    return Identity(
        recipe=to_record(recipe),
        source={
            "kind": source.kind,
            "split": source.split,
            "samples": len(source),
            "class_names": list(source.class_names),
            "sha256": source.fingerprint(),
        },
        inputs=dict(recipe.fingerprints()),
        versions={**versions, "h5py": h5py.version.version, "hdf5": h5py.version.hdf5_version},
    )


def build(
    recipe: Recipe[AnySource],
    source: AnySource,
    folder: str | os.PathLike[str],
    *,
    workers: int = 0,
    scheduler: str | None = None,
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
        scheduler: address of a running Dask scheduler to use instead.
        skip_bad: leave out samples that cannot be read, with the reasons in the manifest.
        report: called when shards are finished.

    Raises:
        RecipeError: the recipe cannot be built from this source.
        SourceError: a sample cannot be read and `skip_bad` is off.
        BuildError: the folder belongs to another build, or workers keep dying.
    """
    place = build_place(folder)
    planned = plan(recipe, source, place)
    with place.claim(planned.identity):
        manifest = place.manifest()
        if manifest is None:
            make = partial(_make, planned.recipe, source, place, skip_bad)
            make_all(make, planned.tasks, planned.missing, workers, scheduler, report)
            names = [task.name for task in planned.tasks]
            tables = planned.recipe.tables()
            manifest = place.bind(planned.identity, names, tables, skip_bad=skip_bad)
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
    blocks = _readable(recipe.samples(source, task), left_out, pieces, skip_bad)
    shard, rows, digests = write_shard(file, task.name, blocks)
    names = dict.fromkeys(name for piece in pieces for name in piece)
    part = {name: np.concatenate([p[name] for p in pieces if name in p]) for name in names}
    return building.Finished(shard, rows, digests, tuple(left_out)), part


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
    workers: int,
    scheduler: str | None,
    report: Report | None,
) -> None:
    """Make those of some shards that are missing, here or by Dask; see `build`.

    `make` travels to the workers. An error of ours that it raises stops the others.
    """
    done, total, told = len(tasks) - len(missing), len(tasks), report or (lambda done, total: None)
    told(done, total)
    if not missing:
        return
    if workers == 0 and scheduler is None:
        for task in missing:
            make(task)
            done += 1
            told(done, total)
        return
    with _client(min(workers, len(missing)), scheduler) as client:
        for count in _completed(client, make, missing):
            done += count
            told(done, total)


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    """A Dask client of a running scheduler, or of a cluster of processes on this machine."""
    import dask
    import distributed

    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise BuildError(f"no Dask scheduler answers at {scheduler} ({error})") from error
        with client:
            yield client
        return
    environment = "distributed.nanny.pre-spawn-environ"
    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        # Dask has malloc give freed memory back at once; taking it again for every block of images
        # would cost as much as the work on it.
        f"{environment}.MALLOC_TRIM_THRESHOLD_": 1 << 28,
        f"{environment}.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    }
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _completed(client: Any, make: Make, tasks: Sequence[ShardTask]) -> Iterator[int]:
    """Make shards by Dask, and tell how many when some are finished.

    Many small ones are made together: each of Dask's tasks costs milliseconds, and the scheduler
    keeps all of them in memory.
    """
    import distributed

    shared = groups(tasks, len(client.scheduler_info()["workers"]))
    futures = client.map(partial(_attempt, make), shared, pure=False)
    of_future = {future.key: group for future, group in zip(futures, shared, strict=True)}
    try:
        for future in distributed.as_completed(futures, loop=client.loop):
            if error := future.result():
                raise error
            yield len(of_future[future.key])
    except distributed.KilledWorker as error:
        names = [task.name for task in of_future[error.task]]
        over = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        raise BuildError(f"workers keep dying over {over}") from error
    finally:
        client.cancel(futures)


def groups(tasks: Sequence[ShardTask], workers: int) -> list[Sequence[ShardTask]]:
    """Shards that are made together, each group by one worker."""
    size = max(1, len(tasks) // (_SHARES * max(1, workers)))
    return [tasks[start : start + size] for start in range(0, len(tasks), size)]


def _attempt(make: Make, tasks: Sequence[ShardTask]) -> Exception | None:
    """Make some shards; an expected error is returned, since Dask would log one that is raised."""
    try:
        for task in tasks:
            make(task)
    except (QuireError, OSError) as error:
        return error
    return None
