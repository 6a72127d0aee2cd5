"""A table of networks, one line each, as CSV."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from quire.artifacts.errors import RunError
from quire.train.report.intervals import csv_text
from quire.train.sparse.groups import Member

Row = TypeVar("Row", bound=Member)
Column: TypeAlias = Callable[[Any], float]  # of a row

_IDENTITY = tuple(field.name for field in fields(Member))


def as_lines(rows: Sequence[Row], columns: Mapping[str, Column] | None = None) -> str:
    """A line for each network: which it is, and more columns. A float reads as the same number."""
    columns = columns or {}
    lines = [
        [str(getattr(row, name)) for name in _IDENTITY]
        + [repr(column(row)) for column in columns.values()]
        for row in rows
    ]
    return csv_text([[*_IDENTITY, *columns], *lines])


def read_members(path: Path) -> list[Member]:
    """The networks that `as_lines` listed.

    Raises:
        RunError: the file is missing, or is no such list.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                Member(
                    number=int(line["number"]),
                    graph=line["graph"],
                    initialisation=line["initialisation"],
                    seed=int(line["seed"]),
                    parameters=int(line["parameters"]),
                )
                for line in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no list of networks ({error!r})") from error
