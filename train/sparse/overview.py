"""What was measured of many networks: the table that the terminal shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any

from quire.train.report.grid import Grid
from quire.train.sparse.attack import Attacked
from quire.train.sparse.attack_catalogue import ATTACKS, Attack
from quire.train.sparse.evaluate import Measured
from quire.train.sparse.loading import Kind
from quire.train.sparse.table import Column


@dataclass(frozen=True)
class _Shown:
    """A number of a row, and what its column is called."""

    heading: str
    number: Column
    scale: float = 100  # per cent

    def of(self, row: Any) -> float:
        return self.scale * self.number(row)


_CLEAN = (
    _Shown("macro-F1 (%)", attrgetter("macro_f1")),
    _Shown("accuracy (%)", attrgetter("accuracy")),
)


def measured_grid(data: str, rows: Sequence[Measured], kind: Kind) -> Grid:
    """How well the networks classify a bundle."""
    return _grid(f"networks on {data}, {rows[0].images:,} images", rows, _CLEAN, kind)


def attacked_grid(data: str, rows: Sequence[Attacked], how: Attack, kind: Kind) -> Grid:
    """How well they classify it, and what the attacks did."""
    measures = {name: one for kind in how.attacks for name, one in ATTACKS[kind].measures.items()}
    attacked = [
        _Shown(one.heading, methodcaller("measure", name), one.scale)
        for name, one in measures.items()
    ]
    shown = [*_CLEAN, *attacked]
    return _grid(f"networks attacked on {data}, {rows[0].images:,} images", rows, shown, kind)


def _grid(title: str, rows: Sequence[Measured], shown: Sequence[_Shown], kind: Kind) -> Grid:
    """The mean of each column over the networks of a kind, and over all of them.

    NaN, the measure of nothing, is left out.
    """
    kinds: Mapping[str, Sequence[Measured]] = {
        name: [row for row in rows if kind.of(row) == name]
        for name in dict.fromkeys(map(kind.of, rows))
    }
    if len(kinds) > 1:
        kinds = {**kinds, "all": rows}
    values = {
        (name, one.heading): [number for row in some if (number := one.of(row)) == number]
        for name, some in kinds.items()
        for one in shown
    }
    return Grid(
        title=title,
        values=values,
        rows=tuple(kinds),
        columns=tuple(one.heading for one in shown),
        corner=kind.name,
        decimals=3,
        over="network",
    )
