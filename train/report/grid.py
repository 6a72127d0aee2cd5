"""A table of a paper, ours beside the paper's: for the terminal, for a page, for a spreadsheet.

In what is shown, each row of the paper takes two lines: what we measured, and under it, digit under
digit, what the paper reports. A dash stands where there is nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, pairwise
from textwrap import wrap
from typing import TypeAlias

from rich.cells import cell_len

from quire.train.report.intervals import STATISTICS, csv_text, interval, joined, statistics_of
from quire.train.report.page import Table
from quire.train.report.printable import printable

Cell: TypeAlias = tuple[str, str]  # row and column
Lines: TypeAlias = list[str]  # of one column of the text, all equally wide

_NOTHING = "\N{EN DASH}"
_PAPER = "paper"
_GAP = "   "  # between columns
_WIDTH = 100  # of the terminal


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of a paper: what we measured beside what it reports.

    A cell that is not in `values`, or has none there, was not measured. `paper` may hold more than
    the rows and columns shown, so that a part of a table can be set beside the whole.

    Raises:
        ValueError: a cell was measured that is in no row and column, or a name is there twice.
    """

    title: str
    values: Mapping[Cell, Sequence[float]]  # one value for each seed; percent or any other unit
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    paper: Mapping[Cell, str | float] = field(default_factory=dict)  # a string as it is printed
    corner: str = "model"  # what the rows are: the heading of the first column
    decimals: int = 2
    over: str = "seed"  # what a cell has several values of

    def __post_init__(self) -> None:
        for kind, names in {"rows": self.rows, "columns": self.columns}.items():
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{self.title}: {kind} named twice: {sorted(twice)}")
        cells = {(row, column) for row in self.rows for column in self.columns}
        if strays := self.values.keys() - cells:
            raise ValueError(f"{self.title}: measured, but in no row and column: {sorted(strays)}")


def as_text(grid: Grid, *, width: int = _WIDTH) -> str:
    """The table as aligned lines, the last without its end.

    A table that is wider than `width` is split into blocks, as even as possible, each with the
    names of the rows; only what does not fit with a single column is wider.
    """
    headings = [_wrapped(grid, column) for column in grid.columns]
    top = max(map(len, headings), default=1)
    columns = [
        _equally_wide([""] * (top - len(heading)) + heading + _cells(grid, column))
        for heading, column in zip(headings, grid.columns, strict=True)
    ]
    names = _equally_wide([""] * (top - 1) + [printable(grid.corner)] + _names(grid, indent="  "))
    blocks = ["\n".join(block) for block in _blocks(names, columns, width)]
    return "\n".join([printable(grid.title), "\n\n".join(blocks), note(grid)])


def as_table(grid: Grid) -> Table:
    """The table for a report, with its title and what the numbers are as the caption."""
    columns = [_cells(grid, column, aligned=False) for column in grid.columns]
    return Table(
        rows=tuple(zip(_names(grid, indent="· "), *columns, strict=True)),
        headings=(grid.corner, *grid.columns),
        caption=f"{grid.title} · {note(grid)}",
    )


def as_csv(grid: Grid) -> str:
    """One line for each cell, in the order of the table, also for those that were not measured.

    Half-widths are those of `quire.train.report.intervals`; `values` holds the single seeds. Where
    there is nothing a field is empty: a column of numbers stays one.
    """
    heading = ("row", "column", *STATISTICS, "paper", "values")
    lines = [
        (row, column, *statistics_of(values), reported, joined(values))
        for row in grid.rows
        for column in grid.columns
        for values in [grid.values.get((row, column), ())]
        for reported in [str(grid.paper.get((row, column), ""))]
    ]
    return csv_text([heading, *lines])


def note(grid: Grid) -> str:
    """What the numbers are: how many seeds, which interval, where the second lines come from."""
    counts = _counts(grid)
    if not counts:
        ours = "nothing measured yet"
    elif counts == {1}:
        ours = f"one {grid.over}"
    else:
        count = str(max(counts)) if len(counts) == 1 else "n"
        ours = f"mean ± half-width of the 95 % Student-t interval over {count} {grid.over}s"
    return f"{ours}; {_PAPER}: as printed there" if grid.paper else ours


def _counts(grid: Grid) -> set[int]:
    """The numbers of seeds that there are."""
    return {len(values) for values in grid.values.values()} - {0}


def _measured(grid: Grid, cell: Cell) -> str:
    """Our number, with n where it is not the same throughout the table."""
    values = grid.values.get(cell, ())
    if not values:
        return _NOTHING
    shown = f"{interval(values):z.{grid.decimals}f}"
    return shown if len(_counts(grid)) == 1 else f"{shown} (n={len(values)})"


def _reported(grid: Grid, cell: Cell) -> str:
    """The paper's number; one that is given as a float loses no digit."""
    reported = grid.paper.get(cell, _NOTHING)
    if isinstance(reported, float):
        rounded = f"{reported:.{grid.decimals}f}"
        return rounded if float(rounded) == reported else str(reported)
    return printable(reported).strip()


def _names(grid: Grid, *, indent: str) -> list[str]:
    """The first column."""
    below = [f"{indent}{_PAPER}"] if grid.paper else []
    return [name for row in grid.rows for name in (printable(row), *below)]


def _cells(grid: Grid, column: str, *, aligned: bool = True) -> list[str]:
    """A column without its heading: ours, and the paper's under it if there are any."""
    sides = (_measured, _reported) if grid.paper else (_measured,)
    cells = [side(grid, (row, column)) for row in grid.rows for side in sides]
    return _aligned(cells) if aligned else cells


def _aligned(cells: Sequence[str]) -> Lines:
    """Cells with their decimal points under each other, and so what follows the number.

    >>> _aligned(["95.24 ± 0.12", "100.0 (n=1)", "7"])
    [' 95.24 ± 0.12', '100.0  (n=1) ', '  7          ']
    """
    wholes, ends = [], []
    for cell in cells:
        number, _, rest = cell.partition(" ")
        whole, point, fraction = number.partition(".")
        wholes.append(whole)
        ends.append((point + fraction, rest))
    fractions = _equally_wide([fraction for fraction, _ in ends])
    width = max(map(cell_len, wholes), default=0)
    return _equally_wide(
        [
            f"{' ' * (width - cell_len(whole))}{whole}{fraction} {rest}".rstrip()
            for whole, fraction, (_, rest) in zip(wholes, fractions, ends, strict=True)
        ]
    )


def _wrapped(grid: Grid, column: str) -> list[str]:
    """A heading in lines that are no longer than the cells under it, unless a word is."""
    width = max([*map(cell_len, _cells(grid, column)), len(_NOTHING)])
    return wrap(printable(column), width, break_long_words=False, break_on_hyphens=False) or [""]


def _equally_wide(lines: Sequence[str]) -> Lines:
    width = max(map(cell_len, lines), default=0)
    return [line + " " * (width - cell_len(line)) for line in lines]


def _blocks(names: Lines, columns: Sequence[Lines], width: int) -> Iterator[Lines]:
    """The columns in as few blocks as fit, each behind the names."""
    for count in range(1, max(len(columns), 1) + 1):
        ends = [len(columns) * number // count for number in range(count + 1)]
        parts = [columns[start:stop] for start, stop in pairwise(ends)]
        blocks = [[_GAP.join(line) for line in zip(names, *part, strict=True)] for part in parts]
        if count >= len(columns) or all(cell_len(block[0]) <= width for block in blocks):
            for block in blocks:  # other headings may take more lines than those here
                yield list(dropwhile(lambda line: not line, map(str.rstrip, block)))
            return
