"""The options that name further files of a recipe, where it is carried out again from a record."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


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
