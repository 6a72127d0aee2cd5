"""`quire build`: every recipe as a command, with an option for each of its fields.

And `like`, which builds what a manifest describes; `quire build --like MANIFEST` is the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from quire.artifacts.absent import listed
from quire.artifacts.address import place_of
from quire.artifacts.bundle import manifest_at
from quire.artifacts.manifest import Manifest
from quire.artifacts.processors import processors
from quire.builders.engine.run import build, plan
from quire.builders.like import build_like
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import NOTHING
from quire.train.commands.bar import Bar
from quire.train.commands.outside import Making

_LIKE = "like"


@dataclass(frozen=True, kw_only=True)
class Building:
    """Where a bundle goes, and who builds it, which changes no byte."""

    out: str
    """The bundle's folder, or an address to build at, e.g. s3://bucket/name. A place in which the
    same build was stopped is taken up again."""
    workers: int | None = None
    """Processes on this machine; default: one a processor that may be used; 0 builds in this."""
    scheduler: str | None = None
    """Address of a running Dask scheduler to use instead, e.g. tcp://host:8786."""
    skip_bad: bool = False
    """Leave out samples that cannot be read, with the reasons in the manifest."""
    download: bool = False
    """Fetch the public dataset into PATH first, where it is not there."""
    dry_run: bool = False
    """Print what would be built and what is already there, and stop."""


def _command(bar: Bar, recipe_type: type[Any]) -> Callable[..., int]:
    """The command that builds one kind of bundle: an option for each field of its recipe.

    A recipe that reads nothing has no option for a source.
    """
    optional = NOTHING in recipe_type.reads
    held = " or ".join(what for what in recipe_type.reads if what != NOTHING)
    wanted = f"The {held} to read as KIND:PATH; `quire sources` lists the kinds."
    default: Any = None if optional else tyro.MISSING

    def command(*, source: Any = default, building: Any, recipe: Any) -> int:
        return _build(bar, source, building, recipe)

    def sourceless(*, building: Any, recipe: Any) -> int:
        return _build(bar, None, building, recipe)

    made: Callable[..., int] = command if held else sourceless
    made.__doc__ = recipe_type.__doc__
    flat = tyro.conf.OmitArgPrefixes
    made.__annotations__ = {
        "source": Annotated[str | None if optional else str, tyro.conf.arg(help=wanted)],
        "building": flat[tyro.conf.FlagCreatePairsOff[Building]],
        "recipe": flat[recipe_type],
        "return": int,
    }
    return made


def _build(bar: Bar, spec: str | None, building: Building, recipe: Any) -> int:
    """Build a bundle, or go on with a build that was stopped."""
    source = open_source(
        spec,
        split=recipe.split,
        download=_download if building.download else None,
        reads=recipe.reads,
    )
    if building.dry_run:
        print(plan(recipe, source, building.out).describe())
        return 0
    with bar("shards") as report:
        manifest = build(
            recipe,
            source,
            building.out,
            workers=processors() if building.workers is None else building.workers,
            scheduler=building.scheduler,
            skip_bad=building.skip_bad,
            report=report,
        )
    _tell(building.out, manifest)
    return 0


def _tell(out: str, manifest: Manifest) -> None:
    """Print what was built."""
    size = sum(shard.bytes for shard in manifest.shards) / 1e6
    shards = f"{len(manifest.shards):,} shards, {size:.1f} MB"
    print(f"{place_of(out)}: {manifest.samples:,} samples, {shards}")
    for left in manifest.left_out:
        print(f"left out: {left.file}: {left.reason}")


@dataclass(frozen=True, kw_only=True)
class LikeOptions(Making):
    """What is built after a manifest, where, and by whom."""

    like: str
    """The manifest.json, or the folder or address of a bundle that has it."""
    out: str
    """The bundle's folder, or an address to build at. A place in which the same build was stopped
    is taken up again."""
    source: str | None = None
    """Your own copy of the source as KIND:PATH, where the recipe reads one."""


def _like_command(bar: Bar) -> Callable[..., int]:
    def command(options: tyro.conf.OmitArgPrefixes[LikeOptions]) -> int:
        """Build what a manifest describes from your own copy of its source.

        Each shard is held against the digest in the manifest, so what comes out is that bundle.
        """
        with bar("shards") as report:
            made = build_like(
                manifest_at(options.like),
                options.out,
                options.source,
                outside=options.given,
                workers=options.processes,
                scheduler=options.scheduler,
                report=report,
            )
        _tell(options.out, made.manifest)
        if made.differing:
            print(f"the same samples; another version of Quire wrote {listed(made.differing)}")
        return 0

    return command


def _download(kind: str, folder: Path) -> None:
    from quire.train.commands.download import download  # brings torch, which building does without

    download(kind, folder)


def build_commands(bar: Bar) -> dict[str, Callable[..., int]]:
    """The command of each recipe, and that of a manifest."""
    recipes = {kind: _command(bar, recipe) for kind, recipe in RECIPES.items()}
    return {**recipes, _LIKE: _like_command(bar)}


def build_arguments(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, where `--like` stands for the command of that name.

    >>> build_arguments(["--like", "manifest.json", "--out", "b"])
    ['like', '--like', 'manifest.json', '--out', 'b']
    """
    words = [word.partition("=")[0] for word in arguments]
    named = bool(words) and words[0] in {*RECIPES, _LIKE}
    return [_LIKE, *arguments] if "--like" in words and not named else [*arguments]
