"""The centres of a bundle of bins as one picture: mean images, the largest bin first."""

import numpy as np
from PIL import Image

from quire.artifacts.bins_table import Bins
from quire.train.report.thumbnails import SMALL
from quire.train.report.tiles import tiled

_SHOWN = 400


def centres_sheet(bins: Bins, *, density: int) -> Image.Image:
    """The first centres, row by row, on white; each `density` times its size on a sheet."""
    levels = np.rint(bins.centres[:_SHOWN]).astype(np.uint8)
    factor = max(1, SMALL // max(levels.shape[1:3])) * density
    tiles = levels.repeat(factor, axis=1).repeat(factor, axis=2)
    if tiles.shape[3] == 1:
        tiles = tiles.repeat(3, axis=3)
    return tiled([Image.fromarray(tile) for tile in tiles])
