"""What the engine asks of every source, and what a recipe may ask of one of labelled images.

A source is a small frozen record (a path, a split): it travels to a worker as it is and reads
there only what a block needs. Everything that can be wrong with the folder as a whole is found
when the source is opened; what is wrong with one sample is found when that sample is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.manifest import NO_SOURCE, LeftOut
from quire.builders.sources import layout

Image: TypeAlias = NDArray[np.uint8]  # (height, width, channel), 0..255, RGB or gray

UNDIVIDED = "all"  # the split of a source that has but one
NOTHING, IMAGES, GRAPHS = "nothing", "images", "graphs"  # what a source may hold
PERTURBATIONS = "perturbations"  # see quire.builders.sources.uap
MASKS, ANNOTATIONS, SCENES = "masks", "annotations", "scenes"  # see quire.builders.sources.scene


@dataclass(frozen=True, slots=True)
class Block:
    """Some samples of a source, in order.

    `images` is one (N, H, W, C) uint8 array when all have the same size, else a list of (H, W, C)
    arrays.
    """

    indices: NDArray[np.int64]  # (N,): each sample's number in its split
    images: NDArray[np.uint8] | Sequence[Image]
    labels: NDArray[np.int64]  # (N,)
    bad: tuple[LeftOut, ...] = ()  # samples of the range that are not in the block


class Source(Protocol):
    """Samples of one split, by number, whatever they are: what a bundle's identity says of them."""

    @property
    def kind(self) -> str:
        """The name before the colon: `cifar10`."""

    @property
    def split(self) -> str:
        """`train`, `test` or whatever the layout has; `all` where it has none."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the labels 0, 1, ...; none where there are no labels."""

    def __len__(self) -> int: ...

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of every file that the split is read from."""


class FileSource(Source, Protocol):
    """A source of many files, each of which is read whole: its fingerprint can wait until then."""

    @property
    def file_names(self) -> Sequence[str]:
        """The names of the files, each once."""

    def sizes(self) -> Sequence[int | None]:
        """How many bytes each of these has; None for one that is not there."""

    def digest(self, name: str) -> str:
        """sha256 of one of them, or what stands for it where it cannot be read."""

    def digesting(self, digests: dict[str, str]) -> Self:
        """The same source, which notes the digest of each of its files that it reads, by name."""

    def fingerprint(self, digests: Mapping[str, str] | None = None) -> str:
        """See `Source`. Files whose digests are given are not read."""


def of_files(source: Source) -> FileSource | None:
    """The source as one of many files, if it is one."""
    return cast(FileSource, source) if hasattr(source, "digesting") else None


class ImageSource(Source, Protocol):
    """Labelled images of one split, by number."""

    @property
    def image_shape(self) -> tuple[int, int, int] | None:
        """(H, W, C) where every image has it, None where they differ."""

    def read(self, start: int, stop: int) -> Block:
        """The samples [start, stop); those that cannot be read are listed as bad."""

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample, be it readable or not, without reading an image. -> (N,)."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The source of recipes that read none: no samples, no files."""

    @property
    def kind(self) -> str:
        """`none`."""
        return NO_SOURCE

    @property
    def split(self) -> str:
        """`all`."""
        return UNDIVIDED

    @property
    def class_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def __len__(self) -> int:
        return 0

    def fingerprint(self) -> str:
        """sha256 over no files."""
        return layout.combined([])
