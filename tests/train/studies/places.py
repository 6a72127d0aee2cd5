"""Where the tests carry out studies, and how they read what a study wrote."""

import csv
from pathlib import Path

from quire.train.engine.options import Running
from quire.train.studies.study import Place

QUIET = Running(tensorboard=False, checkpoint_seconds=1e9)


def place_in(out: Path, said: list[str], **sources: str) -> Place:
    """A place that says nothing on the terminal."""
    return Place(out=out, sources=sources, running=QUIET, say=said.append)


def rows_of(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
