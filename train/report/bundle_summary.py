"""What is in a bundle, as sections of a report: for the terminal, for a page, for the demo."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from quire.artifacts.bins_table import BINS, Bins, read_bins
from quire.artifacts.bundle import Bundle
from quire.artifacts.graph_table import GRAPHS, Cells, read_cells
from quire.artifacts.index import Index
from quire.artifacts.manifest import MANIFEST, NO_SOURCE, Manifest
from quire.artifacts.perturbation_table import (
    PERTURBATIONS,
    Perturbation,
    read_perturbations,
)
from quire.train.report.bin_centres import centres_sheet
from quire.train.report.contact_sheet import class_names, contact_sheet
from quire.train.report.corruption_cells import cells_of, severities
from quire.train.report.page import Picture, Section, Table, Value, picture
from quire.train.report.perturbations import perturbation_table, perturbations_sheet
from quire.train.report.printable import NAME, printable

_ROWS = 50  # of a table that could have thousands
_LONGEST = 2_000  # characters of a list
_DENSITY = 2  # of a contact sheet on a page
_FIGURE_COLUMNS = 3
_OF_GRAPHS = (
    "Properties are those of the directed graphs. A graph for which one is not defined, as a mean"
    " over no pair of nodes, is left out there."
)


def title(manifest: Manifest) -> str:
    """A bundle in three words: kind, source and split; in one where it has no source."""
    recipe, source = manifest.identity.recipe, manifest.identity.source
    words = [recipe.get("kind")]
    if source.get("kind") != NO_SOURCE:
        words += [source.get("kind"), recipe.get("split", source.get("split"))]
    return " · ".join(printable(word, limit=NAME) for word in words)


def overview(bundle: Bundle) -> Section:
    """What the bundle holds."""
    manifest, identity = bundle.manifest, bundle.manifest.identity
    size = sum(shard.bytes for shard in manifest.shards) / 1e6
    values = {
        "kind": identity.recipe.get("kind"),
        "source": identity.source.get("kind"),
        "split": identity.recipe.get("split"),
        "samples": f"{manifest.samples:,}",
        "left out": f"{len(manifest.left_out):,}",
        "shards": f"{len(manifest.shards):,}, {size:,.1f} MB",
        "members": list(_members(bundle.index)),
        "columns": sorted(bundle.index.rows.columns),
        "classes": list(class_names(bundle)),
        "source sha256": identity.source.get("sha256"),
        "manifest sha256": bundle.manifest.sha256,
    }
    return Section("Bundle", tables=(facts(values),))


def origin(bundle: Bundle) -> tuple[Section, ...]:
    """How the bundle was made: recipe, files that it reads besides the source, libraries."""
    identity = bundle.manifest.identity
    recipe = {field: value for field, value in identity.recipe.items() if field != "kind"}
    parts = {"Recipe": recipe, "Further files": identity.inputs, "Libraries": identity.versions}
    return tuple(Section(name, tables=(facts(part),)) for name, part in parts.items() if part)


def facts(values: Mapping[str, Any]) -> Table:
    """A table of names and what there is to say of each."""
    rows = [(printable(name, limit=NAME), _said(value)) for name, value in values.items()]
    return Table(tuple(rows))


def _said(value: Any) -> str:
    """A value of the manifest, as a reader wants it."""
    if value is None or value == []:
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(text, limit=_LONGEST)


def _members(index: Index) -> Iterator[str]:
    """Each file of a sample, and how large it is."""
    for extension, lengths in sorted(index.rows.lengths.items()):
        ends = [int(lengths.min()), int(lengths.max())] if len(lengths) else []
        yield f"{extension} ({_range(ends)} B)"


def counts(bundle: Bundle) -> tuple[Section, ...]:
    """How many samples there are of what, and which could not be read."""
    tables = (*_of_cells(bundle.index), *_of_classes(bundle.index, class_names(bundle)))
    sections = [Section("Samples", tables=tables)] if tables else []
    if GRAPHS in bundle.manifest.files and (cells := read_cells(bundle)) is not None:
        sections.append(_of_grid(cells))
    if PERTURBATIONS in bundle.manifest.files:
        table = perturbation_table(read_perturbations(bundle))
        sections.append(Section("Perturbations", tables=(table,)))
    if left_out := bundle.manifest.left_out:
        rows = [
            tuple(
                printable(value, limit=NAME) for value in (sample.index, sample.file, sample.reason)
            )
            for sample in left_out[:_ROWS]
        ]
        table = _first(rows, len(left_out), ("number", "file", "reason"))
        sections.append(Section("Left out", tables=(table,)))
    return tuple(sections)


def _of_cells(index: Index) -> Iterator[Table]:
    """A row for each corruption."""
    cells = cells_of(index)
    rows = []
    for corruption, values in severities(cells).items():
        sizes = [len(cells[corruption, severity]) for severity in values]
        listed = ", ".join(f"{severity:g}" for severity in values[:_ROWS])
        rows.append((corruption, listed, _range(sizes), sum(sizes)))
    if rows:
        yield _first(rows, len(rows), ("corruption", "severities", "in each", "images"))


def _of_classes(index: Index, names: Sequence[str]) -> Iterator[Table]:
    """A row for each class."""
    labels = index.rows.columns.get("label")
    if labels is None or labels.dtype.kind not in "iu":
        return
    numbers, sizes = np.unique(labels, return_counts=True)
    rows = [
        (str(number), names[number] if 0 <= number < len(names) else "", size)
        for number, size in zip(numbers[:_ROWS].tolist(), sizes[:_ROWS].tolist(), strict=True)
    ]
    yield _first(rows, len(numbers), ("class", "name", "images"))


def _of_grid(cells: Cells) -> Section:
    """How often the cells of a grid gave a graph, by each parameter of theirs."""
    drawn, kept = int(cells.attempts.sum()), int(cells.accepted.sum())
    count = len(cells.attempts)
    values = {
        "graphs drawn": f"{drawn:,}",
        "graphs kept": f"{kept:,}",
        "cells": f"{count:,}",
        "kept in a pass over the cells": f"{count * kept / max(drawn, 1):.1f}",
    }
    rows: list[tuple[Value, ...]] = []
    for name, column in cells.parameters.items():
        for value in np.unique(column).tolist():
            here = column == value
            tried, found = int(cells.attempts[here].sum()), int(cells.accepted[here].sum())
            share = f"{100 * found / max(kept, 1):.1f} %"
            rows.append((printable(name, limit=NAME), f"{value:g}", tried, found, share))
    headings = ("parameter", "value", "drawn", "kept", "of those kept")
    return Section("Grid", tables=(facts(values), _first(rows, len(rows), headings)))


def _first(rows: Sequence[tuple[Value, ...]], count: int, headings: tuple[str, ...]) -> Table:
    """A table of `count` rows, cut where it would be endless."""
    caption = f"the first {_ROWS} of {count:,}" if count > _ROWS else ""
    return Table(tuple(rows[:_ROWS]), headings, caption)


def _range(numbers: Sequence[int]) -> str:
    """The least and the greatest of some numbers.

    >>> _range([3, 3]), _range([1, 2000, 5]), _range([])
    ('3', '1 to 2,000', 'no')
    """
    if not numbers:
        return "no"
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def pictures(bundle: Bundle) -> tuple[Section, ...]:
    """Images, distributions of graphs, centres of bins, perturbations: what there is to be seen.

    Raises:
        BundleError: a picture or the table is damaged.
    """
    sections = []
    if (sheet := contact_sheet(bundle, density=_DENSITY)) is not None:
        shown = picture(sheet, density=_DENSITY, description="contact sheet of the bundle's images")
        sections.append(Section("Contact sheet", pictures=(shown,)))
    if GRAPHS in bundle.manifest.files and len(bundle.index):
        sections.append(_distributions(bundle))
    if BINS in bundle.manifest.files:
        sections.append(_centres(read_bins(bundle)))
    if PERTURBATIONS in bundle.manifest.files:
        sections.append(_perturbations(read_perturbations(bundle)))
    return tuple(sections)


def _centres(bins: Bins) -> Section:
    sheet = centres_sheet(bins, density=_DENSITY)
    shown = picture(sheet, density=_DENSITY, description="centres of the bins")
    counts = f"{bins.counts.max():,} images in the largest, {bins.counts.min():,} in the smallest"
    said = f"Means of the images of {len(bins):,} bins, the largest first: {counts}."
    return Section("Centres", prose=(said,), pictures=(shown,))


def _perturbations(perturbations: Sequence[Perturbation]) -> Section:
    sheet = perturbations_sheet(perturbations, density=_DENSITY)
    shown = picture(sheet, density=_DENSITY, description="universal perturbations")
    said = "What is added to every image; grey is nothing, black and white are the bound."
    return Section("Pictures", prose=(said,), pictures=(shown,))


def _distributions(bundle: Bundle) -> Section:
    from quire.train.report.graph_figures import (
        distributions,  # these import matplotlib, which is slow
    )
    from quire.train.report.plots.figure import plot
    from quire.train.report.plots.style import WIDTH

    png = plot(distributions(bundle), columns=_FIGURE_COLUMNS)
    shown = Picture(png, WIDTH, "histograms of the graphs' properties")
    return Section("Distributions", prose=(_OF_GRAPHS,), pictures=(shown,))


def digests(bundle: Bundle) -> Section:
    """Every file with its size and sha256."""
    files = bundle.manifest.files.values()
    rows = tuple((file.name, file.bytes, file.sha256) for file in files)
    table = Table(rows, ("file", "bytes", "sha256"), f"{len(rows):,} files", folded=True)
    prose = (f"{MANIFEST} has sha256 {bundle.manifest.sha256}.",)
    return Section("Digests", prose=prose, tables=(table,))
