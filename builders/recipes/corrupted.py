"""Recipe `corrupted`: the images of a split, clean and under each corruption at each severity.

A pair of corruption and severity is a *cell*; the clean images are one more. Every image is in
every cell, under a key that ends in its number in the split, so clean and corrupted samples pair
up. A shard holds samples of one cell alone and is named after it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError
from quire.artifacts.shards import TRAILER, Samples
from quire.builders.corruptions import catalogue
from quire.builders.corruptions.images import Images
from quire.builders.draws import sample_rngs
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import OUTSIDE, Run, WriteTable
from quire.builders.recipes.labelled_images import members, sample_bytes
from quire.builders.sources.source import IMAGES, Block, Image, ImageSource

_RUN = 256  # images that are corrupted at once: their floats stay in the cache
SEVERITIES = (1, 2, 3, 4, 5)

# A block of images of one size and their numbers in the split -> the corrupted block.
Corrupt: TypeAlias = Callable[[Images, NDArray[np.int64]], Images]


@dataclass(frozen=True, slots=True)
class Cell:
    """One corruption at one severity; severity 0 of `clean` is the source's own image."""

    corruption: str
    severity: float

    @property
    def name(self) -> str:
        """As it stands in keys and shard names, which have no dot.

        >>> Cell("fog", 3).name, Cell("gaussian_blur_sigma", 0.25).name
        ('fog-3', 'gaussian_blur_sigma-0_25')
        """
        if self == CLEAN:
            return "clean"
        return f"{self.corruption}-{str(self.severity).removesuffix('.0').replace('.', '_')}"


