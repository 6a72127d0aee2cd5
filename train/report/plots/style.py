"""How figures look: sizes, colours and markers, the same for panels of every kind."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, TypeAlias

from matplotlib.colors import to_hex, to_rgb

Look: TypeAlias = dict[str, Any]  # how matplotlib is to draw a line
Key: TypeAlias = tuple[str | None, bool]  # label, if any, and whether it is a reference

WIDTH = 800  # pixels a figure is to be shown wide
DENSITY = 2  # how many times as wide it is drawn
INCH = 100  # pixels shown

TEXT, TITLE, SMALL = 10, 11, 9  # points
INK, FAINT, LINE = "#1c1c1e", "#66666b", "#e2e2e6"
BAND = 0.14  # opacity

# Okabe & Ito, Color Universal Design (2008): told apart with any colour vision. Strong ones come
# first; their yellow is too faint for a line on white, their black too near to a reference's grey.
# There is one marker more than colours: the seventh curve has the first colour and a new marker.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MARKERS = {"o": 6.5, "s": 6, "^": 7.5, "D": 5.5, "v": 7.5, "P": 7.5, "X": 7.5}  # and points wide
_GREY = "#55555a"

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": TITLE,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.frameon": False,
    "legend.title_fontsize": SMALL,
}


@dataclass(frozen=True, slots=True)
class Size:
    """Inches that a panel has."""

    width: float  # labels included
    height: float  # and title
    inside: float  # of the width: about what is left to the axes, which begin below each other


def looks_of(keys: Iterable[Key]) -> dict[Key, Look]:
    """How what has each key looks, in the order in which the keys first come."""
    plain, grey = _plain(), _grey()
    return {key: next(grey if key[1] else plain) for key in dict.fromkeys(keys)}


def _plain() -> Iterator[Look]:
    for color, marker in zip(cycle(COLOURS), cycle(_MARKERS), strict=False):
        yield {"color": color, "linewidth": 1.8, "zorder": 3, **_marked(marker)}


def _grey() -> Iterator[Look]:
    line: Look = {"color": _GREY, "linewidth": 1.6, "linestyle": (0, (4, 2)), "zorder": 2}
    for marker in cycle(reversed(_MARKERS)):
        yield {**line, **_marked(marker)}


def _marked(marker: str) -> Look:
    edge: Look = {"markeredgecolor": "white", "markeredgewidth": 0.7}
    return {"marker": marker, "markersize": _MARKERS[marker], **edge}


def tint(color: str, share: float) -> str:
    """A colour thinned with white, opaque so that no grid shines through.

    >>> tint("#000000", 1), tint("#000000", 0.2)
    ('#000000', '#cccccc')
    """
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(color))
    return to_hex((red, green, blue))
