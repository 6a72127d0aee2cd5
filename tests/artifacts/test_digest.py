"""Files appear whole or not at all."""

import hashlib
from pathlib import Path

import pytest

from quire.artifacts.digest import sha256, whole_file


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with whole_file(path) as file:
        file.write(b"abc")
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert sha256(path) == hashlib.sha256(b"abc").hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_a_body_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError):
        with whole_file(path) as file:
            file.write(b"half")
            raise RuntimeError
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
