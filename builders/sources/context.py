"""Drawn scenes whose objects have a companion: how much a network leans on context can be measured.

Five objects in dull colours that vary, told by their shapes; five companions in vivid colours,
which are easy to see. In training an object is with its own companion, always or often; the splits
for tests have both together, the object only, the object with the companion of another, and
companions alone. A network that has learned the objects knows them in all of these; one that has
learned the companions instead knows objects beside their own alone (contextual bias; Singh et al.
2020, "Don't judge an object by its context").
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from quire.artifacts.errors import SourceError
from quire.builders.draws import sample_rng
from quire.builders.sources import layout
from quire.builders.sources.drawn_scenes import DrawnScenes, arranged, options_of
from quire.builders.sources.shape_drawing import Placed, Tint

Bias: TypeAlias = Literal["always", "often"]

COMPANIONS = ("red_disc", "green_square", "blue_disc", "yellow_square", "violet_disc")
OBJECTS = ("ring", "cross", "square", "triangle", "disc")
CLASS_NAMES = ("background", *COMPANIONS, *OBJECTS)
TRAIN, TOGETHER, ONLY, SWAPPED, ALONE = SPLITS = (
    *("train", "together", "only", "swapped", "companions"),
)

_PAIRS = len(OBJECTS)
_DRAWING = "1"  # to be counted up whenever a scene comes out otherwise
_VIVID = ((220, 50, 45), (50, 180, 60), (50, 80, 220), (225, 200, 40), (160, 60, 190))
_GREYS = ((120, 160, 160), (170, 120, 140), (140, 150, 90), (110, 110, 150), (170, 150, 110))
_TINTS = (*(Tint(one, 50) for one in _VIVID), *(Tint(one, 140) for one in _GREYS))
_SHAPES = (*(name.split("_")[1] for name in COMPANIONS), *OBJECTS)
_RADII, _CLEARANCE, _TRIES = (0.16, 0.10), 0.75, 60
_COMPANION_ALONE = 0.2  # of the scenes of training
_OFTEN = (0.80, 0.92)  # objects with their own companion, and those with no other one


@dataclass(frozen=True, slots=True)
class ContextScenes(DrawnScenes):
    """Drawn scenes of objects and their companions."""

    bias: Bias = "always"

    @property
    def kind(self) -> str:
        """`context`."""
        return "context"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The background, the companions, and the objects in the order of theirs."""
        return CLASS_NAMES

    def placed(self, index: int) -> list[Placed]:
        """The shapes of a scene, the nearest last."""
        rng = sample_rng(self.seed, f"context/{self.split}/objects", index)
        shapes = [(class_id, _SHAPES[class_id - 1]) for class_id in self._met(rng)]
        return arranged(shapes, self.extent, rng, radii=_RADII, clearance=_CLEARANCE, tries=_TRIES)

    def tint(self, one: Placed) -> Tint:
        """The colour of a shape's class."""
        return _TINTS[one.class_id - 1]

    def about(self) -> dict[str, str]:
        """The version of the drawing, and how often companions are there."""
        return {"drawing": _DRAWING, "bias": self.bias}

    def _met(self, rng: np.random.Generator) -> list[int]:
        """The classes of a scene, in random order."""
        pair, step = int(rng.integers(_PAIRS)), 1 + int(rng.integers(_PAIRS - 1))
        kind, order = rng.random(2)
        own, other = 1 + pair, 1 + (pair + step) % _PAIRS
        target = 1 + _PAIRS + pair
        met = {
            TRAIN: self._trained_on(float(kind), own, other, target),
            TOGETHER: [own, target],
            ONLY: [target],
            SWAPPED: [other, target],
            ALONE: [own],
        }[self.split]
        return met[::-1] if order < 0.5 else met

    def _trained_on(self, kind: float, own: int, other: int, target: int) -> list[int]:
        if kind < _COMPANION_ALONE:
            return [own]
        if self.bias == "always":
            return [own, target]
        share = (kind - _COMPANION_ALONE) / (1 - _COMPANION_ALONE)
        if share < _OFTEN[0]:
            return [own, target]
        return [target] if share < _OFTEN[1] else [other, target]


def open_context(where: str, split: str) -> ContextScenes:
    """Open such scenes: `N?size=S&seed=K&bias=often`, each part of which may be left out.

    Raises:
        SourceError: an unknown split or option, or numbers that are none or out of range.
    """
    layout.check_split("context", split, SPLITS)
    given = options_of("context", where, ("bias",))
    bias: Bias | None = {one: one for one in get_args(Bias)}.get(given.others.get("bias", "always"))
    if bias is None:
        told = given.others["bias"]
        raise SourceError(f"context: bias may be {' or '.join(get_args(Bias))}, not {told!r}")
    return ContextScenes(split, given.length, given.size, given.seed, bias=bias)
