"""Universal perturbations in a table and as one picture."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from quire.artifacts.perturbation_table import Perturbation
from quire.train.report.page import Table
from quire.train.report.printable import NAME, printable
from quire.train.report.thumbnails import LARGE
from quire.train.report.tiles import tiled

_SHOWN = 100
_AT_BOUND = 1e-4  # grey levels from its bound at which a value counts as at it


def perturbation_table(perturbations: Sequence[Perturbation]) -> Table:
    """What each is, and how its file was read: nothing in the file says it."""
    rows = []
    for one in perturbations[:_SHOWN]:
        _, height, width = one.delta.shape
        at_bound = float((np.abs(one.delta) >= one.xi - _AT_BOUND).mean())
        read = f"{one.channels}, {one.axes}" if one.file else ""
        words = one.name, f"{width}x{height}", f"{one.xi:g}", f"{100 * at_bound:.0f} %"
        flipped = "" if math.isnan(one.flipped) else f"{100 * one.flipped:.1f} %"
        row = *words, one.origin, one.of, one.prior, flipped, read
        rows.append(tuple(printable(word, limit=NAME) for word in row))
    headings = (
        *("perturbation", "size", "bound", "values at the bound"),
        *("origin", "of", "prior", "predictions changed", "file read as"),
    )
    count = len(perturbations)
    caption = f"the first {_SHOWN} of {count:,}" if count > _SHOWN else ""
    return Table(tuple(rows), headings, caption)


def perturbations_sheet(perturbations: Sequence[Perturbation], *, density: int) -> Image.Image:
    """Perturbations side by side: 0 is grey, and the bound is black and white."""
    side = LARGE * density
    tiles = []
    for one in perturbations[:_SHOWN]:
        levels = np.rint(255 * (one.delta.transpose(1, 2, 0) / one.xi + 1) / 2).astype(np.uint8)
        tiles.append(Image.fromarray(levels).resize((side, side), Image.Resampling.BOX))
    return tiled(tiles)
