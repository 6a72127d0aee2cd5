"""Pushes and pulls that kill themselves, each in a process of its own."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quire.artifacts import digest
from quire.artifacts.sharing import pull as pulling
from quire.artifacts.sharing import target
from quire.artifacts.sharing.pull import pull
from quire.artifacts.sharing.push import push


def killed_push(bundle: Path, address: str, after: int) -> None:
    """Push until so many files were begun."""
    target.Target._made = _fatal(target.Target._made, after)  # type: ignore[method-assign]
    push(bundle, address)


def killed_pull(address: str, folder: Path, after: int) -> None:
    """Pull until so many files were written."""
    pulling.whole_file = _fatal(digest.whole_file, after)  # type: ignore[attr-defined]
    pull(address, folder)


def _fatal(function: Callable[..., Any], after: int) -> Callable[..., Any]:
    """A function that is deadly after so many calls."""
    left = after

    def called(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*arguments, **options)

    return called
