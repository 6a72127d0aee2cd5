"""`quire doctor`: this machine, a bundle, how fast one reads the other, and what to do."""

from collections.abc import Callable

from tyro.conf import Positional

from quire.train.commands.bar import Bar
from quire.train.report.doctor import doctor


def doctor_command(bar: Bar) -> Callable[..., int]:
    """The command that looks at a machine and a bundle."""

    def command(bundle: Positional[str | None] = None, seconds: float = 3) -> int:
        """Say what this machine is, how fast it reads a bundle, and what to do about it.

        The text names no user, host or path, so that it can be pasted into a report of a problem.

        Args:
            bundle: A bundle's folder, complete or not, or its address.
            seconds: For how long the bundle is streamed.
        """
        for line in doctor(bundle, seconds=seconds):
            print(line, flush=True)
        return 0

    return command
