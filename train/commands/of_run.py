"""Commands that come in several kinds, of which the run that is named tells which is meant."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from quire.artifacts.errors import RunError
from quire.train.engine.runs import RUN, read_run


def with_kind(arguments: Sequence[str], kinds: Mapping[str, str], refusal: str) -> list[str]:
    """The words of a command line with the kind that is meant before them.

    Args:
        arguments: the words; whoever names a kind first has said it.
        kinds: of the command, by the method of the run.
        refusal: what is said of runs of another, with {method}.

    Raises:
        RunError: no run is named first, or there is no kind for its method.
    """
    first = arguments[0] if arguments else "-"
    if first in kinds.values():
        return [*arguments]
    runs = [word for word in arguments if (Path(word) / RUN).exists()]
    if not runs and first.startswith("-"):
        return [*arguments]
    method = read_run(Path(runs[0] if runs else first)).method
    if method not in kinds:
        raise RunError(f"{refusal.format(method=method)}; those of {', '.join(kinds)} are")
    return [kinds[method], *arguments]
