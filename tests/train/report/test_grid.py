"""A table beside the paper's: nothing is lost, digits stand under digits, and it fits the width."""

import csv
import io
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from scipy.special import stdtrit

from quire.train.report.grid import Grid, as_csv, as_table, as_text, note
from quire.train.report.intervals import interval
from quire.train.report.page import Section, page, write_page
from quire.train.report.printable import printable
from tests.train.report.test_page import HOSTILE, Parsed

NAMES = st.lists(st.text(max_size=8), min_size=1, max_size=4, unique=True).map(tuple)
FLOATS = st.floats(-1e6, 1e6)

DASH = "\N{EN DASH}"

SMALL = Grid(
    title="Table 1: accuracy, %",
    rows=("vanilla", "MBSG (dropfeat)"),
    columns=("CIFAR-10", "CIFAR-100 transductive", "MIT67"),
    values={
        ("vanilla", "CIFAR-10"): [94.5, 94.7],
        ("MBSG (dropfeat)", "CIFAR-10"): [100.0, 100.0],
        ("MBSG (dropfeat)", "CIFAR-100 transductive"): [75.2, 75.3],
    },
    paper={
        ("vanilla", "CIFAR-10"): "94.69 ±0.17",
        ("MBSG (dropfeat)", "CIFAR-10"): 95.2,
        ("MBSG (dropfeat)", "MIT67"): "65.84 ± 0.20",
    },
)

SMALL_TEXT = """\
Table 1: accuracy, %
                                  CIFAR-100
model             CIFAR-10        transductive   MIT67
vanilla            94.60 ± 1.27    ~              ~
  paper            94.69 ±0.17     ~              ~
MBSG (dropfeat)   100.00 ± 0.00   75.25 ± 0.64    ~
  paper            95.20           ~             65.84 ± 0.20
mean ± half-width of the 95 % Student-t interval over 2 seeds; paper: as printed there"""

