"""An audit: derive some shards of a bundle anew and compare digests, without a full build."""

import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from artifacts.bundle import read_manifest
from artifacts.errors import BuildError
from artifacts.shards import write_shard
from builders.recipe import from_record
from builders.recipes import RECIPES
from builders.run import Report, identify
from builders.sources.catalogue import open_source


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an audit found: whether every shard came out the same, and a line for each."""

    same: bool
    lines: tuple[str, ...]


def rebuild(
    folder: Path,
    source: str,
    *,
    outside: Mapping[str, Path],
    shards: int,
    seed: int | None = None,
    report: Report | None = None,
) -> Outcome:
    """Derive shards, chosen at random, from the source and hold their digests against the manifest.

    Args:
        folder: the bundle; nothing in it is changed.
        source: the raw dataset as KIND:PATH.
        outside: paths of further files that the recipe reads, by field.
        shards: how many to derive; all where there are not so many.
        seed: of the choice.
        report: called when shards are finished.

    Raises:
        BuildError: source or further files are not those that the bundle was built from.
    """
    manifest = read_manifest(folder)
    identity = manifest.identity
    recipe = from_record(RECIPES, identity.recipe, outside)
    opened = open_source(source, split=recipe.split)
    recipe = recipe.resolve(opened)
    ours = identify(recipe, opened)
    for part in ("source", "inputs"):
        if getattr(ours, part) != getattr(identity, part):
            raise BuildError(f"not what the bundle was built from; {ours.difference(identity)}")
    chosen = random.Random(seed).sample(manifest.shards, min(shards, len(manifest.shards)))
    tasks = {task.name: task for task in recipe.plan(opened)}
    lines, same = [], True
    for done, shard in enumerate(chosen, start=1):
        with open(os.devnull, "wb") as nowhere:
            samples = (run for run, _ in recipe.samples(opened, tasks[shard.name]) if run.keys)
            derived, _ = write_shard(nowhere, shard.name, samples)
        same &= derived == shard
        lines.append(f"{shard.name}: {'the same' if derived == shard else 'DIFFERENT'}")
        if report is not None:
            report(done, len(chosen))
    if not same and ours.versions != identity.versions:
        lines.append(f"library versions differ; {ours.difference(identity)}")
    return Outcome(same, tuple(lines))
