"""Recipe `bins`: k-means clusters of images, by which generated images are held against real ones.

The bins of Richardson & Weiss 2018 (On GANs and GMMs), section 3.1, whose code is the reference: of
images of more than 1,000 values a random sixth of these decides, and centres are means over all.
Bins are made once, and are the same for every model that is measured by them.

Images are read by the workers; what they give is in memory where the command runs, a byte a value
(64x64 in colour: 12 KB an image), and is clustered there.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts.bins_table import BINS, Bins, write_bins
from quire.artifacts.errors import BuildError, RecipeError
from quire.artifacts.fields import check_at_least
from quire.artifacts.shards import Samples
from quire.builders.draws import sample_rng, sample_rngs
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Part, Run, WriteTable
from quire.builders.recipes.kmeans import Points, cluster_sums, kmeans
from quire.builders.sources.source import IMAGES, ImageSource

_SAMPLED = 1_000  # values of an image, above which a part of them decides
_PART = 6
_STEPS = 256  # of a whitened value, to one standard deviation
_MOST = 128  # standard deviations, beyond which a whitened value is cut off


@dataclass(frozen=True, kw_only=True)
class ImageBins:
    """Bins of images by k-means, for measuring how many of them generated images miss.

    Richardson & Weiss 2018 (On GANs and GMMs), with their reference's choices.
    """

    kind: ClassVar[str] = "bins"
    reads: ClassVar[tuple[str, ...]] = (IMAGES,)
    libraries: ClassVar[tuple[str, ...]] = ("pillow",)  # decodes what lies in image files

    split: str = "train"
    """Split of the source to read."""
    bins: int = 100
    """Bins: K."""
    images: int = 20_480
    """Images that are clustered, drawn at random; all where there are not as many."""
    dimensions: int | None = None
    """Values of an image that decide on its bin, drawn at random. Default: all, or a sixth of them
    where there are more than 1,000."""
    whiten: bool = False
    """Divide each value by its standard deviation over the images, of one grey level at least."""
    restarts: int = 10
    """Attempts of k-means, of which the best counts."""
    rounds: int = 100
    """Rounds of an attempt, at most."""
    seed: int = 0
    """Seed of every draw."""
    images_per_shard: int = 2_048
    """Images that are read in one task."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range.
        """
        positive = "bins", "images", "dimensions", "restarts", "rounds", "images_per_shard"
        check_at_least(1, self, *positive, error=RecipeError)
        check_at_least(0, self, "seed", error=RecipeError)

    def resolve(self, source: ImageSource) -> "ImageBins":
        """The same recipe with its numbers of images and of values spelled out.

        Raises:
            RecipeError: images differ in size, are too few, or have not as many values.
        """
        if source.image_shape is None:
            raise RecipeError(
                "images differ in size, and bins are of one: folder:PATH?size=64 brings them to it"
            )
        values, images = int(np.prod(source.image_shape)), min(self.images, len(source))
        if images < self.bins:
            raise RecipeError(f"bins is {self.bins:,}, but there are {images:,} images")
        dimensions = self.dimensions or (values // _PART if values > _SAMPLED else values)
        if dimensions > values:
            raise RecipeError(f"dimensions is {dimensions:,}; an image has {values:,} values")
        return dataclasses.replace(self, images=images, dimensions=dimensions)

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: ImageSource) -> tuple[ShardTask, ...]:
        """All images that were drawn, cut into tasks; none of them has samples."""
        return tuple(
            ShardTask(f"{self.split}-images-{number:06d}.tar", "images", start, stop, bytes=0)
            for number, (start, stop) in enumerate(cut(self.images, self.images_per_shard))
        )

    def samples(self, source: ImageSource, task: ShardTask) -> Iterator[Run]:
        """No samples, but the pixels of the images of one task."""
        drawn = sample_rng(self.seed, "bins/images", 0).permutation(len(source))[: self.images]
        numbers = np.sort(drawn)[task.start : task.stop]
        for start, stop in pairwise([0, *np.flatnonzero(np.diff(numbers) > 1) + 1, len(numbers)]):
            block = source.read(int(numbers[start]), int(numbers[stop - 1]) + 1)
            pixels = np.array(block.images, np.uint8).reshape(-1, *source.image_shape or ())
            yield Run(Samples([], {}), block.bad, {"pixels": pixels, "number": block.indices})

    def tables(self) -> Mapping[str, WriteTable]:
        """`bins.h5`."""
        return {BINS: partial(_write, self)}


def _write(recipe: ImageBins, file: h5py.File, parts: Iterator[Part]) -> None:
    kept = [(part["pixels"], part["number"]) for part in parts]
    pixels = np.concatenate([images for images, _ in kept])
    if len(pixels) < recipe.bins:
        raise BuildError(f"{len(pixels):,} images can be read; {recipe.bins:,} bins were asked for")
    write_bins(file, binned(recipe, pixels, np.concatenate([numbers for _, numbers in kept])))


def binned(recipe: ImageBins, pixels: NDArray[np.uint8], numbers: NDArray[np.int64]) -> Bins:
    """The bins of images (N, H, W, C), of a resolved recipe; `numbers` (N,) are theirs."""
    flat = pixels.reshape(len(pixels), -1)
    drawn = sample_rng(recipe.seed, "bins/dimensions", 0).permutation(flat.shape[1])
    dimensions = np.sort(drawn[: recipe.dimensions])
    mean, deviation = _statistics(flat)
    scale = np.maximum(deviation, 1) if recipe.whiten else np.ones(flat.shape[1])
    used = flat[:, dimensions]
    points = Points(used, 255)
    if recipe.whiten:
        steps = np.rint((used - mean[dimensions]) / scale[dimensions] * _STEPS)
        most = _STEPS * _MOST
        points = Points(steps.clip(-most, most).astype(np.int32), most)
    rngs = sample_rngs(recipe.seed, "bins/attempts", range(recipe.restarts))
    labels = kmeans(points, recipe.bins, rngs=rngs, rounds=recipe.rounds)
    counts = np.bincount(labels, minlength=recipe.bins)
    order = np.argsort(-counts, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    labels, counts = place[labels], counts[order]
    sums = cluster_sums(flat, labels)
    return Bins(
        centres=(sums / counts[:, None]).reshape(-1, *pixels.shape[1:]),
        counts=counts,
        dimensions=dimensions,
        scale=scale,
        source_index=numbers,
        bin=labels,
    )


def _statistics(flat: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each value, from sums of whole numbers. (N, P) -> (P,)."""
    total, squares = np.zeros((2, flat.shape[1]), np.int64)
    for rows in np.array_split(flat, max(1, len(flat) >> 10)):
        total += rows.sum(axis=0, dtype=np.int64)
        squares += np.square(rows, dtype=np.int64).sum(axis=0)
    count = len(flat)
    mean = total / count
    deviation = np.sqrt((count * squares - total**2) / count**2)
    return mean, deviation
