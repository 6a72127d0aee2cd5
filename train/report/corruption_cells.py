"""The cells of a corrupted bundle: which rows show which corruption at which severity."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.index import Index
from quire.train.report.printable import decoded

Cell: TypeAlias = tuple[str, float]  # corruption and severity; that of clean images is ("clean", 0)
Rows: TypeAlias = NDArray[np.int64]
Cells: TypeAlias = dict[Cell, Rows]

CLEAN = "clean"

_KINDS = {"corruption": "S", "severity": "iuf", "source_index": "iu"}


def cells_of(index: Index) -> Cells:
    """The rows of each cell: clean ones first, the others as they come in the bundle.

    There are none where the index lacks the columns `corruption`, `severity` or `source_index`:
    the bundle is of another kind.
    """
    columns = index.rows.columns
    for name, kinds in _KINDS.items():
        if name not in columns or columns[name].dtype.kind not in kinds:
            return {}
    corruption: NDArray[Any] = columns["corruption"]
    severity: NDArray[Any] = columns["severity"]
    if not len(index):
        return {}
    changes = (corruption[1:] != corruption[:-1]) | (severity[1:] != severity[:-1])
    starts = np.flatnonzero(np.concatenate([[True], changes]))
    runs: dict[Cell, list[Rows]] = {}
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(index)], strict=True):
        cell = decoded(corruption[start]), float(severity[start])
        runs.setdefault(cell, []).append(np.arange(start, stop))
    ordered = sorted(runs, key=lambda cell: cell[0] != CLEAN)
    return {cell: np.concatenate(runs[cell]) for cell in ordered}


def severities(cells: Cells) -> dict[str, tuple[float, ...]]:
    """The severities of each corruption, rising.

    >>> severities({("fog", 2.0): np.arange(3), ("fog", 1.0): np.arange(3)})
    {'fog': (1.0, 2.0)}
    """
    found: dict[str, list[float]] = {}
    for corruption, severity in cells:
        found.setdefault(corruption, []).append(severity)
    return {corruption: tuple(sorted(values)) for corruption, values in found.items()}