T = stdtrit(1, 0.975)  # times an error of 1; SciPy 1.14 has it to eleven digits
SMALL_CSV = f"""\
row,column,n,mean,deviation,t_95,z_95,paper,values
a,"x, %",1,94.5,nan,nan,nan,94.69 ± 0.17,94.5
a,y,0,,,,,,
b,"x, %",2,2.0,1.4142135623730951,{T},1.96,95.24,1.0 3.0
b,y,0,,,,,302,
"""


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Tables with any names, of which any part was measured or reported."""
    rows, columns = draw(NAMES), draw(NAMES)
    cells = st.tuples(st.sampled_from(rows), st.sampled_from(columns))
    values = st.lists(FLOATS | st.just(math.nan), max_size=4)
    return Grid(
        title=draw(st.text()),
        values=draw(st.dictionaries(cells, values)),
        rows=rows,
        columns=columns,
        paper=draw(st.dictionaries(cells, st.text() | FLOATS)),
        corner=draw(st.text(max_size=8)),
        decimals=draw(st.integers(0, 4)),
    )


def filled(rows: int, columns: int, *, seeds: int = 5) -> Grid:
    """A table in which every cell was measured and reported, with numbers of unlike lengths."""
    cells = [(f"row {row}", f"k = {column}") for row in range(rows) for column in range(columns)]
    return Grid(
        title="filled",
        rows=tuple(f"row {row}" for row in range(rows)),
        columns=tuple(f"k = {column}" for column in range(columns)),
        values={
            cell: [10.0 ** (number % 4) + seed / 100 for seed in range(seeds)]
            for number, cell in enumerate(cells)
        },
        paper={cell: f"{9.87 * 10 ** (number % 3):.2f} ± 0.1" for number, cell in enumerate(cells)},
    )


def blocks(text: str) -> list[list[str]]:
    """The lines of each block of a text, without title and note."""
    body = text.split("\n", 1)[1].rsplit("\n", 1)[0]
    return [block.split("\n") for block in body.split("\n\n")]


def test_a_small_table_to_the_letter() -> None:
    assert as_text(SMALL) == SMALL_TEXT.replace("~", DASH)


def test_a_csv_to_the_byte() -> None:
    grid = Grid(
        title="t",
        rows=("a", "b"),
        columns=("x, %", "y"),
        values={("a", "x, %"): [94.5], ("b", "x, %"): [1, 3], ("b", "y"): []},
        paper={("a", "x, %"): "94.69 ± 0.17", ("b", "x, %"): 95.24, ("b", "y"): 302},
    )
    assert as_csv(grid) == SMALL_CSV


@given(grids())
def test_every_value_comes_out_of_the_csv(grid: Grid) -> None:
    if any("\0" in name for name in (*grid.rows, *grid.columns, *map(str, grid.paper.values()))):
        return
    lines = list(csv.DictReader(io.StringIO(as_csv(grid), newline=""), strict=True))
    cells = [(row, column) for row in grid.rows for column in grid.columns]
    assert [(line["row"], line["column"]) for line in lines] == cells
    for line, cell in zip(lines, cells, strict=True):
        values = grid.values.get(cell, ())
        assert [str(float(word)) for word in line["values"].split()] == [*map(str, values)]
        assert line["n"] == str(len(values))
        if values:
            assert line["mean"] == str(interval(values).mean)
            assert line["t_95"] == str(interval(values).t)
        assert line["paper"] == str(grid.paper.get(cell, ""))


@pytest.mark.slow
@given(grids(), st.integers(1, 120))
def test_every_number_is_in_the_text_on_its_line(grid: Grid, width: int) -> None:
    text = as_text(grid, width=width)
    assert text.isprintable() or set(text) - {"\n"} == {c for c in text if c.isprintable()}
    found = blocks(text)
    step = 2 if grid.paper else 1
    for number, row in enumerate(grid.rows):
        place = number * step - len(grid.rows) * step  # from the end: headings take any lines
        ours = " ".join(block[place] for block in found)
        assert all(block[place].startswith(printable(row).rstrip()) for block in found)
        for column in grid.columns:
            if values := grid.values.get((row, column)):
                assert f"{interval(values).mean:z.{grid.decimals}f}" in ours
        if grid.paper:
            theirs = [block[place + 1] for block in found]
            assert all(line.startswith("  paper") for line in theirs)
            for cell, reported in grid.paper.items():
                if cell[0] == row and isinstance(reported, str):
                    words = printable(reported).split(" ")
                    assert all(word in "\n".join(theirs) for word in words)


@pytest.mark.parametrize("columns", [1, 2, 5, 8, 10])
@pytest.mark.parametrize("width", [60, 100])
def test_digits_stand_under_digits_within_the_width(columns: int, width: int) -> None:
    grid = filled(4, columns)
    found = blocks(as_text(grid, width=width))
    for block in found:
        assert max(map(cell_len, block)) <= width
        for sign in "±.":
            places = {
                tuple(i for i, letter in enumerate(line) if letter == sign) for line in block[1:]
            }
            assert len(places) == 1 and places != {()}
    sizes = [block[0].count("k = ") for block in found]
    assert sum(sizes) == columns and max(sizes) - min(sizes) <= 1
    whole = max(map(cell_len, blocks(as_text(grid, width=999))[0]))
    assert len(blocks(as_text(grid, width=whole))) == 1
    assert len(blocks(as_text(grid, width=whole - 1))) == min(columns, 2)


def test_a_block_starts_with_its_own_headings() -> None:
    columns = ("a", "b", "first second third", "c")
    grid = Grid(title="t", rows=("r",), columns=columns, values={})
    found = blocks(as_text(grid, width=24))
    assert [block[0].split() for block in found] == [["model", "a", "b"], ["first"]]
    assert found[1][2].split() == ["model", "third", "c"]


def test_wide_letters_take_their_two_places() -> None:
    grid = Grid(
        title="t",
        rows=("数字", "ab"),
        columns=("x",),
        values={("数字", "x"): [1.0], ("ab", "x"): [2.0]},
        paper={("数字", "x"): "数.5", ("ab", "x"): "1.5"},
    )
    lines = blocks(as_text(grid))[0]
    assert lines[:3] == ["model     x", "数字       1.00", "  paper   数.5"]
    assert lines[3:] == ["ab         2.00", "  paper    1.5"]


def test_a_single_column_that_is_too_wide_is_shown_whole() -> None:
    found = blocks(as_text(filled(2, 3), width=1))
    assert [block[0].split() for block in found] == [["model", "k", "=", str(i)] for i in range(3)]


def test_seeds_are_counted_once_if_all_cells_have_as_many() -> None:
    same, one = filled(2, 2, seeds=3), filled(2, 2, seeds=1)
    assert "over 3 seeds" in note(same) and "(n=" not in as_text(same)
    assert "one seed" in note(one) and "(n=" not in as_text(one)
    mixed = Grid(
        title="t",
        rows=("a", "b", "c"),
        columns=("x",),
        values={("a", "x"): [1.0], ("b", "x"): [1.0, 1.0], ("c", "x"): []},
    )
    lines = as_text(mixed).split("\n")
    assert lines[2:5] == ["a       1.00 (n=1)", "b       1.00 ± 0.00 (n=2)", f"c       {DASH}"]
    assert "over n seeds" in lines[5]


def test_a_float_of_the_paper_loses_no_digit() -> None:
    grid = Grid(
        title="t",
        rows=("a", "b", "c"),
        columns=("x",),
        values={},
        paper={("a", "x"): 357.31, ("b", "x"): 302, ("c", "x"): 95.0},
        decimals=1,
    )
    assert [row[1] for row in as_table(grid).rows] == [DASH, "357.31", DASH, "302", DASH, "95.0"]
    assert note(grid).startswith("nothing measured yet")


def test_a_small_negative_number_has_no_sign_when_rounded() -> None:
    grid = Grid(title="t", rows=("a",), columns=("x",), values={("a", "x"): [-0.001]})
    assert as_table(grid).rows == (("a", "0.00"),)


@pytest.mark.parametrize("stray", [("c", "x"), ("a", "z"), ("x", "a")])
def test_a_measured_cell_that_is_nowhere_is_refused(stray: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="in no row and column"):
        Grid(title="t", rows=("a", "b"), columns=("x",), values={("a", "x"): [1], stray: [1]})


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows named twice: \['a'\]"):
        Grid(title="t", rows=("a", "b", "a"), columns=("x",), values={})
    with pytest.raises(ValueError, match="columns named twice"):
        Grid(title="t", rows=("a",), columns=("x", "x"), values={})


def test_the_paper_may_have_more_than_is_shown() -> None:
    grid = Grid(
        title="t", rows=("a",), columns=("x",), values={}, paper={("a", "x"): 1.0, ("b", "y"): 2.0}
    )
    assert "2.00" not in as_text(grid) and "1.00" in as_text(grid)


def test_a_table_without_cells_breaks_nothing(tmp_path: Path) -> None:
    for rows, columns in (((), ()), (("a",), ()), ((), ("x",))):
        grid = Grid(title="empty", rows=rows, columns=columns, values={}, paper={("p", "q"): 1.0})
        assert as_text(grid).startswith("empty\nmodel")
        assert as_csv(grid).count("\n") == 1
        write_page(tmp_path / "p.html", "t", [Section("s", tables=(as_table(grid),))])


def test_a_table_on_a_page_has_every_cell() -> None:
    table = as_table(SMALL)
    assert table.headings == ("model", *SMALL.columns)
    assert table.rows == (
        ("vanilla", "94.60 ± 1.27", DASH, DASH),
        ("· paper", "94.69 ±0.17", DASH, DASH),
        ("MBSG (dropfeat)", "100.00 ± 0.00", "75.25 ± 0.64", DASH),
        ("· paper", "95.20", DASH, "65.84 ± 0.20"),
    )
    assert SMALL.title in table.caption and note(SMALL) in table.caption
    texts = Parsed(page("t", [Section("s", tables=(table,))])).texts
    assert all(value in texts for row in table.rows for value in row)


@given(grids())
@settings(max_examples=30)
def test_a_page_takes_any_table(grid: Grid) -> None:
    table = as_table(grid)
    assert {len(row) for row in table.rows} == {len(grid.columns) + 1}
    tags = Parsed(page("t", [Section("s", tables=(table,))])).tags
    assert tags.count("td") == len(table.rows) * (len(grid.columns) + 1)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_steers_no_terminal(text: str) -> None:
    cell = (text, text)
    grid = Grid(
        title=text,
        rows=(text,),
        columns=(text,),
        values={cell: [1]},
        paper={cell: text},
        corner=text,
    )
    lines = as_text(grid).split("\n")
    assert all(line.isprintable() for line in lines)
    assert len(lines) <= 5 + len(text)
