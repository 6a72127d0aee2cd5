"""Every kind of bundle that can be built."""

from typing import Any

from builders.corrupted import Corrupted
from builders.random_graphs import Graphs

RECIPES: dict[str, type[Any]] = {recipe.kind: recipe for recipe in (Corrupted, Graphs)}
