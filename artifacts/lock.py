"""A folder that one process at a time may work in."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quire.artifacts.errors import QuireError


@contextmanager
def held(path: Path, refusal: QuireError) -> Iterator[None]:
    """Hold a lock file while the body runs; the system lets go of it when the process dies.

    Raises:
        QuireError: `refusal`, as another process holds it.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise refusal from error
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds a lock file; not where there is none."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
