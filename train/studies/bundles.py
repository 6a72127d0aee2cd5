"""The bundles that studies read: given, or built where they are not there, and shared by all."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from quire.artifacts.address import Location
from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import RunError
from quire.artifacts.manifest import NO_SOURCE, Identity
from quire.builders.engine.recipe import to_record
from quire.builders.engine.run import build
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.kinds import SOURCES
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


@dataclass(frozen=True, slots=True)
class Ready:
    """A bundle that is there: what it is called among a study's, and where it lies."""

    name: str
    place: Location


def missing(bundles: Iterable[Bundled], place: Place) -> set[str]:
    """The datasets that are read and are not at hand."""
    return {
        bundle.dataset
        for bundle in bundles
        if bundle.dataset is not None
        and ":" not in bundle.dataset
        and bundle.dataset not in place.sources
        and _given(bundle, place) is None
    }


def not_at_hand(lacking: Iterable[str], reader: str, scale: Scale) -> RunError:
    """The refusal to begin without data; it says how to name it."""
    wanted = " ".join(
        f"--sources {name if name in SOURCES else f'{name}=KIND'}:PATH" for name in sorted(lacking)
    )
    return RunError(f"{reader} at scale {scale} reads data that is not at hand: {wanted}")


def built(bundled: Bundled, place: Place) -> Ready:
    """A bundle, as it was given; or else it is built where it is not there.

    Raises:
        BuildError: the folder holds the bundle of another source.
        BundleError: a bundle that was given cannot be read.
    """
    recipe, split = to_record(bundled.recipe), bundled.recipe.split
    words = re.sub(r"\W+", "-", bundled.dataset or NO_SOURCE).strip("-"), split, digest(recipe)
    name = "-".join(words)
    if (given := _given(bundled, place)) is not None:
        return Ready(name, given)
    spec = None if bundled.dataset is None else place.sources.get(bundled.dataset, bundled.dataset)
    source = open_source(spec, split=split, reads=bundled.recipe.reads)
    folder = place.out / "bundles" / name
    build(bundled.recipe, source, folder, report=place.report)
    return Ready(name, Location(folder))


def _given(bundled: Bundled, place: Place) -> Location | None:
    """Which of the bundles that were given a study would build: one of its dataset and recipe.

    What the recipe leaves to the source, and what it does not say, may be anything.
    """
    wanted, read = to_record(bundled.recipe).items(), (bundled.dataset or NO_SOURCE).split(":")[0]
    for given in place.given:
        dataset, identity = given.dataset, _identity(given.place)
        if (dataset or identity.source.get("kind")) != read:
            continue
        if all(value in (None, identity.recipe.get(field)) for field, value in wanted):
            inputs = bundled.recipe.fingerprints()
            if all(identity.inputs.get(name) == value for name, value in inputs.items()):
                return given.place
    return None


@cache
def _identity(place: Location) -> Identity:
    return read_manifest(place).identity
