"""The head of a card is YAML whatever the names, and says which files are which."""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.artifacts.front_matter import configurations, front_matter
from quire.artifacts.shards import Rows, Shard
from tests.bundles import IDENTITY


def shards(*names: str) -> tuple[Shard, ...]:
    """Shards of two samples each."""
    return tuple(Shard(name, 2, 10240, "0" * 64) for name in names)


def rows(shards: Sequence[Shard], corruptions: Sequence[str] = (), *files: str) -> Rows:
    """The rows of shards, each of one corruption."""
    count = 2 * len(shards)
    columns: dict[str, Any] = {"label": np.zeros(count, np.int64)}
    if corruptions:
        columns["corruption"] = np.array([name.encode() for name in corruptions]).repeat(2)
    offsets = {file: np.zeros(count, np.int64) for file in files or ("ppm", "cls")}
    return Rows(np.array([b"key"] * count), offsets, offsets, columns)


def head(names: Sequence[str], own: Sequence[Shard], of: Rows) -> dict[str, Any]:
    identity = replace(IDENTITY, source={**IDENTITY.source, "class_names": list(names)})
    text = front_matter(identity, own, of)
    first, body, rest = text.split("---\n")
    assert (first, rest) == ("", "")
    return dict(yaml.safe_load(body))


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_names_of_classes_come_back(names: list[str]) -> None:
    own = shards("a.tar")
    (features,) = (entry["features"] for entry in head(names, own, rows(own))["dataset_info"])
    assert features[0] == {"name": "ppm", "dtype": "image"}
    told = features[1]["dtype"]["class_label"]["names"]
    assert told == {str(number): name for number, name in enumerate(names)}


def test_there_is_a_configuration_for_each_corruption_and_the_features_are_told_once() -> None:
    names = [f"test-{c}-{s}-000000.tar" for c in ("fog", "fog_of_war", "snow") for s in (1, 2)]
    own = shards(*names)
    of = rows(own, ["fog", "fog", "fog_of_war", "fog_of_war", "snow", "snow"])
    found = head(["x" * 1000], own, of)
    for entry in found["configs"]:
        (files,) = entry["data_files"]
        fits = [name for name in names if fnmatchcase(name, files["path"])]
        assert fits == [f"test-{entry['config_name']}-{s}-000000.tar" for s in (1, 2)]
        assert files["split"] == "test"
    assert [entry["config_name"] for entry in found["dataset_info"]] == [
        "fog",
        "fog_of_war",
        "snow",
    ]
    assert len(front_matter(IDENTITY, own, of)) < 3000
    assert len({id(entry["features"]) for entry in found["dataset_info"]}) == 1


def test_where_no_pattern_fits_the_files_are_named() -> None:
    own = shards("a-000000.tar", "b-000000.tar", "c-000000.tar")
    found = configurations(own, rows(own, ["fog", "snow", "fog"]))
    assert found == {"fog": ["a-000000.tar", "c-000000.tar"], "snow": ["b-000000.tar"]}


def test_other_bundles_have_one_configuration() -> None:
    own = shards("a-000000.tar", "a-000001.tar")
    found = head(["a"], own, rows(own))
    assert found["configs"] == [
        {"config_name": "default", "data_files": [{"split": "test", "path": "*.tar"}]}
    ]


@pytest.mark.parametrize("files", [("json",), ("npy", "ppm")])
def test_what_is_no_image_or_class_is_left_to_the_reader(files: tuple[str, ...]) -> None:
    own = shards("a-000000.tar")
    assert "dataset_info" not in head([], own, rows(own, (), *files))


def test_tables_alone_have_no_files_to_read() -> None:
    found = head([], (), rows(()))
    assert found["tags"] == ["quire"] and "configs" not in found