CLEAN = Cell("clean", 0)


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """Clean images and their corruptions, for measuring robustness.

    Nineteen corruptions of CIFAR-10-C (Hendrycks & Dietterich 2019, arXiv 1903.12261, with that
    data set's own constants) and Gaussian noise and blur with severity = sigma.
    """

    kind: ClassVar[str] = "corrupted"
    reads: ClassVar[tuple[str, ...]] = (IMAGES,)
    libraries: ClassVar[tuple[str, ...]] = catalogue.LIBRARIES

    split: str = "test"
    """Split of the source to read."""
    corruptions: tuple[str, ...] | None = None
    """Names of corruptions. Default: all that are defined for the source's image size and whose
    files and sigmas are given."""
    severities: tuple[int, ...] = SEVERITIES
    """Severities 1..5 of the CIFAR-10-C corruptions."""
    sigmas: tuple[float, ...] = ()
    """Severities of gaussian_noise_sigma (on [0, 1] pixels) and gaussian_blur_sigma (in pixels)."""
    seed: int = 0
    """Seed of every draw."""
    samples_per_shard: int = 5000
    """Samples in a shard, at most."""
    frost_dir: Path | None = dataclasses.field(default=None, metadata=OUTSIDE)
    """Folder of the six frost images; frost needs it."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range, or two fields do not fit each other.
        """
        unknown = set(self.corruptions or ()) - catalogue.CORRUPTIONS.keys()
        if unknown:
            known = ", ".join(catalogue.CORRUPTIONS)
            raise RecipeError(f"no corruption is called {min(unknown)!r}; known: {known}")
        for severity in self.severities:
            if severity not in SEVERITIES:
                raise RecipeError(f"severity is {severity}; it must be one of {SEVERITIES}")
        for sigma in self.sigmas:
            if not 0 <= sigma < np.inf:
                raise RecipeError(f"sigma is {sigma}; it must be finite and not negative")
        for name in ("corruptions", "severities", "sigmas"):
            values = getattr(self, name) or ()
            if len(set(values)) != len(values):
                raise RecipeError(f"{name} holds a value twice: {values}")
        if self.seed < 0 or self.samples_per_shard < 1:
            raise RecipeError("seed must be at least 0, and samples_per_shard at least 1")

    def resolve(self, source: ImageSource) -> "Corrupted":
        """The same recipe with its corruptions named, each of which is defined for the source.

        Raises:
            RecipeError: one that was asked for is not defined, or lacks its files or sigmas.
        """
        shape = source.image_shape
        if self.corruptions is None:
            names = tuple(n for n in catalogue.CORRUPTIONS if not self._refusal(n, shape))
            return dataclasses.replace(self, corruptions=names)
        for name in self.corruptions:
            if reason := self._refusal(name, shape):
                raise RecipeError(reason)
        if self.sigmas and not set(self.corruptions) & catalogue.SIGMA_CORRUPTIONS:
            raise RecipeError("sigmas are given, but no corruption that takes them")
        if self.frost_dir and "frost" not in self.corruptions:
            raise RecipeError("frost_dir is given, but frost is not among the corruptions")
        return self

    def _refusal(self, name: str, shape: tuple[int, int, int] | None) -> str | None:
        """Why a corruption cannot be built; None when it can."""
        if name == "frost" and self.frost_dir is None:
            return "frost needs the folder of its six images: frost_dir"
        if name in catalogue.SIGMA_CORRUPTIONS and not self.sigmas:
            return f"{name} needs sigmas"
        return catalogue.refusal(name, shape)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The clean cell, then every corruption at every severity of its own."""
        cells = [CLEAN]
        for name in self.corruptions or ():
            severities = self.sigmas if name in catalogue.SIGMA_CORRUPTIONS else self.severities
            cells += [Cell(name, severity) for severity in severities]
        return tuple(cells)

    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprint of the frost images, where they are read."""
        if self.frost_dir is None:
            return {}
        return {"frost_dir": catalogue.frost_fingerprint(self.frost_dir)}

    def plan(self, source: ImageSource) -> tuple[ShardTask, ...]:
        """Every cell cut into shards."""
        size = sample_bytes(source.image_shape)
        return tuple(
            ShardTask(
                name=f"{self.split}-{cell.name}-{number:06d}.tar",
                part=cell.name,
                start=start,
                stop=stop,
                bytes=None if size is None else (stop - start) * size + len(TRAILER),
            )
            for cell in self.cells
            for number, (start, stop) in enumerate(cut(len(source), self.samples_per_shard))
        )

    def samples(self, source: ImageSource, task: ShardTask) -> Iterator[Run]:
        """The corrupted images of one shard in runs."""
        cell = next(cell for cell in self.cells if cell.name == task.part)
        corrupt = self._corruption(cell)
        for start, stop in cut(task.stop - task.start, _RUN):
            block = source.read(task.start + start, task.start + stop)
            yield Run(_samples(block, cell, corrupt), block.bad)

    def tables(self) -> Mapping[str, WriteTable]:
        """None."""
        return {}

    def _corruption(self, cell: Cell) -> Corrupt:
        """What turns a block of clean images into those of one cell."""
        if cell == CLEAN:
            return lambda images, indices: images
        frames = None
        if cell.corruption == "frost" and self.frost_dir is not None:
            frames = catalogue.load_frost(self.frost_dir)

        def corrupt(images: Images, indices: NDArray[np.int64]) -> Images:
            rngs = sample_rngs(self.seed, cell.name, indices.tolist())
            return catalogue.corrupt(
                images, cell.corruption, severity=cell.severity, rngs=rngs, frames=frames
            )

        return corrupt


def _samples(block: Block, cell: Cell, corrupt: Corrupt) -> Samples:
    """One run of samples of one cell."""
    images: Images | Iterator[Image]
    if isinstance(block.images, np.ndarray):
        images = corrupt(block.images, block.indices)
    else:  # images of different sizes, one at a time
        images = (
            corrupt(image[None], block.indices[i : i + 1])[0]
            for i, image in enumerate(block.images)
        )
    return Samples(
        keys=[f"{cell.name}-{index:08d}" for index in block.indices.tolist()],
        members=members(images, block.labels),
        columns={
            "label": block.labels,
            "source_index": block.indices,
            "corruption": np.full(len(block.labels), cell.corruption.encode()),
            "severity": np.full(len(block.labels), cell.severity, np.float64),
        },
    )
