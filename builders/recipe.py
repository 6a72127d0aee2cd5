"""What the engine asks of a recipe, and the record by which a recipe is known.

A recipe is a frozen dataclass of everything that decides the bytes of a build, and nothing else.
A field marked `outside` is a path to further files: it is not part of the record, the fingerprint
of the files is.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from artifacts.errors import RecipeError
from artifacts.manifest import LeftOut
from artifacts.shards import Samples
from builders.plan import ShardTask
from builders.sources.source import ImageSource

OUTSIDE = {"outside": True}  # metadata of a field that is a path


class Recipe(Protocol):
    """How one kind of bundle is made."""

    kind: ClassVar[str]
    libraries: ClassVar[tuple[str, ...]]  # distributions whose version can change a byte

    @property
    def split(self) -> str:
        """The split of the source that is read."""

    def resolve(self, source: ImageSource) -> Self:
        """The same recipe with every default that depends on the source spelled out.

        Raises:
            RecipeError: this source cannot be built in this way.
        """

    def inputs(self) -> Mapping[str, str]:
        """The fingerprints of the files outside the source, by field."""

    def plan(self, source: ImageSource) -> tuple[ShardTask, ...]:
        """The shards of a resolved recipe, in order."""

    def samples(
        self, source: ImageSource, task: ShardTask
    ) -> Iterator[tuple[Samples, Sequence[LeftOut]]]:
        """The samples of one shard in runs, and those that cannot be read. Pure."""


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


def to_record(recipe: Recipe) -> dict[str, Any]:
    """The kind and every field of a recipe as JSON has them; no paths."""
    record: dict[str, Any] = {"kind": recipe.kind}
    for field in dataclasses.fields(recipe):  # type: ignore[arg-type]
        if not field.metadata.get("outside"):
            value = getattr(recipe, field.name)
            record[field.name] = list(value) if isinstance(value, tuple) else value
    return record


def from_record(
    known: Mapping[str, type[AnyRecipe]], record: Mapping[str, Any], outside: Mapping[str, Path]
) -> AnyRecipe:
    """The recipe that `to_record` wrote down, with the paths that its record leaves out.

    Raises:
        RecipeError: the kind is not known here, or has other fields.
    """
    kind = str(record.get("kind"))
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
    del fields["kind"]
    if kind not in known:
        raise RecipeError(f"recipe kind {kind!r} is not known here; known: {', '.join(known)}")
    try:
        return known[kind](**fields, **outside)
    except TypeError as error:
        raise RecipeError(f"a {kind} recipe cannot have these fields ({error})") from error
