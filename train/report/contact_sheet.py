"""A bundle as one picture, for the eye to check what digests cannot.

A corrupted bundle becomes a grid with a line for each corruption and a column for each severity;
the same source images stand in every cell. Any other bundle shows samples from all over it with
their classes. What is drawn follows from the bundle alone.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image

from quire.artifacts.bundle import Bundle
from quire.artifacts.index import Index
from quire.builders.engine.plan import cut
from quire.train.report.corruption_cells import CLEAN, Cells, Rows, cells_of, severities
from quire.train.report.printable import NAME, decoded, printable
from quire.train.report.sheet import Band, Line, Tile, draw
from quire.train.report.thumbnails import pictured, thumbnails

_WIDTH = 960  # pixels of the pictures in a line of a plain bundle
_TILE_WIDTH = 200  # of the pictures in a cell of a corrupted one
_LINES = 6  # of a plain bundle
_COLUMNS = 10  # at most; further severities go on in a band of their own
_CELLS = 600  # at most
_CHOICE = 1000  # source images among which those shown are chosen


@dataclass(frozen=True, slots=True)
class Plan:
    """What stands where on a sheet, by row of the index, and a remark below it."""

    bands: tuple[Band, ...]
    remark: str = ""


def contact_sheet(bundle: Bundle, *, density: int = 1) -> Image.Image | None:
    """The contact sheet of a bundle; None for one without samples or without pictures.

    `density` enlarges everything, type too: 2 is for screens with small pixels.

    Raises:
        BundleError: a picture is damaged.
    """
    if not len(bundle.index) or not pictured(bundle.index):
        return None
    width = sum(picture.width for picture in thumbnails(bundle, 0, density=1))
    plan = layout(bundle.index, class_names(bundle), width)
    tiles = [tile for band in plan.bands for line in band.lines for tile in line.tiles if tile]
    pictures = {
        row: thumbnails(bundle, row, density=density)
        for row in sorted({row for tile in tiles for row in tile.rows})
    }
    return draw(plan.bands, pictures, density=density, remark=plan.remark)


def class_names(bundle: Bundle) -> tuple[str, ...]:
    """The names of the classes 0, 1, ... as far as the manifest has them."""
    names = bundle.manifest.identity.source.get("class_names")
    return tuple(printable(n, limit=NAME) for n in names) if isinstance(names, list) else ()


def layout(index: Index, names: Sequence[str], width: int) -> Plan:
    """What to show of a bundle whose samples' pictures are `width` pixels wide."""
    cells = cells_of(index)
    if cells:
        return _corrupted(index, cells, images=min(3, max(1, _TILE_WIDTH // width)))
    return _plain(index, names, columns=min(12, max(1, _WIDTH // width)))


def _plain(index: Index, names: Sequence[str], *, columns: int) -> Plan:
    """Samples at even distances, as a sorted bundle would otherwise show one class alone."""
    count = min(len(index), columns * _LINES)
    rows = [i * len(index) // count for i in range(count)]
    tiles = [Tile((row,), _caption(index, names, row)) for row in rows]
    lines = [Line("", tuple(tiles[start:stop])) for start, stop in cut(count, columns)]
    return Plan((Band("", (), tuple(lines)),))


def _caption(index: Index, names: Sequence[str], row: int) -> str:
    """A sample's class; its key where it has none."""
    labels = index.rows.columns.get("label")
    if labels is None or labels.dtype.kind not in "iu":
        return decoded(index.rows.keys[row])
    label = int(labels[row])
    return names[label] if 0 <= label < len(names) else f"class {label}"


def _corrupted(index: Index, cells: Cells, *, images: int) -> Plan:
    """A line for each corruption; those with the same severities form a band."""
    shown = dict(islice(cells.items(), _CELLS))
    chosen = _sources(index, np.concatenate(list(shown.values())), images)
    bands: list[Band] = []
    for corruption, values in severities(shown).items():
        for start, stop in cut(len(values), _COLUMNS):
            part = values[start:stop]
            tiles = [_tile(index, shown[corruption, severity], chosen) for severity in part]
            line = Line(corruption, tuple(tiles))
            headings = () if corruption == CLEAN else tuple(f"{severity:g}" for severity in part)
            if bands and bands[-1].headings == headings:
                bands[-1] = Band("severity", headings, (*bands[-1].lines, line))
            else:
                bands.append(Band("severity", headings, (line,)))
    missing = len(cells) - len(shown)
    return Plan(tuple(bands), f"{missing:,} more cells are not shown" if missing else "")


def _sources(index: Index, rows: Rows, images: int) -> list[int]:
    """The source images to show: those in most cells, of different classes where there are some."""
    columns = index.rows.columns
    numbers, first, times = np.unique(
        columns["source_index"][rows], return_index=True, return_counts=True
    )
    common = np.lexsort((numbers, -times))[:_CHOICE]
    if "label" not in columns:
        return sorted(numbers[common[:images]].tolist())
    seen: Counter[float] = Counter()
    ranked = []  # by how many of its class stand before
    for place, label in enumerate(columns["label"][rows[first[common]]].tolist()):
        ranked.append((seen[label], place))
        seen[label] += 1
    places = [place for _, place in sorted(ranked)[:images]]
    return sorted(numbers[common[places]].tolist())


def _tile(index: Index, rows: Rows, chosen: Sequence[int]) -> Tile | None:
    """The chosen source images in one cell; nothing where it has none of them."""
    sources = index.rows.columns["source_index"][rows]
    found = [rows[np.flatnonzero(sources == number)[:1]].tolist() for number in chosen]
    shown = tuple(row for one in found for row in one)
    return Tile(shown) if shown else None
