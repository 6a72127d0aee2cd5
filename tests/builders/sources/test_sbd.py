"""SBD's .mat files: the masks scipy wrote, and nothing believed of damaged ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import io

from quire.builders.sources.sbd import find_sbd, read_mat
from quire.builders.sources.tree import UnfitError
from quire.builders.sources.tree_kinds import Disk
from tests.builders.sources.devkit import write_mat

PATIENT = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@PATIENT
@given(data=st.data(), size=SIZES, compressed=st.booleans())
def test_a_mask_is_as_it_was_written(
    tmp_path: Path, data: st.DataObject, size: tuple[int, int], compressed: bool
) -> None:
    mask = data.draw(arrays(np.uint8, size, elements=st.integers(0, 20)))
    file = tmp_path / "a.mat"
    write_mat(file, mask, compressed=compressed)
    read = read_mat(file.read_bytes())
    np.testing.assert_array_equal(read, mask)
    assert read.dtype == np.uint8


def test_numbers_of_other_types_will_do_if_they_are_ids(tmp_path: Path) -> None:
    mask = np.arange(12.0).reshape(3, 4)
    write_mat(tmp_path / "a.mat", mask)
    np.testing.assert_array_equal(read_mat((tmp_path / "a.mat").read_bytes()), mask)
    for wrong in (mask + 0.5, mask * np.nan, mask - 1, mask * 100):
        write_mat(tmp_path / "a.mat", wrong)
        with pytest.raises(UnfitError, match=r"no GTcls.Segmentation with one byte a pixel$"):
            read_mat((tmp_path / "a.mat").read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        {"GTcls": np.zeros((2, 2), np.uint8)},
        {"other": {"Segmentation": np.zeros((2, 2), np.uint8)}},
        {"GTcls": {"Boundaries": np.zeros((2, 2), np.uint8)}},
        {"GTcls": {"Segmentation": {"Segmentation": np.zeros((2, 2), np.uint8)}}},
        {"GTcls": {"Segmentation": np.zeros((2, 2, 2), np.uint8)}},
        {"GTcls": {"Segmentation": "abc"}},
        {},
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: dict[str, object]) -> None:
    io.savemat(tmp_path / "a.mat", content)
    with pytest.raises(UnfitError):
        read_mat((tmp_path / "a.mat").read_bytes())


@PATIENT
@given(data=st.data(), compressed=st.booleans())
def test_a_damaged_file_gives_a_mask_or_a_reason(
    tmp_path: Path, data: st.DataObject, compressed: bool
) -> None:
    file = tmp_path / "a.mat"
    write_mat(file, np.ones((5, 7), np.uint8), compressed=compressed)
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert read_mat(file.read_bytes()).ndim == 2
    except UnfitError as unfit:
        assert str(unfit).isprintable()


def test_a_newer_file_says_that_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(200))
    with pytest.raises(UnfitError, match="no little-endian MATLAB 5 file"):
        read_mat((tmp_path / "a.mat").read_bytes())


def test_what_unpacks_to_more_than_any_mask_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_mat(tmp_path / "a.mat", np.zeros((300, 400), np.uint8))
    monkeypatch.setattr("quire.builders.sources.sbd.MAX_BYTES", 100_000)
    with pytest.raises(UnfitError, match="damaged"):
        read_mat((tmp_path / "a.mat").read_bytes())


@pytest.mark.parametrize("below", ["", "dataset", "benchmark_RELEASE/dataset"])
def test_the_archive_is_found(tmp_path: Path, below: str) -> None:
    (tmp_path / below / "cls").mkdir(parents=True)
    found = find_sbd(Disk(tmp_path))
    assert found is not None
    assert found.is_folder("cls")
    assert find_sbd(Disk(tmp_path / "none")) is None
