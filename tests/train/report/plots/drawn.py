"""What is drawn, as pixels: colours, text, and where they are."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quire.train.report.plots.figure import Panel, plot

OKABE_ITO = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # as drawn
BLUE, VERMILION = OKABE_ITO[:2]
GREY = "#55555a"  # of references
GRID = "#e2e2e6"
FAINT = "#66666b"  # of remarks


def pixels(panels: Sequence[Panel], **options: Any) -> NDArray[np.uint8]:
    """What is drawn, without the legend if there is but one row of panels: (H, W, 3) uint8."""
    image = Image.open(io.BytesIO(plot(panels, **options)))
    return np.asarray(image.convert("RGB"))


def mask(
    image: NDArray[np.uint8], color: str, *, opacity: float = 1, over: str = "#ffffff"
) -> NDArray[np.bool_]:
    """Where a colour is, or what it gives over another: (H, W, 3) -> (H, W)."""
    upper, lower = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (color, over))
    wanted = opacity * upper + (1 - opacity) * lower
    return np.asarray((np.abs(image - wanted) <= 1).all(axis=2))


def above_legend(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The panels alone."""
    return image[: int(0.75 * len(image))]


def ink(image: NDArray[np.uint8]) -> int:
    """How much text there is: nothing else is so dark."""
    return int((image.max(axis=2) < 60).sum())


def strokes(line: NDArray[np.bool_]) -> int:
    """How many runs of true there are. (n,)."""
    return int(np.count_nonzero(np.diff(np.pad(line, 1).astype(int)) == 1))
