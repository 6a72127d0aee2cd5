"""The cells of a bundle, held against a dictionary filled row by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quire.artifacts.bundle import open_bundle
from quire.artifacts.index import Index
from quire.artifacts.shards import Rows
from quire.train.report.corruption_cells import cells_of, severities
from tests.bundles import image_bundle, random_images

NAMES = st.sampled_from(["fog", "clean", "snow"])


def index(**columns: NDArray[Any]) -> Index:
    count = len(next(iter(columns.values())))
    rows = Rows(np.array([b"%d" % i for i in range(count)], np.bytes_), {}, {}, columns)
    return Index(np.zeros(count, np.int32), rows)


@given(st.lists(st.tuples(NAMES, st.sampled_from([0.0, 0.5, 3.0])), min_size=1))
def test_every_row_is_in_its_cell_clean_first(rows: list[tuple[str, float]]) -> None:
    found = cells_of(
        index(
            corruption=np.array([name.encode() for name, _ in rows], np.bytes_),
            severity=np.array([severity for _, severity in rows]),
            source_index=np.zeros(len(rows), np.int64),
        )
    )
    slow: dict[tuple[str, float], list[int]] = {}
    for number, cell in enumerate(rows):
        slow.setdefault(cell, []).append(number)
    assert {cell: numbers.tolist() for cell, numbers in found.items()} == slow
    first_come = [cell for cell in slow if cell[0] != "clean"]
    assert [cell for cell in found if cell[0] != "clean"] == first_come
    assert all(name == "clean" for name, _ in list(found)[: len(slow) - len(first_come)])


@pytest.mark.parametrize("column", ["corruption", "severity", "source_index"])
@pytest.mark.parametrize("instead", [None, np.array([b"x"]), np.array([1.0])])
def test_another_kind_of_bundle_has_no_cells(column: str, instead: NDArray[Any] | None) -> None:
    columns = {
        "corruption": np.array([b"fog"]),
        "severity": np.array([1]),
        "source_index": np.array([0]),
    }
    assert list(cells_of(index(**columns))) == [("fog", 1.0)]
    if instead is None:
        del columns[column]
    else:
        columns[column] = instead
    fits = {"corruption": "S", "severity": "iuf", "source_index": "iu"}[column]
    expected = instead is not None and instead.dtype.kind in fits
    assert bool(cells_of(index(**columns))) == expected


def test_a_bundle_of_plain_images_has_no_cells(tmp_path: Path) -> None:
    image_bundle(tmp_path / "b", *random_images(3), samples_per_shard=2)
    assert cells_of(open_bundle(tmp_path / "b").index) == {}


def test_severities_rise_and_corruptions_keep_their_order() -> None:
    none = np.zeros(0, np.int64)
    cells = {("snow", 3.0): none, ("fog", 0.5): none, ("snow", 1.0): none}
    assert list(severities(cells).items()) == [("snow", (1.0, 3.0)), ("fog", (0.5,))]
