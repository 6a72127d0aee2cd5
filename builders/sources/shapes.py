"""The source of scenes that needs no download: drawn shapes, in the form of Pascal VOC.

Twenty classes, each a shape in a colour, so neither tells the class alone; instances that hide one
another, a VOID border around each, flags of what is occluded or cut off by the frame. Which
classes meet is not left to chance: four classes or so belong to one of five settings, and a scene
has one setting. Classes of one setting often meet, those of neighbouring settings seldom, others
never; `blue_disc`, which has the number of VOC's person, belongs to none and comes into all of
them. Told apart from the background alone, shapes are salient objects.
"""

import re
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from quire.artifacts.errors import SourceError
from quire.artifacts.masks import VOID
from quire.builders.draws import sample_rng
from quire.builders.sources import layout
from quire.builders.sources.saliency import CLASS_NAMES as SALIENCY
from quire.builders.sources.scene import Annotation, Mask, Scene, SceneObject
from quire.builders.sources.shape_drawing import (
    Placed,
    Raster,
    backdrop,
    drawn_over,
    outline,
    rasterised,
)
from quire.builders.sources.source import MASKS, SCENES

SHAPES = ("ring", "cross", "square", "triangle", "disc")
COLOURS = ("red", "green", "blue", "yellow")
CLASS_NAMES = ("background", *(f"{colour}_{shape}" for colour in COLOURS for shape in SHAPES))
COMPANION = CLASS_NAMES.index("blue_disc")

_SPLITS = ("train", "val")
_SALIENT = "salient"
_DRAWING = "1"  # to be counted up whenever a scene comes out otherwise
_LENGTH = 500
_MAX_LENGTH = 1_000_000
_SIDE, _LEAST, _MOST = 128, 32, 1_024
_SETTINGS = 5
_OBJECTS = (0.48, 0.70, 0.82, 0.89, 1.0)  # how many objects, summed up: about as VOC's val split
_TRIES = 12  # to find a place that hides no other object
_CLEARANCE = 0.6  # of the two radii: how far centres are apart at least


