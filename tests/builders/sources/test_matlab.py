"""MATLAB 5 files: the arrays that scipy reads, and a sentence for whatever is wrong with them."""

import random
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import loadmat, savemat

from quire.artifacts.errors import SourceError
from quire.builders.sources.matlab import read_array, shapes


def save(folder: Path, variables: dict[str, Any], *, packed: bool = True) -> Path:
    file = folder / "x.mat"
    savemat(file, variables, do_compression=packed)
    return file


def bytes_of(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("packed", [False, True])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=st.lists(st.integers(0, 5), min_size=2, max_size=5))
def test_an_array_is_scipys(tmp_path: Path, packed: bool, shape: list[int]) -> None:
    written = {"first": bytes_of(3, 2), "name": bytes_of(*shape), "last": bytes_of(1, 9)}
    file = save(tmp_path, written, packed=packed)
    expected = loadmat(file)
    assert shapes(file) == {name: array.shape for name, array in written.items()}
    for name in written:
        array = read_array(file, name)
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == np.uint8 and array.flags.f_contiguous and not array.flags.writeable


def test_small_whole_numbers_that_matlab_has_stored_as_bytes_are_bytes(tmp_path: Path) -> None:
    # it calls an array double and stores it as bytes where that loses nothing
    file = save(tmp_path, {"y": bytes_of(6, 1)}, packed=False)
    data = bytearray(file.read_bytes())
    data[128 + 16] = 6  # the class in the array's flags
    file.write_bytes(data)
    assert loadmat(file)["y"].dtype == np.uint8
    np.testing.assert_array_equal(read_array(file, "y"), bytes_of(6, 1))


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_array_of_bytes_is_not_there(tmp_path: Path, packed: bool) -> None:
    others = {
        "double": np.array([[0.5]]),
        "shorts": np.array([[1000]], np.uint16),
        "signed": np.array([[-1]], np.int8),
        "complex": np.array([[1j]]),
        "cell": np.array([[b"x", 2]], object),
        "record": {"a": bytes_of(2, 2)},
        "text": "words",
        "y": bytes_of(2, 2),
    }
    file = save(tmp_path, others, packed=packed)
    assert shapes(file) == {"y": (2, 2)}
    for name in set(others) - {"y"}:
        with pytest.raises(SourceError, match=f"x.mat has no array of bytes called {name}$"):
            read_array(file, name)


@pytest.mark.parametrize("flags", [4, 5, 1 << 11 | 9])  # text, sparse, complex
def test_bytes_of_something_else_are_no_array(tmp_path: Path, flags: int) -> None:
    file = save(tmp_path, {"X": bytes_of(6, 1)}, packed=False)
    data = bytearray(file.read_bytes())
    data[128 + 16 : 128 + 20] = struct.pack("<I", flags)
    file.write_bytes(data)
    assert shapes(file) == {}


# ---- what is refused


def refusal(file: Path) -> str:
    with pytest.raises(SourceError) as caught:
        shapes(file)
        read_array(file, "X")
    message = str(caught.value)
    assert message.startswith(f"{file} ") and message.isprintable()
    return message


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not a little-endian MATLAB 5 file"),
        (b"\x89PNG" * 100, "is not a little-endian MATLAB 5 file"),
        (b"MATLAB 7.3 MAT-file".ljust(600), "is a MATLAB 7.3 file, not one of MATLAB 5"),
        (b"MATLAB 5.0".ljust(124) + b"\x01\x00MI", "is not a little-endian MATLAB 5 file"),
        (b"MATLAB 5.0".ljust(124) + b"\x00\x01IM", "has no array of bytes called X"),
        (b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + b"abc", "is cut off, or damaged, before"),
        (b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + bytes(8), "is cut off, or damaged, before"),
        (
            b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + struct.pack("<2I", 14, 0),
            "ends within a variable",
        ),
        (
            b"MATLAB 5.0".ljust(124) + b"\x00\x01IM" + struct.pack("<2I", 15, 9) + b"no stream",
            "cannot be unpacked: ",
        ),
    ],
)
def test_what_is_no_such_file_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "x.mat").write_bytes(data)
    assert reason in refusal(tmp_path / "x.mat")


