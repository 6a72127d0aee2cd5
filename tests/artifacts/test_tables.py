"""HDF5 tables give the same bytes for the same arrays."""

import time
from pathlib import Path

import numpy as np
import pytest

from artifacts import tables
from artifacts.errors import BundleError


def write(path: Path) -> bytes:
    with tables.new_table(path) as file:
        tables.put(file, "a", np.arange(100_000), unit="samples")
        tables.put(file.create_group("g"), "b", np.array([b"x", b"yy"]))
        tables.put(file, "empty", np.zeros((0, 3)))
    return path.read_bytes()


def test_bytes_do_not_depend_on_time_or_place(tmp_path: Path) -> None:
    first = write(tmp_path / "first.h5")
    time.sleep(1.1)  # HDF5 keeps whole seconds, where it keeps times
    assert write(tmp_path / "second.h5") == first


def test_arrays_come_back_and_others_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "t.h5")
    with tables.open_table(tmp_path / "t.h5") as file:
        assert np.array_equal(tables.get(file, "a"), np.arange(100_000))
        assert tables.get(file["g"], "b").tolist() == [b"x", b"yy"]
        assert tables.get(file, "empty", shape=(0, 3)).shape == (0, 3)
        with pytest.raises(BundleError, match=r"t.h5:/a has shape \(100000,\)"):
            tables.get(file, "a", shape=(3,))
        with pytest.raises(BundleError, match=r"t\.h5:/c is missing"):
            tables.get(file, "c")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.h5").write_bytes(b"not a table")
    with pytest.raises(BundleError, match=r"t\.h5 is not an HDF5 file"):
        with tables.open_table(tmp_path / "t.h5"):
            pass
