"""`quire show`: what is in a bundle, on the terminal, as a picture and as a page."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich import table
from rich.console import Console
from rich.text import Text

from quire.artifacts.address import place_of
from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import whole_file
from quire.artifacts.errors import BundleError
from quire.loaders.reading.cache import content, is_cache
from quire.train.report import bundle_summary
from quire.train.report.contact_sheet import contact_sheet
from quire.train.report.page import Section, Table, shown, write_page

_ENDLESS = 1 << 16  # columns where the output is no terminal: nothing is wrapped


def show(
    bundle: str | os.PathLike[str], *, html: Path | None = None, png: Path | None = None
) -> None:
    """Write a bundle's contact sheet as a picture and all about it as a page; print the latter.

    Of a cache (`quire.loaders.reading.cache`) print how much is in it.

    Raises:
        BundleError: the bundle is incomplete or damaged, or has no images for the picture.
    """
    place = place_of(bundle)
    if isinstance(place, Path) and is_cache(place):
        found = content(place)
        print(f"{place}: a cache of what was fetched: {found.files:,} files, {found.bytes:,} bytes")
        return
    opened = open_bundle(place)
    overview, counts, origin = (
        bundle_summary.overview(opened),
        bundle_summary.counts(opened),
        bundle_summary.origin(opened),
    )
    if png is not None:
        sheet = contact_sheet(opened)
        if sheet is None:
            raise BundleError(f"{place} has no images for a contact sheet")
        png.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(png) as file:
            sheet.save(file, "PNG")
    if html is not None:
        pictures, digests = bundle_summary.pictures(opened), bundle_summary.digests(opened)
        sections = (overview, *pictures, *counts, *origin, digests)
        write_page(html, bundle_summary.title(opened.manifest), sections)
    print_sections((overview, *counts, *origin))  # last, for a reader such as `head` may be gone


def print_sections(sections: Sequence[Section]) -> None:
    """Print headings and tables: in colour on a terminal, else plain text without line breaks."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _ENDLESS
    with console.capture() as captured:
        for section in sections:
            console.print(Text(section.heading, "bold"))
            for one in section.tables:
                console.print(_laid_out(one), Text(one.caption, "dim"))
    for line in captured.get().splitlines():
        print(line.rstrip())


def _laid_out(source: Table) -> table.Table:
    """A table of ours as rich draws it."""
    drawn = table.Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(source.headings)
    )
    first = source.rows[0] if source.rows else source.headings
    for number, value in enumerate(first):
        heading = Text(source.headings[number], "dim") if source.headings else ""
        style = "" if source.headings or number else "dim"
        if isinstance(value, str):
            drawn.add_column(heading, style=style, overflow="fold")
        else:
            drawn.add_column(heading, style=style, justify="right", no_wrap=True)
    for row in source.rows:
        drawn.add_row(*(Text(shown(value)) for value in row))
    return drawn
