"""A report as one HTML page that needs nothing else: no network, no script, no other file.

A page is a sequence of sections; whoever has more to tell appends one. Every text is escaped and
freed of control characters, as names may come from a stranger's bundle, and the page forbids the
browser to load anything.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import jinja2
from PIL import Image

from quire.artifacts.digest import whole_file
from quire.train.report.printable import printable

Value: TypeAlias = str | int | float  # numbers stand to the right


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of values; without headings each row is a name and what there is to say of it."""

    rows: tuple[tuple[Value, ...], ...]
    headings: tuple[str, ...] = ()
    caption: str = ""
    folded: bool = False  # closed until the reader opens it; it needs a caption


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG, shown `width` pixels wide."""

    png: bytes
    width: int
    description: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, paragraphs, tables and pictures, in this order."""

    heading: str
    prose: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


def picture(image: Image.Image, *, density: int, description: str) -> Picture:
    """A picture that was drawn `density` times as large as it is to be shown."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return Picture(file.getvalue(), image.width // density, description)


def page(title: str, sections: Sequence[Section]) -> str:
    """The page; the same arguments give the same text."""
    return _template().render(title=title, sections=sections)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "base64": _base64}
    return environment.get_template("page.html")


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Write the page whole or not at all; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(page(title, sections).encode())


def shown(value: Value) -> str:
    """A value as tables have it.

    >>> shown(12345), shown(1234.5), shown(0.125), shown("a\\n")
    ('12,345', '1,234.50', '0.12', 'a\\\\n')
    """
    if isinstance(value, str):
        return printable(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
