"""What a manifest says was built, made ready to be built again here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quire.artifacts.errors import BuildError
from quire.artifacts.manifest import Identity, Manifest
from quire.builders.engine.plan import ShardTask
from quire.builders.engine.recipe import Recipe, from_record
from quire.builders.engine.run import identify
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import Source


@dataclass(frozen=True, slots=True)
class Derivation:
    """The recipe of a manifest, the source that it names, and the shards that follow."""

    manifest: Manifest
    recipe: Recipe[Any]
    source: Source
    tasks: tuple[ShardTask, ...]
    versions: Mapping[str, str]
    """Of the libraries here."""

    def check_source(self) -> None:
        """Read all of the source, and refuse another one.

        Raises:
            BuildError: it is not the one that the bundle was built from.
        """
        _check(identify(self.recipe, self.source), self.manifest.identity)

    def why(self) -> str:
        """What a difference may come from: other versions of libraries, or damage.

        Processors are no explanation: see `quire.builders.engine.recipe`.
        """
        ours, theirs = self.versions, self.manifest.identity.versions
        others = [
            f"{name} {ours.get(name, 'none')} here, {theirs.get(name, 'none')} there"
            for name in sorted({*ours, *theirs})
            if ours.get(name) != theirs.get(name)
        ]
        if others:
            return f"this may be honest, for library versions differ: {'; '.join(others)}"
        return "library versions are the same, so this is not what recipe and source make"


def derivation(
    manifest: Manifest, source: str | None, outside: Mapping[str, Any], *, lazily: bool = False
) -> Derivation:
    """Open what a bundle was built from.

    Args:
        manifest: the bundle's.
        source: the raw dataset as KIND:PATH; None where the recipe reads none.
        outside: paths of further files that the recipe reads, by field.
        lazily: do not read all files of a source of many, for whoever will see by what comes of it.

    Raises:
        BuildError: source or further files are not those that the bundle was built from; or it has
            shards that its recipe does not make.
    """
    theirs = manifest.identity
    recipe = from_record(RECIPES, theirs.recipe, outside)
    opened = open_source(source, split=recipe.split, reads=recipe.reads)
    recipe = recipe.resolve(opened)
    ours = identify(recipe, opened, sha256=theirs.source.get("sha256") if lazily else None)
    _check(ours, theirs)
    tasks = recipe.plan(opened)
    if foreign := {shard.name for shard in manifest.shards} - {task.name for task in tasks}:
        raise BuildError(f"the bundle has a shard {min(foreign)!r}, which its recipe does not make")
    return Derivation(manifest, recipe, opened, tasks, ours.versions)


def _check(ours: Identity, theirs: Identity) -> None:
    for part in ("source", "inputs"):
        if getattr(ours, part) != getattr(theirs, part):
            raise BuildError(f"not what the bundle was built from; {ours.difference(theirs)}")