@dataclass(frozen=True, slots=True)
class Shapes:
    """Drawn scenes. One depends on seed, split, size and its own number alone.

    Of `salient` ones the masks, without VOID borders, say where any object is and nothing else.
    """

    split: str
    length: int = _LENGTH
    size: tuple[int, int] = (_SIDE, _SIDE)  # (W, H)
    seed: int = 0
    salient: bool = False
    step: str = SCENES

    @property
    def kind(self) -> str:
        """`shapes`."""
        return "shapes"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background, then colour and shape of each class; or what is salient."""
        return SALIENCY if self.salient else CLASS_NAMES

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
        """True, where more than the class masks is read, and classes are told apart."""
        return self.step != MASKS and not self.salient

    @property
    def has_objects(self) -> bool:
        """True, where more than the class masks is read, and classes are told apart."""
        return self.step != MASKS and not self.salient

    def __len__(self) -> int:
        return self.length

    def narrowed(self, step: str) -> "Shapes":
        """The same scenes, of which no more is drawn than one of STEPS."""
        return replace(self, step=step)

    def mask(self, index: int) -> Mask:
        """The class mask of a scene."""
        return self.annotation(index).mask

    def annotation(self, index: int) -> Annotation:
        """Mask, instances and objects of a scene; the objects from the farthest to the nearest."""
        return self._told(_annotated(self._placed(index), self.size)[0])

    def scene(self, index: int) -> Scene:
        """A whole scene."""
        placed = self._placed(index)
        truth, rasters = _annotated(placed, self.size)
        rng = sample_rng(self.seed, f"shapes/{self.split}/pixels", index)
        image = backdrop(self.size, rng=rng)
        for one, raster in zip(placed, rasters, strict=True):
            drawn_over(image, raster, COLOURS[(one.class_id - 1) // len(SHAPES)], rng=rng)
        noise = rng.integers(-8, 9, (2, *image.shape), np.int8).sum(axis=0, dtype=np.int8)
        return Scene((image + noise).clip(0, 255).astype(np.uint8), None, self._told(truth))

    def fingerprint(self) -> str:
        """sha256 over what the scenes are drawn from."""
        about = {"drawing": _DRAWING, "length": self.length, "seed": self.seed, "size": self.size}
        if self.salient:
            about["classes"] = _SALIENT
        return layout.combined(
            (f"?{name}", sha256(str(value).encode()).hexdigest()) for name, value in about.items()
        )

    def _told(self, truth: Annotation) -> Annotation:
        """What masks say: of salient objects no more than where one is, border and all."""
        if not self.salient:
            return truth
        return Annotation((truth.mask > 0).astype(np.uint8))

    def _placed(self, index: int) -> list[Placed]:
        layout.check_range(index, index + 1, len(self))
        rng = sample_rng(self.seed, f"shapes/{self.split}/objects", index)
        width, height = self.size
        side = min(self.size)
        return _arranged(_met(rng), (width / side, height / side), rng)


def open_shapes(where: str, split: str) -> Shapes:
    """Open drawn scenes: `N?size=S&seed=K&classes=salient`; each part may be left out.

    Raises:
        SourceError: an unknown split, or numbers that are none or out of range.
    """
    layout.check_split("shapes", split, _SPLITS)
    numbers, _, rest = where.partition("?")
    options = dict(option.partition("=")[::2] for option in rest.split("&") if option)
    size, seed = options.pop("size", str(_SIDE)), options.pop("seed", "0")
    classes = options.pop("classes", None)
    if options:
        known = "size, seed and classes"
        raise SourceError(f"shapes: there is no option {min(options)!r}; there are {known}")
    if classes not in (None, _SALIENT):
        raise SourceError(f"shapes: classes may be {_SALIENT}, not {classes!r}")
    if numbers and not _fits(numbers, 1, _MAX_LENGTH):
        raise SourceError(f"shapes: {numbers!r} is no number of scenes, 1 to {_MAX_LENGTH:,}")
    sides = size.split("x")
    if len(sides) > 2 or not all(_fits(side, _LEAST, _MOST) for side in sides):
        wanted = f"a side of {_LEAST} to {_MOST:,}, or two: 64x48"
        raise SourceError(f"shapes: the size {size!r} is not {wanted}")
    if not _fits(seed, 0, 2**63):
        raise SourceError(f"shapes: the seed {seed!r} is not a whole number from 0")
    return Shapes(
        split,
        int(numbers or _LENGTH),
        (int(sides[0]), int(sides[-1])),
        int(seed),
        salient=classes is not None,
    )


def _fits(text: str, low: int, high: int) -> bool:
    return re.fullmatch("[0-9]{1,19}", text) is not None and low <= int(text) <= high


def _setting(class_id: int) -> int | None:
    """The setting that a class belongs to; each has classes of all colours and shapes."""
    if class_id == COMPANION:
        return None
    colour, shape = divmod(class_id - 1, len(SHAPES))
    return (colour + shape) % _SETTINGS


def _met(rng: np.random.Generator) -> list[int]:
    """The classes of the objects of a scene."""
    setting = int(rng.integers(_SETTINGS))
    at_home, next_door = (
        [c for c in range(1, len(CLASS_NAMES)) if _setting(c) == s % _SETTINGS]
        for s in (setting, setting + 1)
    )
    met: list[int] = []
    for _ in range(1 + np.searchsorted(_OBJECTS, rng.random())):
        which, again = rng.random(2)
        if met and again < 0.35:
            met.append(met[int(rng.integers(len(met)))])
        elif which < 0.28:
            met.append(COMPANION)
        else:
            group = next_door if which > 0.97 else at_home
            met.append(group[int(rng.integers(len(group)))])
    return met


def _arranged(
    classes: list[int], extent: tuple[float, float], rng: np.random.Generator
) -> list[Placed]:
    """Objects in their places, the nearest last; one that would hide another is left out.

    The unit is the shorter side of the scene, whose `extent` is (W, H) in it.
    """
    placed: list[Placed] = []
    for class_id in classes:
        radius = 0.11 + 0.17 * rng.random()
        direction = int(rng.integers(64))
        for x, y in 0.14 + 0.72 * rng.random((_TRIES, 2)):
            one = Placed(
                class_id,
                SHAPES[(class_id - 1) % len(SHAPES)],
                (float(x) * extent[0], float(y) * extent[1]),
                radius,
                direction,
            )
            if all(one.is_clear_of(other, _CLEARANCE) for other in placed):
                placed.append(one)
                break
    return placed


def _annotated(placed: list[Placed], size: tuple[int, int]) -> tuple[Annotation, list[Raster]]:
    """What is where: masks with their VOID borders, and the objects of which a pixel is seen."""
    rasters = [rasterised(one, size) for one in placed]
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
    return Annotation(mask, np.where(border, np.uint8(VOID), owner), objects), rasters
