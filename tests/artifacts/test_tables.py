"""HDF5 tables give the same bytes for the same arrays."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.errors import BundleError


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


def grow(path: Path, pieces: Sequence[NDArray[Any]]) -> bytes:
    with tables.new_table(path) as file:
        growing = tables.Growing(file)
        for piece in pieces:
            growing.append("g/a", piece, unit="rows")
            growing.append("b", piece[:, 0] > 5, unit="rows")
    return path.read_bytes()


def test_pieces_are_joined_and_give_the_same_bytes_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 9, (rows, 2)) for rows in (0, 7_000, 1, 0, 20_000, 1_192)]
    first = grow(tmp_path / "first.h5", pieces)
    time.sleep(1.1)
    assert grow(tmp_path / "second.h5", pieces) == first
    whole = np.concatenate(pieces)
    with tables.open_table(tmp_path / "first.h5") as file:
        assert np.array_equal(tables.get(file, "g/a", shape=whole.shape), whole)
        assert np.array_equal(tables.get(file, "b"), whole[:, 0] > 5)
        assert file["g/a"].attrs["unit"] == b"rows"


def test_every_chunk_is_written_once(tmp_path: Path) -> None:
    whole = np.random.default_rng(0).random((100_000, 2))  # does not compress
    with tables.new_table(tmp_path / "t.h5") as file:
        growing = tables.Growing(file)
        for piece in np.array_split(whole, 500):
            for name in "abc":  # a chunk that is written again finds no room between the others
                growing.append(name, piece)
    assert (tmp_path / "t.h5").stat().st_size < 0.9 * 3 * whole.nbytes


@pytest.mark.parametrize("piece", [np.zeros((1, 3), int), np.zeros((1, 2), np.int32)])
def test_a_piece_of_another_kind_is_refused(tmp_path: Path, piece: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="g/a has rows of int64"):
        grow(tmp_path / "t.h5", [np.zeros((1, 2), int), piece])
