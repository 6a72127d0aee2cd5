"""Scenes of drawn shapes, in the form of Pascal VOC: all but which shapes a scene has, and where.

Instances hide one another, have a VOID border, and are flagged where they are occluded or cut off
by the frame. A scene depends on the seed, the split, the size and its own number alone.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Self

import numpy as np

from quire.artifacts.errors import SourceError
from quire.artifacts.masks import VOID
from quire.builders.draws import sample_rng
from quire.builders.sources import layout
from quire.builders.sources.scene import Annotation, Mask, Scene, SceneObject
from quire.builders.sources.shape_drawing import (
    Placed,
    Raster,
    Tint,
    backdrop,
    drawn_over,
    outline,
    rasterised,
)
from quire.builders.sources.source import MASKS, SCENES

SIDE = 128
_LENGTH, _MAX_LENGTH = 500, 1_000_000
_LEAST, _MOST = 32, 1_024


@dataclass(frozen=True, slots=True)
class DrawnScenes(ABC):
    """Drawn scenes of one split."""

    split: str
    length: int = _LENGTH
    size: tuple[int, int] = (SIDE, SIDE)  # (W, H)
    seed: int = 0
    step: str = SCENES

    @property
    @abstractmethod
    def kind(self) -> str:
        """That of the source; it keys the draws."""

    @property
    @abstractmethod
    def class_names(self) -> tuple[str, ...]:
        """The background, then what there is."""

    @abstractmethod
    def placed(self, index: int) -> list[Placed]:
        """The shapes of a scene, the nearest last."""

    @abstractmethod
    def tint(self, one: Placed) -> Tint:
        """The colour of a shape."""

    @abstractmethod
    def about(self) -> dict[str, str]:
        """What the scenes are drawn from, beside length, seed and size; for the fingerprint."""

    @property
    def tells_apart(self) -> bool:
        """Whether it is told of objects which is which."""
        return True

    def told(self, truth: Annotation) -> Annotation:
        """What is told of a scene, of all that is known."""
        return truth

    @property
    def ids(self) -> list[str]:
        """Split and number."""
        return [f"{self.split}_{index:06d}" for index in range(self.length)]

    @property
    def image_extension(self) -> None:
        """None: there are no files."""
        return None

    @property
    def has_instances(self) -> bool:
        """True, where more than the class masks is read."""
        return self.step != MASKS and self.tells_apart

    @property
    def has_objects(self) -> bool:
        """True, where more than the class masks is read."""
        return self.step != MASKS and self.tells_apart

    def __len__(self) -> int:
        return self.length

    def narrowed(self, step: str) -> Self:
        """The same scenes, of which no more is drawn than one of STEPS."""
        return replace(self, step=step)

    def mask(self, index: int) -> Mask:
        """The class mask of a scene."""
        return self.annotation(index).mask

    def annotation(self, index: int) -> Annotation:
        """Mask, instances and objects of a scene; the objects from the farthest to the nearest."""
        return self._drawn(index)[0]

    def scene(self, index: int) -> Scene:
        """A whole scene."""
        truth, placed, rasters = self._drawn(index)
        rng = sample_rng(self.seed, f"{self.kind}/{self.split}/pixels", index)
        image = backdrop(self.size, rng=rng)
        for one, raster in zip(placed, rasters, strict=True):
            drawn_over(image, raster, self.tint(one), rng=rng)
        noise = rng.integers(-8, 9, (2, *image.shape), np.int8).sum(axis=0, dtype=np.int8)
        return Scene((image + noise).clip(0, 255).astype(np.uint8), None, truth)

    def fingerprint(self) -> str:
        """sha256 over what the scenes are drawn from."""
        drawn = {"length": self.length, "seed": self.seed, "size": self.size}
        about: dict[str, object] = {**self.about(), **drawn}
        return layout.combined(
            (f"?{name}", sha256(str(about[name]).encode()).hexdigest()) for name in sorted(about)
        )

    @property
    def extent(self) -> tuple[float, float]:
        """(W, H) in the unit of places: the shorter side."""
        width, height = self.size
        side = min(self.size)
        return width / side, height / side

    def _drawn(self, index: int) -> tuple[Annotation, list[Placed], list[Raster]]:
        layout.check_range(index, index + 1, len(self))
        placed = self.placed(index)
        rasters = [rasterised(one, self.size) for one in placed]
        return self.told(_annotated(placed, rasters, self.size)), placed, rasters


@dataclass(frozen=True, slots=True)
class Options:
    """What a source of drawn scenes is told on the command line."""

    length: int
    size: tuple[int, int]
    seed: int
    others: dict[str, str]


def options_of(kind: str, where: str, others: Collection[str] = ()) -> Options:
    """Read `N?size=S&seed=K`, each part of which may be left out, and options of other names.

    Raises:
        SourceError: an option that is not known, or numbers that are none or out of range.
    """
    numbers, _, rest = where.partition("?")
    options = dict(option.partition("=")[::2] for option in rest.split("&") if option)
    size, seed = options.pop("size", str(SIDE)), options.pop("seed", "0")
    if unknown := options.keys() - set(others):
        known = ["size", "seed", *others]
        told = " and ".join(filter(None, (", ".join(known[:-1]), known[-1])))
        raise SourceError(f"{kind}: there is no option {min(unknown)!r}; there are {told}")
    if numbers and not _fits(numbers, 1, _MAX_LENGTH):
        raise SourceError(f"{kind}: {numbers!r} is no number of scenes, 1 to {_MAX_LENGTH:,}")
    sides = size.split("x")
    if len(sides) > 2 or not all(_fits(side, _LEAST, _MOST) for side in sides):
        wanted = f"a side of {_LEAST} to {_MOST:,}, or two: 64x48"
        raise SourceError(f"{kind}: the size {size!r} is not {wanted}")
    if not _fits(seed, 0, 2**63):
        raise SourceError(f"{kind}: the seed {seed!r} is not a whole number from 0")
    return Options(int(numbers or _LENGTH), (int(sides[0]), int(sides[-1])), int(seed), options)


def _fits(text: str, low: int, high: int) -> bool:
    return re.fullmatch("[0-9]{1,19}", text) is not None and low <= int(text) <= high


def arranged(
    shapes: Sequence[tuple[int, str]],
    extent: tuple[float, float],
    rng: np.random.Generator,
    *,
    radii: tuple[float, float],
    clearance: float,
    tries: int,
) -> list[Placed]:
    """Shapes by their class ids in their places, the nearest last; one that hides another is left
    out.

    Args:
        shapes: class id and shape of each.
        extent: (W, H) of the scene; its shorter side is the unit.
        rng: of sizes, directions and places.
        radii: least radius, and how much more it may be.
        clearance: how far centres are apart at least, as a part of the two radii.
        tries: to find a place.
    """
    placed: list[Placed] = []
    for class_id, shape in shapes:
        radius = radii[0] + radii[1] * rng.random()
        direction = int(rng.integers(64))
        for x, y in 0.14 + 0.72 * rng.random((tries, 2)):
            centre = (float(x) * extent[0], float(y) * extent[1])
            one = Placed(class_id, shape, centre, radius, direction)
            if all(one.is_clear_of(other, clearance) for other in placed):
                placed.append(one)
                break
    return placed


def _annotated(placed: list[Placed], rasters: list[Raster], size: tuple[int, int]) -> Annotation:
    """What is where: masks with their VOID borders, and the objects of which a pixel is seen."""
    owner = np.zeros(size[::-1], np.uint8)  # the object, from 1, that is nearest in each pixel
    for number, raster in enumerate(rasters, 1):
        owner[raster.window][raster.distance < 0] = number
    seen = np.bincount(owner.ravel(), minlength=len(placed) + 1)
    objects = tuple(
        SceneObject(
            one.class_id,
            occluded=bool(seen[number] < (raster.distance < 0).sum()),
            truncated=raster.is_cut,
            difficult=False,
        )
        for number, (one, raster) in enumerate(zip(placed, rasters, strict=True), 1)
        if seen[number]
    )
    border = outline(owner, width=max(1, min(size) // 160))
    class_ids = np.array([0, *(one.class_id for one in placed)], np.uint8)
    mask = np.where(border, np.uint8(VOID), class_ids[owner])
    return Annotation(mask, np.where(border, np.uint8(VOID), owner), objects)
