"""Which rows of a bundle are wanted, and which of its columns."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.loaders.decode import Array
from quire.loaders.order import Rows

Value = str | int | float


def chosen(
    index: Index,
    select: Mapping[str, Value | Collection[Value]] | None,
    rows: Sequence[int] | None,
) -> Rows:
    """The rows whose columns have the values asked for, in order; or those given. -> (M,).

    Raises:
        BundleError: there is no such column, or no such row.
        ValueError: of the rows given one is not there, there are none, or there is a selection too.
    """
    if rows is None:
        return _selected(index, select or {})
    wanted = np.asarray(rows, np.int64)
    if select or not len(wanted) or wanted.min() < 0 or wanted.max() >= len(index):
        raise ValueError(f"rows must be some of 0..{len(index) - 1}, and given without select")
    return wanted


def _selected(index: Index, select: Mapping[str, Value | Collection[Value]]) -> Rows:
    wanted = np.ones(len(index), np.bool_)
    for name, values in select.items():
        if isinstance(values, str | int | float):
            values = (values,)
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        wanted &= np.isin(column_of(index, name, "biufS"), encoded)
    rows = np.flatnonzero(wanted)
    if not len(rows):
        raise BundleError(f"no sample of the bundle fits {dict(select)}")
    return rows


def column_of(index: Index, name: str, kinds: str) -> Array:
    """A column of the index, when there is one of this name and of one of these numpy kinds.

    Raises:
        BundleError: there is none.
    """
    table = index.rows.columns
    if name in table and table[name].dtype.kind in kinds:
        return table[name]
    fitting = sorted(column for column in table if table[column].dtype.kind in kinds)
    raise BundleError(f"there is no column {name!r} here; there are: {', '.join(fitting)}")


def parsed(index: Index, texts: Sequence[str]) -> dict[str, list[Value]]:
    """What a command line selects: NAME=VALUE, or NAME=VALUE,VALUE; each as its column has it.

    Raises:
        BundleError: there is no such column, or none with such values.
    """
    found: dict[str, list[Value]] = {}
    for text in texts:
        name, mark, values = text.partition("=")
        if not mark or not values:
            raise BundleError(f"{text!r} selects nothing: NAME=VALUE, or NAME=VALUE,VALUE")
        kind = column_of(index, name, "biufS").dtype.kind
        read = {"S": str, "f": float}.get(kind, int)
        try:
            found.setdefault(name, []).extend(read(value) for value in values.split(","))
        except ValueError:
            raise BundleError(f"the column {name!r} has numbers, and no {values!r}") from None
    return found
