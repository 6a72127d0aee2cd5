"""What a recipe may ask of a source of scenes: images whose every pixel has a class.

A recipe asks for no more than it reads, in three steps: `MASKS` are class masks alone,
`ANNOTATIONS` add instances and what was said of each object, `SCENES` add the images. Files beyond
its step are no part of a source: they need not be there, and its fingerprint knows nothing of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.manifest import LeftOut
from quire.builders.sources.source import ANNOTATIONS, MASKS, SCENES, Image, Source

Mask: TypeAlias = NDArray[np.uint8]  # (height, width), ids

STEPS = (MASKS, ANNOTATIONS, SCENES)  # each has all that is in the one before it


@dataclass(frozen=True, slots=True)
class SceneObject:
    """What was said of one object of a scene; a flag is None where nothing was."""

    class_id: int
    occluded: bool | None = None
    truncated: bool | None = None
    difficult: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """What is known of a scene without its image.

    `mask` has a class id or VOID in each pixel. `instances` has the number of an object, from 1, 0
    for the background, or VOID; None where the source has no instances. `objects` are in the order
    of their file; None where the source has none. Instances and objects are not matched up.
    """

    mask: Mask
    instances: Mask | None = None
    objects: tuple[SceneObject, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """An image, (H, W, 3) uint8 RGB, and what is known of it; all masks are (H, W).

    `encoded` is the image's file as it lies, where the source has an `image_extension`.
    """

    image: Image
    encoded: bytes | None
    truth: Annotation


class SegmentationSource(Source, Protocol):
    """Scenes of one split, by number. Class 0 is the background.

    What cannot be read is returned as a `LeftOut`, with the reason.
    """

    @property
    def step(self) -> str:
        """One of STEPS: what is read here."""

    @property
    def ids(self) -> Sequence[str]:
        """The scenes' own names: unique, and fit to be keys of a bundle."""

    @property
    def image_extension(self) -> str | None:
        """`jpg` or `png` where all images lie in such files, None where they are pixels alone."""

    @property
    def has_instances(self) -> bool:
        """Whether annotations have instances: all of them or none."""

    @property
    def has_objects(self) -> bool:
        """Whether annotations have objects: all of them or none."""

    def narrowed(self, step: str) -> Self:
        """The same scenes, of which no more is read than one of STEPS."""

    def mask(self, index: int) -> Mask | LeftOut:
        """The class mask of a scene, for whoever needs no more."""

    def annotation(self, index: int) -> Annotation | LeftOut:
        """Mask, instances and objects of a scene. Needs the step ANNOTATIONS or SCENES."""

    def scene(self, index: int) -> Scene | LeftOut:
        """A whole scene. Needs the step SCENES."""


def classes_in(mask: Mask, num_classes: int) -> NDArray[np.int64]:
    """How many pixels of each class a mask has; VOID counts for none. -> (K,).

    >>> classes_in(np.array([[0, 2], [2, 255]], np.uint8), 3).tolist()
    [1, 0, 2]
    """
    return np.bincount(mask.ravel(), minlength=256)[:num_classes].astype(np.int64)
