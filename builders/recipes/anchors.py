"""Recipe `anchors`: some images of each class, to which a model compares all others.

They are chosen class by class, from the labels of the whole split and, where wanted, from features
of its images. The bundle has the images class after class; `anchors.h5` says which they are:

source_index    (C, K) int64, the numbers in the split of each class's K anchors, in order
label           (C,) int64; its attribute `class_names` is a JSON list of names
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import open_bundle, read_manifest
from quire.artifacts.errors import RecipeError
from quire.artifacts.feature_table import read_features
from quire.artifacts.shards import TRAILER, Samples
from quire.builders.draws import sample_rng
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import OUTSIDE, Part, Run, WriteTable
from quire.builders.recipes import anchor_order
from quire.builders.recipes.labelled_images import members, sample_bytes
from quire.builders.sources.source import IMAGES, Block, ImageSource

ANCHORS = "anchors.h5"
_PURPOSE = "anchors"  # of the draws

Strategy: TypeAlias = Literal["uniform", "nearest", "farthest"]


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Images that stand for their classes: as many of each class, none of them twice.

    The anchors of CNN2Graph (Trivedy & Latecki, WACV 2023), which draws them uniformly. Which they
    are depends on their class alone, and 3 of a class are the one that per_class=1 gives and two
    more.
    """

    kind: ClassVar[str] = "anchors"
    reads: ClassVar[tuple[str, ...]] = (IMAGES,)
    libraries: ClassVar[tuple[str, ...]] = ("pillow",)  # decodes what lies in image files

    split: str = "train"
    """Split of the source to read."""
    per_class: int = 1
    """Anchors of each class."""
    strategy: Strategy = "uniform"
    """uniform: drawn without replacement; nearest: those nearest to the class's mean feature;
    farthest: the nearest one, then always the one farthest from those before it."""
    seed: int = 0
    """Seed of the draws; without effect on the other strategies."""
    samples_per_shard: int = 5000
    """Samples in a shard, at most; a class is never divided."""
    features: str | None = dataclasses.field(default=None, metadata=OUTSIDE)
    """Bundle of features of the same split, for nearest and farthest: a folder, or an address."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range, or two fields do not fit each other.
        """
        if self.per_class < 1 or self.seed < 0:
            raise RecipeError("per_class must be at least 1, and seed at least 0")
        if self.samples_per_shard < self.per_class:
            raise RecipeError(
                f"samples_per_shard is {self.samples_per_shard}, fewer than the {self.per_class}"
                " anchors of a class"
            )
        if (self.strategy == "uniform") != (self.features is None):
            reason = "needs features" if self.features is None else "takes no features"
            raise RecipeError(f"the strategy {self.strategy} {reason}")

    def resolve(self, source: ImageSource) -> "Anchors":
        """The same recipe, once every class of the source is known to have enough images.

        Raises:
            RecipeError: one has not, or the features are not of this split.
            BundleError: the features cannot be read.
        """
        counts = np.bincount(source.read_labels(), minlength=len(source.class_names))
        for label in np.flatnonzero(counts < self.per_class).tolist():
            raise self._too_few(source, label, f"{counts[label]:,}")
        self._features(source)
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """The digest of the manifest of the features, where they are read."""
        if self.features is None:
            return {}
        return {"features": read_manifest(self.features).sha256}

    def plan(self, source: ImageSource) -> tuple[ShardTask, ...]:
        """Whole classes, cut into shards; a task's numbers are those of anchors."""
        size = sample_bytes(source.image_shape)
        classes = cut(len(source.class_names), self.samples_per_shard // self.per_class)
        runs = [(start * self.per_class, stop * self.per_class) for start, stop in classes]
        return tuple(
            ShardTask(
                name=f"{self.split}-anchors-{number:06d}.tar",
                part="anchors",
                start=start,
                stop=stop,
                bytes=None if size is None else (stop - start) * size + len(TRAILER),
            )
            for number, (start, stop) in enumerate(runs)
        )

    def samples(self, source: ImageSource, task: ShardTask) -> Iterator[Run]:
        """The anchors of one shard, a run for each class.

        An image that cannot be read is listed as bad, and the next of its class takes its place; of
        images that are not chosen nobody knows whether they can be read.

        Raises:
            RecipeError: a class has too few images that can be read.
        """
        by_class = _by_class(source)
        features = self._features(source)
        for label in range(task.start // self.per_class, task.stop // self.per_class):
            numbers = by_class[label]
            of_class = None if features is None else features[numbers]
            ordered = self._order(label, len(numbers), of_class)
            blocks: list[Block] = []
            while len(blocks) < self.per_class:
                if (place := next(ordered, None)) is None:
                    raise self._too_few(source, label, f"{len(blocks):,} readable")
                block = source.read(int(numbers[place]), int(numbers[place]) + 1)
                if block.bad:
                    yield Run(Samples([], {}), block.bad)
                else:
                    blocks.append(block)
            yield _run(blocks, source.class_names[label])

    def tables(self) -> Mapping[str, WriteTable]:
        """`anchors.h5`."""
        return {ANCHORS: partial(_write_anchors, strategy=self.strategy)}

    def _order(self, label: int, count: int, features: NDArray[np.float32] | None) -> Iterator[int]:
        """The images of a class, the best first."""
        if features is None:
            return anchor_order.uniform(count, rng=sample_rng(self.seed, _PURPOSE, label))
        order = {"nearest": anchor_order.nearest, "farthest": anchor_order.farthest}
        return order[self.strategy](features)

    def _features(self, source: ImageSource) -> NDArray[np.float32] | None:
        """A row for every image of the split, where the strategy asks for features. -> (N, F)."""
        if self.features is None:
            return None
        bundle = open_bundle(self.features)
        table = read_features(bundle)
        split = f"{source.kind} {source.split}"
        if not np.array_equal(table.source_index, np.arange(len(source))):
            raise RecipeError(
                f"{bundle} has features of {len(table.labels):,} images, the last of them"
                f" number {table.source_index[-1]:,}; {split} has {len(source):,}"
            )
        differ = np.flatnonzero(table.labels != source.read_labels())
        if len(differ):
            raise RecipeError(
                f"{bundle} has another class for image {differ[0]:,} than {split}: its"
                " features are of other images"
            )
        return table.features

    def _too_few(self, source: ImageSource, label: int, there: str) -> RecipeError:
        return RecipeError(
            f"class {source.class_names[label]} has {there} images in {source.kind}"
            f" {source.split}; {self.per_class:,} anchors were asked for"
        )


def _by_class(source: ImageSource) -> list[NDArray[np.int64]]:
    """The numbers of each class's images, in order."""
    labels = source.read_labels()
    counts = np.bincount(labels, minlength=len(source.class_names))
    return np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])


def _run(blocks: list[Block], name: str) -> Run:
    """The anchors of one class: samples, and a row of the table."""
    labels = np.concatenate([block.labels for block in blocks])
    numbers = np.concatenate([block.indices for block in blocks])
    samples = Samples(
        keys=[f"anchor-{number:08d}" for number in numbers.tolist()],
        members=members((block.images[0] for block in blocks), labels),
        columns={"label": labels, "source_index": numbers},
    )
    row = {"source_index": numbers[None], "label": labels[:1], "name": np.array([name.encode()])}
    return Run(samples, part=row)


def _write_anchors(file: h5py.File, parts: Iterator[Part], *, strategy: str) -> None:
    """Write the table; a row is small, so all are in memory."""
    rows: list[Mapping[str, NDArray[Any]]] = list(parts)
    names = [name.decode() for part in rows for name in part["name"].tolist()]
    tables.put(
        file,
        "source_index",
        np.concatenate([part["source_index"] for part in rows]),
        definition="one row a class: the numbers in the split of its anchors",
        strategy=strategy,
    )
    tables.put(
        file,
        "label",
        np.concatenate([part["label"] for part in rows]),
        definition="the class of each row",
        class_names=json.dumps(names),
    )
