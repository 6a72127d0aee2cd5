"""Recipe `scenes`: the images of a split with their masks, for training and measuring segmentation.

A sample has the image (`jpg` or `png` as it lies, or `ppm` where there is no such file),
`mask.png` and, where the source has them, `instances.png` and the flags of its objects (`json`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError
from quire.artifacts.manifest import LeftOut
from quire.artifacts.masks import VOID, mask_file
from quire.artifacts.members import RAW_IMAGE, raw_images, record_file
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Run, WriteTable
from quire.builders.sources.scene import Scene, SegmentationSource, classes_in
from quire.builders.sources.source import SCENES

_RUN = 16  # scenes in memory at once
_CLASSES = 32  # that a column of `classes` has bits for


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """Images with a class for each pixel, for training and measuring segmentation."""

    kind: ClassVar[str] = "scenes"
    reads: ClassVar[tuple[str, ...]] = (SCENES,)
    libraries: ClassVar[tuple[str, ...]] = ("pillow", "pycocotools")

    split: str = "train"
    """Split of the source to read."""
    samples_per_shard: int = 500
    """Samples in a shard, at most."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range.
        """
        if self.samples_per_shard < 1:
            raise RecipeError(f"samples_per_shard is {self.samples_per_shard}, less than 1")

    def resolve(self, source: SegmentationSource) -> "Scenes":
        """The same recipe: nothing in it depends on the source."""
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: SegmentationSource) -> tuple[ShardTask, ...]:
        """All scenes, cut into shards."""
        return tuple(
            ShardTask(f"{self.split}-{number:06d}.tar", "scenes", start, stop, bytes=None)
            for number, (start, stop) in enumerate(cut(len(source), self.samples_per_shard))
        )

    def samples(self, source: SegmentationSource, task: ShardTask) -> Iterator[Run]:
        """The scenes of one shard in runs."""
        ids = source.ids[task.start : task.stop]
        for start, stop in cut(len(ids), _RUN):
            found: dict[int, Scene] = {}
            bad: list[LeftOut] = []
            for index in range(task.start + start, task.start + stop):
                scene = source.scene(index)
                if isinstance(scene, LeftOut):
                    bad.append(scene)
                else:
                    found[index] = scene
            yield Run(_samples(source, [ids[index - task.start] for index in found], found), bad)

    def tables(self) -> Mapping[str, WriteTable]:
        """None."""
        return {}


def _samples(
    source: SegmentationSource, keys: Sequence[str], found: Mapping[int, Scene]
) -> Samples:
    """Scenes by their number in the split, as samples."""
    scenes = list(found.values())
    members = {
        source.image_extension or RAW_IMAGE[3]: [_image(scene) for scene in scenes],
        "mask.png": [mask_file(scene.truth.mask) for scene in scenes],
    }
    columns: dict[str, NDArray[Any]] = {
        "source_index": np.array(list(found), np.int64),
        "height": np.array([len(scene.image) for scene in scenes], np.int64),
        "width": np.array([scene.image.shape[1] for scene in scenes], np.int64),
    }
    columns |= present_classes([scene.truth.mask for scene in scenes], len(source.class_names))
    if source.has_instances:
        instances = [scene.truth.instances for scene in scenes]
        members["instances.png"] = [mask_file(mask) for mask in instances if mask is not None]
        columns["instances"] = np.array([count(m) for m in instances if m is not None], np.int64)
    if source.has_objects:
        members["json"] = [_record(scene, source.class_names) for scene in scenes]
    return Samples(keys, members, columns)


def _image(scene: Scene) -> bytes:
    return scene.encoded or raw_images(scene.image[None]).tobytes()


def _record(scene: Scene, class_names: Sequence[str]) -> bytes:
    objects = [
        {"class": class_names[one.class_id], **asdict(one)} for one in scene.truth.objects or ()
    ]
    return record_file({"objects": objects})


def count(instances: NDArray[np.uint8]) -> int:
    """How many instances a mask of them has.

    >>> count(np.array([[0, 1], [3, 255]], np.uint8))
    2
    """
    found = np.flatnonzero(np.bincount(instances.ravel(), minlength=256))
    return int(((found != 0) & (found != VOID)).sum())


def present_classes(
    masks: Sequence[NDArray[np.uint8]], num_classes: int
) -> dict[str, NDArray[np.int64]]:
    """Which classes are there: bit i of `classes` is class i, of `classes_32` class 32 + i, ..."""
    columns = {}
    for first in range(0, num_classes, _CLASSES):
        bits = np.array(
            [
                sum(1 << int(c) for c in np.flatnonzero(there[first : first + _CLASSES]))
                for there in (classes_in(mask, num_classes) for mask in masks)
            ],
            np.int64,
        )
        columns[f"classes_{first}" if first else "classes"] = bits
    return columns
