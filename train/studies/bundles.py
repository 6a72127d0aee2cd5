"""The bundles that studies read: built where they are not there, and shared by all studies."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quire.artifacts.errors import RunError
from quire.artifacts.manifest import NO_SOURCE
from quire.builders.engine.recipe import to_record
from quire.builders.engine.run import build
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.train.engine.runs import digest
from quire.train.studies.study import Place, Scale

DIGITS = "digits:"  # embedded: what `smoke` reads in place of any dataset


@dataclass(frozen=True, kw_only=True)
class Bundled:
    """A bundle that a study reads: a recipe over a dataset.

    The dataset is the name by which the user gives a source, `cifar10`; or, with a colon, a source
    that needs none: `digits:`. A recipe that reads nothing has no dataset.
    """

    dataset: str | None = None
    recipe: Any


def clean(dataset: str, split: str) -> Bundled:
    """The images of a split as they are."""
    return Bundled(dataset=dataset, recipe=Corrupted(split=split, corruptions=()))


def missing(bundles: Iterable[Bundled], sources: Mapping[str, str]) -> set[str]:
    """The datasets that are read and are not at hand."""
    read = {bundle.dataset for bundle in bundles if bundle.dataset is not None}
    return {dataset for dataset in read if ":" not in dataset and dataset not in sources}


def not_at_hand(lacking: Iterable[str], reader: str, scale: Scale) -> RunError:
    """The refusal to begin without data; it says how to name it."""
    wanted = " ".join(f"--sources {dataset}:PATH" for dataset in sorted(lacking))
    return RunError(f"{reader} at scale {scale} reads data that is not at hand: {wanted}")


def built(bundled: Bundled, place: Place) -> Path:
    """The folder of a bundle; it is built where it is not there.

    Raises:
        BuildError: the folder holds the bundle of another source.
    """
    name = bundled.dataset
    spec = None if name is None else place.sources.get(name, name)
    recipe, split = to_record(bundled.recipe), bundled.recipe.split
    source = open_source(spec, split=split, reads=bundled.recipe.reads)
    words = re.sub(r"\W+", "-", name or NO_SOURCE).strip("-"), split, digest(recipe)
    folder = place.out / "bundles" / "-".join(words)
    build(bundled.recipe, source, folder, report=place.report)
    return folder
