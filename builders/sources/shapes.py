"""The source of scenes that needs no download: drawn shapes, in the form of Pascal VOC.

Twenty classes, each a shape in a colour, so neither tells the class alone; instances that hide one
another, a VOID border around each, flags of what is occluded or cut off by the frame. Which
classes meet is not left to chance: four classes or so belong to one of five settings, and a scene
has one setting. Classes of one setting often meet, those of neighbouring settings seldom, others
never; `blue_disc`, which has the number of VOC's person, belongs to none and comes into all of
them. Told apart from the background alone, shapes are salient objects.
"""

from dataclasses import dataclass

import numpy as np

from quire.artifacts.errors import SourceError
from quire.builders.draws import sample_rng
from quire.builders.sources import layout
from quire.builders.sources.drawn_scenes import DrawnScenes, arranged, options_of
from quire.builders.sources.saliency import CLASS_NAMES as SALIENCY
from quire.builders.sources.scene import Annotation
from quire.builders.sources.shape_drawing import Placed, Tint

SHAPES = ("ring", "cross", "square", "triangle", "disc")
COLOURS = {
    "red": (205, 65, 55),
    "green": (70, 165, 75),
    "blue": (65, 95, 205),
    "yellow": (215, 185, 60),
}
CLASS_NAMES = ("background", *(f"{colour}_{shape}" for colour in COLOURS for shape in SHAPES))
COMPANION = CLASS_NAMES.index("blue_disc")

_SPLITS = ("train", "val")
_SALIENT = "salient"
_DRAWING = "1"  # to be counted up whenever a scene comes out otherwise
_SPREAD = 50  # levels, by which colours vary
_SETTINGS = 5
_OBJECTS = (0.48, 0.70, 0.82, 0.89, 1.0)  # how many objects, summed up: about as VOC's val split
_TRIES = 12  # to find a place that hides no other object
_RADII, _CLEARANCE = (0.11, 0.17), 0.6
_TINTS = tuple(Tint(colour, _SPREAD) for colour in COLOURS.values())


@dataclass(frozen=True, slots=True)
class Shapes(DrawnScenes):
    """Drawn scenes. One depends on seed, split, size and its own number alone.

    Of `salient` ones the masks, without VOID borders, say where any object is and nothing else.
    """

    salient: bool = False

    @property
    def kind(self) -> str:
        """`shapes`."""
        return "shapes"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background, then colour and shape of each class; or what is salient."""
        return SALIENCY if self.salient else CLASS_NAMES

    @property
    def tells_apart(self) -> bool:
        """Whether the classes are told."""
        return not self.salient

    def told(self, truth: Annotation) -> Annotation:
        """Of salient objects no more than where one is, border and all."""
        return Annotation((truth.mask > 0).astype(np.uint8)) if self.salient else truth

    def placed(self, index: int) -> list[Placed]:
        """The shapes of a scene, the nearest last."""
        rng = sample_rng(self.seed, f"shapes/{self.split}/objects", index)
        shapes = [(class_id, SHAPES[(class_id - 1) % len(SHAPES)]) for class_id in _met(rng)]
        return arranged(shapes, self.extent, rng, radii=_RADII, clearance=_CLEARANCE, tries=_TRIES)

    def tint(self, one: Placed) -> Tint:
        """The colour of a shape's class."""
        return _TINTS[(one.class_id - 1) // len(SHAPES)]

    def about(self) -> dict[str, str]:
        """The version of the drawing, and what masks say."""
        return {"drawing": _DRAWING} | ({"classes": _SALIENT} if self.salient else {})


def open_shapes(where: str, split: str) -> Shapes:
    """Open drawn scenes: `N?size=S&seed=K&classes=salient`; each part may be left out.

    Raises:
        SourceError: an unknown split or option, or numbers that are none or out of range.
    """
    layout.check_split("shapes", split, _SPLITS)
    given = options_of("shapes", where, ("classes",))
    classes = given.others.get("classes")
    if classes not in (None, _SALIENT):
        raise SourceError(f"shapes: classes may be {_SALIENT}, not {classes!r}")
    return Shapes(split, given.length, given.size, given.seed, salient=classes is not None)


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
