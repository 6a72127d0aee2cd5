"""Pictures of one size side by side."""

import math
from collections.abc import Sequence

from PIL import Image

_GAP = 2  # pixels between two of them


def tiled(tiles: Sequence[Image.Image]) -> Image.Image:
    """Pictures row by row on white, in about as many rows as columns; all have the first's size."""
    width, height = tiles[0].size
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    size = columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP
    sheet = Image.new("RGB", size, "white")
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        sheet.paste(tile, (column * (width + _GAP), row * (height + _GAP)))
    return sheet
