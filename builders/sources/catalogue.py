"""How a source that is written KIND:PATH is opened."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, overload

from quire.artifacts.errors import SourceError
from quire.builders.sources.kinds import SOURCES, folder_of
from quire.builders.sources.layout import check_split
from quire.builders.sources.scene import STEPS
from quire.builders.sources.source import (
    IMAGES,
    NOTHING,
    SCENES,
    ImageSource,
    Nothing,
    Source,
)

Download: TypeAlias = Callable[[str, Path], None]  # fetch a kind into a folder, if it is not there


@overload
def open_source(spec: str, *, split: str, download: Download | None = None) -> ImageSource:
    """One of images, by default."""


@overload
def open_source(
    spec: str | None, *, split: str, download: Download | None = None, reads: Sequence[str]
) -> Source:
    """One of what `reads` says."""


def open_source(
    spec: str | None,
    *,
    split: str,
    download: Download | None = None,
    reads: Sequence[str] = (IMAGES,),
) -> Source:
    """Open one split of a source written KIND:PATH; only the first colon divides.

    `download`, if given, is called with the kind and the folder when the source cannot be opened as
    it lies; then it is opened again. `reads` is what the source may hold; where nothing will do,
    the spec may be None.

    Raises:
        SourceError: an unknown kind, one that holds something else, none where one is needed, one
            where none is read; a missing path, an unknown split, or a folder that is not in the
            layout named; also a kind that nobody can download, if there is a `download`.
    """
    if spec is None and NOTHING in reads:
        return Nothing()
    if not (fitting := _fitting(reads)):
        raise SourceError(f"no source is read here, but {spec} is given")
    name, where = divided(spec, fitting)
    kind = SOURCES[name]
    if download is None:
        return _narrowed(kind.open(where, split), reads)
    if not kind.downloads:
        able = ", ".join(name for name, kind in SOURCES.items() if kind.downloads)
        raise SourceError(f"{name} cannot be downloaded; {able} can")
    check_split(name, split, kind.splits or (split,))  # nothing is fetched for a misspelt split
    folder = folder_of(name, where)
    try:
        return kind.open(where, split)
    except SourceError:
        download(name, folder)
    return kind.open(where, split)


def _fitting(reads: Sequence[str]) -> list[str]:
    """The kinds that hold one of these; what holds scenes also holds what they are made of."""
    wanted = {SCENES if what in STEPS else what for what in reads}
    return [name for name, kind in SOURCES.items() if kind.holds in wanted]


def _narrowed(source: Any, reads: Sequence[str]) -> Source:
    """The source with nothing in it that is not read."""
    steps = [step for step in STEPS if step in reads]
    narrowed: Source = source.narrowed(steps[-1]) if hasattr(source, "narrowed") else source
    return narrowed


def divided(spec: str | None, kinds: Sequence[str] | None = None) -> tuple[str, str]:
    """The kind, which must be one of `kinds` (default: of all), and what follows the colon.

    >>> divided("folder:/data/a:b")
    ('folder', '/data/a:b')

    Raises:
        SourceError: no source, no colon, or another kind.
    """
    wanted = f"KIND:PATH with one of the kinds {', '.join(kinds or SOURCES)}"
    if spec is None:
        raise SourceError(f"a source is needed: {wanted}")
    name, colon, where = spec.partition(":")
    if not colon or name not in (kinds or SOURCES):
        raise SourceError(f"the source {spec!r} is not {wanted}")
    return name, where
