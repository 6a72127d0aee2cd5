"""Loops that numba compiles, also where nothing can be written.

numba keeps what it compiled beside the source or in the user's home. In a container or a cluster's
image neither may be writable, and then it refuses to import the function at all.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function when it is first called, without the interpreter's lock.

    The code is kept for the next process where it can be, and compiled by each process where not.

    Args:
        options: further ones of `numba.njit`.
    """

    def decorate(function: Function) -> Function:
        made: Function
        try:
            made = njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # there is no folder to keep it in
            made = njit(nogil=True, **options)(function)
        return made

    return decorate
