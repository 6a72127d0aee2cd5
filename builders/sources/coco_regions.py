"""Regions of COCO annotations as pixels: polygons, and run lengths, compressed or not.

Polygons become run lengths by pycocotools. Run lengths become pixels here: pycocotools would give
memory that nobody wrote for runs that end before the picture does.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from quire.builders.sources.tree import UnfitError

Region: TypeAlias = NDArray[np.bool_]  # (height, width)

_NO_REGION = "a segmentation that is neither polygons nor run lengths"
_FIRST = 48  # the character of zero in compressed run lengths: five bits each, a sixth says go on


def region(segmentation: Any, height: int, width: int) -> Region:
    """The pixels of a segmentation as the JSON has it. -> (H, W) bool.

    Raises:
        UnfitError: it is neither polygons nor run lengths, or does not fit the picture.
    """
    if isinstance(segmentation, list):
        return _polygons(segmentation, height, width)
    if not isinstance(segmentation, Mapping) or segmentation.get("size") != [height, width]:
        raise UnfitError(f"{_NO_REGION} of a {width}x{height} picture")
    counts = segmentation.get("counts")
    runs = _decompressed(counts) if isinstance(counts, str) else counts
    return _filled(runs, height, width)


def _filled(runs: Any, height: int, width: int) -> Region:
    """Run lengths as pixels: they go down the columns, and begin outside."""
    if not isinstance(runs, list) or any(type(run) is not int or run < 0 for run in runs):
        raise UnfitError(_NO_REGION)
    if sum(runs) != height * width:
        raise UnfitError(f"run lengths of {sum(runs)} pixels; the picture has {height * width}")
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return columns.reshape(height, width, order="F")


def _polygons(polygons: Sequence[Any], height: int, width: int) -> Region:
    """All polygons as one region. Each is x, y, x, y, ...; it may leave the picture a little."""
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise UnfitError("a polygon that is not at least three pairs of numbers")
        for side, numbers in ((width, polygon[::2]), (height, polygon[1::2])):
            # the work on a line grows with its length, so that must not be anything at all
            if not all(_is_number(n) and -side <= n <= 2 * side for n in numbers):
                raise UnfitError("a polygon that lies far outside the picture")
    if not polygons:
        raise UnfitError("a segmentation without polygons")
    merged = rle.merge(rle.frPyObjects(polygons, height, width))
    return _filled(_decompressed(merged["counts"].decode()), height, width)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _decompressed(text: str) -> list[int]:
    """COCO's compressed run lengths: from the fourth on they are differences to the last but one.

    >>> _decompressed("02208")
    [0, 2, 2, 2, 10]
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - _FIRST
        if not 0 <= bits < 64 or shift > 60:
            raise UnfitError("run lengths with a character that they never have")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # negative
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise UnfitError("run lengths that are cut off")
    return runs
