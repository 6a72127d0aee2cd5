"""Recipe `subsets`: which scenes of a split make up the subsets that SegMix is measured on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts.address import Location
from quire.artifacts.bundle import open_bundle, read_manifest
from quire.artifacts.cooccurrence_table import Cooccurrence, read_cooccurrence
from quire.artifacts.errors import RecipeError
from quire.artifacts.manifest import LeftOut
from quire.artifacts.shards import Samples
from quire.artifacts.subset_table import FLAGS, NONE, SUBSETS, write_subsets
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import OUTSIDE, Part, Run, WriteTable
from quire.builders.recipes.scenes import count
from quire.builders.recipes.subset_rules import Facts, Occlusion, joined, subsets
from quire.builders.sources.scene import Annotation, SegmentationSource, classes_in
from quire.builders.sources.source import ANNOTATIONS

_PAPER = ("voc2012", "val")  # what the paper's numbers are about


@dataclass(frozen=True, kw_only=True)
class Subsets:
    """Which scenes of a split make up the subsets of SegMix's Tables 3 and 4 and Figure 5.

    By occlusion, number of objects and of classes, co-occurring classes, and how seldom classes
    meet. A subset for which the source lacks the annotations is listed with the reason. Images are
    not read.
    """

    kind: ClassVar[str] = "subsets"
    reads: ClassVar[tuple[str, ...]] = (ANNOTATIONS,)
    libraries: ClassVar[tuple[str, ...]] = ("pillow", "pycocotools")

    split: str = "val"
    """Split of the source to read."""
    occlusion: Occlusion = "either"
    """The flag of an object that counts as its being occluded."""
    companion: str = "person"
    """The class that others are looked for together with."""
    partners: tuple[str, ...] = ("horse", "motorbike", "bicycle", "bottle", "car")
    """The classes that are looked for with the companion, and alone."""
    thresholds: tuple[int, ...] = (50, 40, 30, 20, 10)
    """Keep scenes with two classes that are together in fewer masks than this, or in none."""
    scenes_per_shard: int = 500
    """Scenes that are looked at in one task."""
    cooccurrence: str | None = field(default=None, metadata=OUTSIDE)
    """Bundle of co-occurrence of the training split, a folder or an address; the thresholds are
    about its counts."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range.
        """
        for name in ("partners", "thresholds"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise RecipeError(f"{name} holds a value twice: {values}")
        if self.companion in self.partners:
            raise RecipeError(f"{self.companion} is both the companion and a partner")
        if self.scenes_per_shard < 1 or min(self.thresholds, default=1) < 1:
            raise RecipeError("scenes_per_shard and thresholds must be at least 1")

    def resolve(self, source: SegmentationSource) -> "Subsets":
        """The same recipe, once the counts are known to be of the source's classes.

        Raises:
            RecipeError: they are of others.
            BundleError: they cannot be read.
        """
        counts = self._counts()
        if counts is not None and counts.class_names != source.class_names:
            place = Location(self.cooccurrence or "")
            raise RecipeError(f"{place} counts other classes than {source.kind} has")
        return self

    def _counts(self) -> Cooccurrence | None:
        if self.cooccurrence is None:
            return None
        return read_cooccurrence(open_bundle(self.cooccurrence))

    def fingerprints(self) -> Mapping[str, str]:
        """The digest of the manifest of the counts, where they are read."""
        if self.cooccurrence is None:
            return {}
        return {"cooccurrence": read_manifest(self.cooccurrence).sha256}

    def plan(self, source: SegmentationSource) -> tuple[ShardTask, ...]:
        """All scenes, cut into tasks; none of them has samples."""
        return tuple(
            ShardTask(f"{self.split}-scenes-{number:06d}.tar", "scenes", start, stop, bytes=0)
            for number, (start, stop) in enumerate(cut(len(source), self.scenes_per_shard))
        )

    def samples(self, source: SegmentationSource, task: ShardTask) -> Iterator[Run]:
        """No samples, but a row for each scene of one task."""
        ids = source.ids
        bad: list[LeftOut] = []
        rows: list[dict[str, NDArray[Any]]] = []
        for index in range(task.start, task.stop):
            known = source.annotation(index)
            if isinstance(known, LeftOut):
                bad.append(known)
            else:
                rows.append(_row(index, ids[index], known, len(source.class_names)))
        nothing = _row(0, "", Annotation(np.zeros((0, 0), np.uint8)), len(source.class_names))
        part = joined([{name: row[:0] for name, row in nothing.items()}, *rows])
        about = "\n".join((source.kind, source.split, *source.class_names)).encode()
        yield Run(Samples([], {}), bad, {**part, "about": np.array([about])})

    def tables(self) -> Mapping[str, WriteTable]:
        """`subsets.h5`."""
        return {SUBSETS: self._write}

    def _write(self, file: h5py.File, parts: Iterator[Part]) -> None:
        rows = joined(list(parts))
        kind, split, *class_names = rows.pop("about")[0].decode().split("\n")
        counts = self._counts()
        facts = Facts(
            class_names=class_names,
            classes=rows["classes"],
            instances=rows["instances"],
            objects=rows["objects"],
            flagged={flag: rows[f"flagged/{flag}"] for flag in FLAGS},
        )
        chosen = subsets(
            facts,
            occlusion=self.occlusion,
            companion=self.companion,
            partners=self.partners,
            thresholds=self.thresholds,
            counts=None if counts is None else counts.images,
            published=(kind, split) == _PAPER,
        )
        write_subsets(file, rows, chosen)


def _row(index: int, one: str, known: Annotation, num_classes: int) -> dict[str, NDArray[Any]]:
    """What the table says of one scene: arrays of one row."""
    objects = known.objects
    flagged = [(one.occluded is True, one.truncated is True) for one in objects or ()]
    numbers = {
        "source_index": index,
        "instances": NONE if known.instances is None else count(known.instances),
        "objects": NONE if objects is None else len(objects),
        "flagged/occluded": sum(occluded for occluded, _ in flagged),
        "flagged/truncated": sum(truncated for _, truncated in flagged),
        "flagged/either": sum(map(any, flagged)),
    }
    row: dict[str, NDArray[Any]] = {
        name: np.array([NONE if objects is None and "flagged" in name else number], np.int64)
        for name, number in numbers.items()
    }
    classes = (classes_in(known.mask, num_classes) > 0).astype(np.uint8)
    return {"id": np.array([one.encode()]), "classes": classes[None], **row}
