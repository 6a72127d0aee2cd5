"""Recipe `cooccurrence`: how often two classes share a scene, counted from the masks alone.

A shard of masks is a task and gives its sums, some kilobytes, which are kept with it until all
are there: a build that was stopped goes on, and the table is their sum in the order of the plan.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from quire.artifacts.cooccurrence_table import COOCCURRENCE, part, write_cooccurrence
from quire.artifacts.errors import RecipeError
from quire.artifacts.fields import check_at_least
from quire.artifacts.manifest import LeftOut
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Run, WriteTable
from quire.builders.sources.scene import SegmentationSource, classes_in
from quire.builders.sources.source import MASKS


@dataclass(frozen=True, kw_only=True)
class Cooccurrence:
    """How often two classes share a scene, counted from the masks alone.

    By images and by pixels (Equation 2 of SegMix as it is printed), with the totals of each class.
    """

    kind: ClassVar[str] = "cooccurrence"
    reads: ClassVar[tuple[str, ...]] = (MASKS,)
    libraries: ClassVar[tuple[str, ...]] = ("pillow",)

    split: str = "train_aug"
    """Split of the source to read."""
    masks_per_shard: int = 500
    """Masks that are counted in one task."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range.
        """
        check_at_least(1, self, "masks_per_shard", error=RecipeError)

    def resolve(self, source: SegmentationSource) -> "Cooccurrence":
        """The same recipe: nothing in it depends on the source."""
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: SegmentationSource) -> tuple[ShardTask, ...]:
        """All masks, cut into tasks; none of them has samples."""
        return tuple(
            ShardTask(f"{self.split}-masks-{number:06d}.tar", "masks", start, stop, bytes=0)
            for number, (start, stop) in enumerate(cut(len(source), self.masks_per_shard))
        )

    def samples(self, source: SegmentationSource, task: ShardTask) -> Iterator[Run]:
        """No samples, but the counts of the masks of one task."""
        size = len(source.class_names)
        counts = [np.zeros((0, size), np.int64)]
        bad: list[LeftOut] = []
        for index in range(task.start, task.stop):
            mask = source.mask(index)
            if isinstance(mask, LeftOut):
                bad.append(mask)
            else:
                counts.append(classes_in(mask, size)[None])
        yield Run(Samples([], {}), bad, part(source.class_names, np.concatenate(counts)))

    def tables(self) -> Mapping[str, WriteTable]:
        """`cooccurrence.h5`."""
        return {COOCCURRENCE: write_cooccurrence}
