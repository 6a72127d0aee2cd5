"""Processes that can be killed, and that need not import everything anew.

They are forked from a server that has imported what builds bundles, and that has no threads.
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any


def started(target: Callable[..., object], *arguments: Any) -> BaseProcess:
    """A process that calls a function of a module; its arguments are pickled."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "quire.builders.engine.run",
            "quire.builders.recipes.catalogue",
            "quire.builders.sources.catalogue",
        ]
    )
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
