"""Progress as commands are given it, without the torch that `quire.train.engine.options` brings."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

Bar: TypeAlias = Callable[[str], AbstractContextManager[Callable[[int, int], None] | None]]
"""A bar, by its unit, for as long as the context: called with what is done, and all there is."""
