"""Records of finished shards: they come back as they were, or do not count."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quire.builders.engine.records import append, records

KINDS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(32, 64))
ARRAYS = hnp.arrays(
    KINDS.filter(lambda kind: kind.byteorder != ">") | hnp.byte_string_dtypes(min_len=1, max_len=9),
    hnp.array_shapes(max_dims=3, min_side=0, max_side=4),
)
NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != ".about")


@given(st.dictionaries(NAMES, ARRAYS, max_size=5), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arrays_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Any], data: st.DataObject
) -> None:
    """In their order too, on which the bytes of a table may hang."""
    folder = tmp_path_factory.mktemp("records")
    about = {"left_out": [], "shard": {"name": "a", "samples": 3}}
    append(folder, "a.tar", about, arrays)
    told, found = records(folder)["a.tar"].read()
    assert told == about and [*found] == [*arrays]
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
    if arrays:
        prefix = data.draw(st.sampled_from([*arrays]))[:1]
        assert [*records(folder)["a.tar"].read(prefix)[1]] == [
            name for name in arrays if name.startswith(prefix)
        ]


def test_a_record_counts_when_all_of_it_is_there(tmp_path: Path) -> None:
    """Whatever byte a process was killed before, or a disk lost."""
    for name in ("a.tar", "b.tar"):
        append(tmp_path, name, {}, {"x": np.arange(3), "y": np.array([b"text"])})
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    first = len(whole) // 2
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert [*records(tmp_path)] == ["a.tar"] * (length >= first)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert [*records(tmp_path)] == ["a.tar"] * (place >= first)
    path.write_bytes(whole + bytes(5000))
    assert [*records(tmp_path)] == ["a.tar", "b.tar"]


def test_each_process_has_a_file_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So one that was killed in the midst of a record takes no other with it."""
    append(tmp_path, "a.tar", {}, {})
    append(tmp_path, "b.tar", {}, {})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr("os.getpid", lambda: -1)
    append(tmp_path, "c.tar", {}, {})
    assert len([*tmp_path.iterdir()]) == 2
    assert sorted(records(tmp_path)) == ["a.tar", "c.tar"]
