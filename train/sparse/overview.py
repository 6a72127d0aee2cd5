"""What was measured of many networks: the table that the terminal shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quire.train.report.grid import Grid
from quire.train.sparse.attack import Attack, Attacked
from quire.train.sparse.evaluate import Measured
from quire.train.sparse.loading import Kind


@dataclass(frozen=True)
class _Shown:
    """A number of a row, and what its column is called."""

    heading: str
    name: str
    scale: float = 100  # per cent

    def of(self, row: Any) -> float:
        number: float = getattr(row, self.name)
        return self.scale * number


_CLEAN = (_Shown("macro-F1 (%)", "macro_f1"), _Shown("accuracy (%)", "accuracy"))
_ATTACKS = {
    "fgsm": (
        _Shown("FGSM: error rate (%)", "fgsm_error_rate"),
        _Shown("FGSM: confidence (%)", "fgsm_confidence"),
    ),
    "epsilon": (_Shown("average epsilon", "average_epsilon", scale=1),),
    "one_pixel": (
        _Shown("one pixel: error rate (%)", "one_pixel_error_rate"),
        _Shown("one pixel: confidence (%)", "one_pixel_confidence"),
    ),
}


def measured_grid(data: str, rows: Sequence[Measured], kind: Kind) -> Grid:
    """How well the networks classify a bundle."""
    return _grid(f"networks on {data}, {rows[0].images:,} images", rows, _CLEAN, kind)


def attacked_grid(data: str, rows: Sequence[Attacked], how: Attack, kind: Kind) -> Grid:
    """How well they classify it, and what the attacks did."""
    shown = [*_CLEAN, *(one for kind in how.attacks for one in _ATTACKS[kind])]
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
