"""Drawing a sheet of small pictures: bands of lines, with labels, headings and captions."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

# pixels, to be multiplied by the density
_MARGIN = 20
_GAP = 10  # between tiles
_SEAM = 2  # between the pictures of one tile
_BAND = 12  # between bands
_TEXT, _SMALL = 15, 13  # labels and headings; captions
_LABEL = 200  # that a label may take
_CAPTION = 120  # to which a narrow tile is widened for its caption

_PAPER, _INK, _FAINT = "white", "#1c1c1e", "#66666b"

Pictures: TypeAlias = Mapping[int, Sequence[Image.Image]]  # of a sample, by its row
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class Tile:
    """Samples side by side, by row of the index, and what is written under them."""

    rows: tuple[int, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """Tiles in columns, and what is written to their left."""

    label: str
    tiles: tuple[Tile | None, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """Lines under common headings; `corner` says what the headings are."""

    corner: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """The measures of a sheet in its own pixels; every tile is as wide as every other."""

    pictures: Pictures
    unit: int  # the density
    text: Font
    small: Font
    label: int  # width of the labels, with the gap behind them
    tile: int  # width
    caption: int  # height

    def column(self, number: int) -> int:
        """Where a column of tiles begins."""
        return _MARGIN * self.unit + self.label + number * (self.tile + _GAP * self.unit)

    def picture(self, line: Line) -> int:
        """Height of a line's highest picture, or of its label where that is higher."""
        rows = [row for tile in line.tiles if tile for row in tile.rows]
        return max(_TEXT * self.unit, *(p.height for row in rows for p in self.pictures[row]), 0)

    def line(self, line: Line) -> int:
        """Height of a line, with the space below it."""
        return self.picture(line) + self.caption + _GAP * self.unit

    @property
    def heading(self) -> int:
        """Height of the headings."""
        return (_TEXT + _GAP) * self.unit

    def band(self, band: Band) -> int:
        """Height of a band, with the space below it."""
        headings = self.heading if band.headings else 0
        return headings + sum(map(self.line, band.lines)) + _BAND * self.unit


def draw(
    bands: Sequence[Band], pictures: Pictures, *, density: int = 1, remark: str = ""
) -> Image.Image:
    """The sheet in RGB; text that is longer than its place is cut and ends in an ellipsis."""
    form = _form(bands, pictures, density)
    columns = max(len(line.tiles) for band in bands for line in band.lines)
    margin, below = _MARGIN * density, (_SMALL + _BAND) * density if remark else 0
    width = max(form.column(columns) - _GAP * density + margin, 2 * margin + _LABEL * density)
    height = 2 * margin - (_GAP + _BAND) * density + sum(map(form.band, bands)) + below
    sheet = Image.new("RGB", (width, height), _PAPER)
    y = margin
    for band in bands:
        _draw_band(sheet, form, band, y)
        y += form.band(band)
    if remark:
        text = _cut(remark, form.small, width - 2 * margin)
        ImageDraw.Draw(sheet).text((margin, y), text, _FAINT, form.small)
    return sheet


def _form(bands: Sequence[Band], pictures: Pictures, unit: int) -> _Form:
    lines = [line for band in bands for line in band.lines]
    tiles = [tile for line in lines for tile in line.tiles if tile]
    text, small = ImageFont.load_default(_TEXT * unit), ImageFont.load_default(_SMALL * unit)
    labels = {line.label for line in lines} | {band.corner for band in bands if band.headings}
    label = max(text.getlength(drawable(name)) for name in labels)
    caption = max(small.getlength(drawable(tile.caption)) for tile in tiles)
    return _Form(
        pictures=pictures,
        unit=unit,
        text=text,
        small=small,
        label=ceil(min(label, _LABEL * unit)) + (2 * _GAP * unit if label else 0),
        tile=max(
            *(_width(tile, pictures, unit) for tile in tiles), ceil(min(caption, _CAPTION * unit))
        ),
        caption=(_SMALL + _GAP) * unit if caption else 0,
    )


def _width(tile: Tile, pictures: Pictures, unit: int) -> int:
    widths = [picture.width for row in tile.rows for picture in pictures[row]]
    return sum(widths) + (len(widths) - 1) * _SEAM * unit


def _draw_band(sheet: Image.Image, form: _Form, band: Band, y: int) -> None:
    pen = ImageDraw.Draw(sheet)
    if band.headings:
        left, base = _MARGIN * form.unit, y + _TEXT * form.unit
        pen.text((left, base), drawable(band.corner), _FAINT, form.text, anchor="ls")
        for number, heading in enumerate(band.headings):
            place = form.column(number) + form.tile // 2, base
            pen.text(place, _cut(heading, form.text, form.tile), _FAINT, form.text, anchor="ms")
        y += form.heading
    for line in band.lines:
        height = form.picture(line)
        label = _cut(line.label, form.text, _LABEL * form.unit)
        place = _MARGIN * form.unit, y + height // 2
        pen.text(place, label, _INK, form.text, anchor="lm")
        for number, tile in enumerate(line.tiles):
            if tile is not None:
                x = form.column(number)
                _paste(sheet, form, tile, x, y)
                caption = _cut(tile.caption, form.small, form.tile)
                base = y + height + (_SMALL + 3) * form.unit
                pen.text((x, base), caption, _INK, form.small, anchor="ls")
        y += form.line(line)


def _paste(sheet: Image.Image, form: _Form, tile: Tile, x: int, y: int) -> None:
    for row in tile.rows:
        for picture in form.pictures[row]:
            sheet.paste(picture, (x, y))
            x += picture.width + _SEAM * form.unit


def drawable(text: str) -> str:
    """What of a text Pillow's own font can draw: accents are dropped, other scripts become `?`.

    >>> drawable("café"), drawable("数")
    ('cafe', '?')
    """
    letters = [c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)]
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in letters)


def _cut(text: str, font: Font, width: float) -> str:
    """A text that fits into a width."""
    shown = drawable(text)
    if font.getlength(shown) <= width:
        return shown
    while shown and font.getlength(f"{shown}…") > width:
        shown = shown[:-1]
    return f"{shown}…"
