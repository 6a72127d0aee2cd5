"""Images to be segmented of which nothing else need be known: those of a bundle, or of a folder."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from quire.artifacts.address import Location, place_of
from quire.artifacts.bundle import Bundle, open_bundle
from quire.artifacts.errors import BundleError, SourceError
from quire.artifacts.manifest import LeftOut
from quire.artifacts.members import check_key
from quire.builders.sources import layout
from quire.builders.sources.pictures import decode
from quire.builders.sources.source import UNDIVIDED, Source
from quire.builders.sources.tree import Tree, UnfitError, by_stem, named_digests, stem
from quire.builders.sources.tree_kinds import tree_at
from quire.loaders.stream import stream
from quire.train.segmentation.measure import in_colour

_SUFFIXES = {".jpg", ".jpeg", ".png"}


class Images(Source, Protocol):
    """Images of which nothing else is known; classes are those of the network that sees them."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Digests of what they were read from, besides the source."""

    def read(self, start: int, stop: int) -> Iterator[tuple[int, str, Tensor] | LeftOut]:
        """Number, key and image (3, H, W) uint8 of each, or why it cannot be read."""


@dataclass(frozen=True)
class BundleImages:
    """The images of a bundle, in the order of its rows."""

    data: Location
    class_names: tuple[str, ...]

    @cached_property
    def _bundle(self) -> Bundle:
        return open_bundle(self.data)

    @property
    def kind(self) -> str:
        """That of the bundle's own source."""
        return str(self._bundle.manifest.identity.source["kind"])

    @property
    def split(self) -> str:
        """That of the bundle's own source."""
        identity = self._bundle.manifest.identity
        return str(identity.recipe.get("split", identity.source["split"]))

    @property
    def inputs(self) -> Mapping[str, str]:
        """The digest of the bundle's manifest."""
        return {"bundle": self._bundle.manifest.sha256}

    def __len__(self) -> int:
        return len(self._bundle.index)

    def fingerprint(self) -> str:
        """That of the bundle's own source."""
        return str(self._bundle.manifest.identity.source["sha256"])

    def read(self, start: int, stop: int) -> Iterator[tuple[int, str, Tensor] | LeftOut]:
        """See `Images`."""
        batches = stream(self.data, rows=range(start, stop), batch_size=1, columns=())
        keys = batches.index.rows.keys
        for row, batch in enumerate(in_colour(batches, self.data), start):
            yield row, keys[row].decode(errors="surrogateescape"), batch["image"][0]


@dataclass(frozen=True)
class FolderImages:
    """JPEG and PNG files of a folder in the order of their names, or in that of a list."""

    tree: Tree
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    kind: str = "pictures"
    split: str = UNDIVIDED
    inputs: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def fingerprint(self) -> str:
        """sha256 over the names in their order, and the bytes of all files."""
        names = [(f"?{number}", name) for number, name in enumerate(self.names)]
        return layout.combined([*names, *named_digests(self.tree, self.names)])

    def read(self, start: int, stop: int) -> Iterator[tuple[int, str, Tensor] | LeftOut]:
        """See `Images`."""
        for number, name in enumerate(self.names[start:stop], start):
            try:
                pixels = decode(self.tree.read(name))
            except UnfitError as unfit:
                yield LeftOut(number, layout.shown(name), str(unfit))
            else:
                yield number, stem(name), torch.from_numpy(pixels).movedim(-1, 0)


def folder_images(place: str, listed: Path | None, classes: tuple[str, ...]) -> FolderImages:
    """The pictures of a folder, or those that a list names.

    Raises:
        SourceError: there are none; two of one name; a name that cannot be a key; one that is
            listed and not there.
    """
    tree = tree_at(place_of(Location(place)))
    names = by_stem(tree, "", _SUFFIXES)
    wanted = list(names) if listed is None else lines_of(listed)
    if not wanted:
        raise SourceError(f"{listed or tree.place()} has no pictures; found {tree.found()}")
    for key in wanted:
        if key not in names:
            raise SourceError(f"{listed}: {tree.place()} has no picture {layout.shown(key)}")
        try:
            check_key(key)
        except BundleError as error:
            raise SourceError(f"{tree.place()}: {error}") from error
    return FolderImages(tree, tuple(names[key] for key in wanted), classes)


def lines_of(file: Path) -> list[str]:
    """The names in a list, each once.

    Raises:
        SourceError: it cannot be read, or has a name twice.
    """
    with layout.reading(file):
        text = file.read_text("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(set(lines)) < len(lines):
        twice = next(line for line in lines if lines.count(line) > 1)
        raise SourceError(f"{file} names {layout.shown(twice)} twice")
    return lines
