"""What `diff -r` says of two folders."""

import filecmp
import os
from pathlib import Path


def assert_same(one: Path, other: Path) -> None:
    """Two folders have the same files, with the same bytes."""
    assert sorted(os.listdir(one)) == sorted(os.listdir(other))
    _, different, errors = filecmp.cmpfiles(one, other, os.listdir(one), shallow=False)
    assert not different and not errors
