"""The centres of a bundle of bins as one picture: mean images, the largest bin first."""

import math

import numpy as np
from PIL import Image

from quire.artifacts.bins_table import Bins
from quire.train.report.thumbnails import SMALL

_GAP = 2  # pixels between two centres
_SHOWN = 400


def centres_sheet(bins: Bins, *, density: int) -> Image.Image:
    """The first centres, row by row, on white; each `density` times its size on a sheet."""
    levels = np.rint(bins.centres[:_SHOWN]).astype(np.uint8)
    factor = max(1, SMALL // max(levels.shape[1:3])) * density
    tiles = levels.repeat(factor, axis=1).repeat(factor, axis=2)
    if tiles.shape[3] == 1:
        tiles = tiles.repeat(3, axis=3)
    count, height, width, _ = tiles.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = Image.new(
        "RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP), "white"
    )
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(tile), (column * (width + _GAP), row * (height + _GAP)))
    return sheet