@pytest.mark.parametrize("packed", [False, True])
def test_every_cut_is_told(tmp_path: Path, packed: bool) -> None:
    file = save(tmp_path, {"X": bytes_of(3, 5)}, packed=packed)
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        refusal(file)


@pytest.mark.parametrize("packed", [False, True])
def test_damage_is_told_or_harmless_and_never_more(tmp_path: Path, packed: bool) -> None:
    # scipy's reader ends the process on some of these
    file = save(tmp_path, {"y": bytes_of(7, 1), "X": bytes_of(4, 4, 3, 7)}, packed=packed)
    data = file.read_bytes()
    rng = random.Random(0)
    told = 0
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(data) if rng.random() < 0.5 else 300)] = rng.randrange(256)
        file.write_bytes(damaged)
        try:
            shapes(file)
            assert read_array(file, "X").dtype == np.uint8
        except SourceError as error:
            assert str(error).startswith(f"{file} ")
            told += 1
    assert told > 150


def test_a_packed_array_whose_sum_is_wrong_is_told(tmp_path: Path) -> None:
    file = save(tmp_path, {"X": bytes_of(3, 5)})
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert "cannot be unpacked: " in refusal(file)


def test_two_arrays_of_one_name_are_told(tmp_path: Path) -> None:
    data = save(tmp_path, {"X": bytes_of(3, 5)}).read_bytes()
    file = tmp_path / "x.mat"
    file.write_bytes(data + data[128:])
    assert "has two arrays called X" in refusal(file)


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(shape: tuple[int, ...], promised: int, data: bytes) -> bytes:
    parts = element(6, struct.pack("<2I", 9, 0)) + element(5, struct.pack("<4i", *shape))
    return parts + element(1, b"X") + struct.pack("<2I", 2, promised) + data


def test_a_promised_size_is_not_believed(tmp_path: Path) -> None:
    shape = (32, 32, 3, 1_000_000)
    inner = matrix(shape, 32 * 32 * 3 * 1_000_000, bytes(100))
    packed = zlib.compress(struct.pack("<2I", 14, len(inner)) + inner)
    file = tmp_path / "x.mat"
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    file.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    tracemalloc.start()
    assert "ends within a variable" in refusal(file)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_a_header_that_makes_no_sense_is_told(tmp_path: Path) -> None:
    inner = element(6, bytes(8) + struct.pack("<2I", 9, 0) * 40)
    file = tmp_path / "x.mat"
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    file.write_bytes(header + element(14, inner))
    assert "has a variable whose header makes no sense" in refusal(file)


def test_more_than_was_promised_is_told(tmp_path: Path) -> None:
    inner = matrix((1, 1, 1, 8), 8, bytes(8) + b"more bytes")
    packed = zlib.compress(struct.pack("<2I", 14, len(inner)) + inner)
    file = tmp_path / "x.mat"
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    file.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    assert "is not as long as it says" in refusal(file)


def test_a_packed_array_without_its_sum_is_told(tmp_path: Path) -> None:
    inner = matrix((1, 1, 1, 8), 8, bytes(8))
    packed = zlib.compress(struct.pack("<2I", 14, len(inner)) + inner)
    file = tmp_path / "x.mat"
    header = b"MATLAB 5.0".ljust(124) + b"\x00\x01IM"
    file.write_bytes(header + struct.pack("<2I", 15, len(packed)) + packed)
    assert read_array(file, "X").tolist() == [[[[0] * 8]]]
    file.write_bytes(header + struct.pack("<2I", 15, len(packed) - 4) + packed[:-4])
    assert "is not as long as it says" in refusal(file)
