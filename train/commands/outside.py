"""The options of commands that carry out a recipe again from its record."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from quire.artifacts.processors import processors


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Files beside the source that a recipe reads, whose place no record has."""

    frost_dir: Path | None = None
    """Folder of the frost images, for a recipe that used one."""
    features: str | None = None
    """Bundle of features, a folder or an address, for a recipe that used one."""
    cooccurrence: str | None = None
    """Bundle of co-occurrence, a folder or an address, for a recipe that used one."""

    @property
    def given(self) -> dict[str, Any]:
        """Those that are named, by the recipe's field."""
        named = {one.name: getattr(self, one.name) for one in fields(Outside)}
        return {name: place for name, place in named.items() if place is not None}


@dataclass(frozen=True, kw_only=True)
class Making(Outside):
    """Who makes shards again, which changes no byte."""

    workers: int | None = None
    """Processes on this machine; default: one a processor that may be used; 0 works in this."""
    scheduler: str | None = None
    """Address of a running Dask scheduler to use instead, e.g. tcp://host:8786."""

    @property
    def processes(self) -> int:
        """How many there are on this machine."""
        return processors() if self.workers is None else self.workers
