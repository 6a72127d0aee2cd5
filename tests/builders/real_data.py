"""Where real data sets lie: in the folder that QUIRE_DATA names, or beside the repository."""

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[2]


def real_data(name: str) -> Path:
    """A data set's folder; skips the test where it is not there."""
    folder = Path(os.environ.get("QUIRE_DATA", _REPOSITORY / "../shared/data")) / name
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set QUIRE_DATA to the folder that holds {name}")
    return folder
