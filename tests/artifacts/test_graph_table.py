"""graphs.h5 from whoever it may be: what cannot be is refused, and costs no memory."""

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import h5py
import numpy as np
import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.graph_table import GRAPHS, attributes, read_cells, read_graphs
from tests.bundles import image_bundle, random_images
from tests.graph_bundles import graph_bundle
from tests.hostile_tables import with_table


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "b"
    graph_bundle(folder)
    return folder


@pytest.fixture
def bundle(sound: Path, tmp_path: Path) -> Path:
    return Path(copytree(sound, tmp_path / "b"))


def test_the_table_comes_back(sound: Path) -> None:
    table = read_graphs(open_bundle(sound))
    with h5py.File(sound / GRAPHS) as file:
        assert np.array_equal(table.edges, file["edges"][()])
        assert np.array_equal(table.sizes, file["size"][()])
        assert np.array_equal(table.properties["dag/density"], file["dag/density"][()])
        assert np.array_equal(table.parameters["dense"], file["parameters/dense"][()])
    cells = read_cells(open_bundle(sound))
    assert cells is not None and cells.parameters.keys() == {"size", "nei", "p"}
    assert cells.accepted.sum() == 9 <= cells.attempts.sum()


def put(name: str, value: object, at: object = ...) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][at] = value

    return change


def replaced(name: str, **options: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


def swapped(file: h5py.File) -> None:
    file["edges"][:2] = file["edges"][:2][::-1]


def removed(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def linked(file: h5py.File) -> None:
    del file["edges"]
    file["edges"] = h5py.ExternalLink("/etc/passwd", "/edges")


def huge(rows: int, width: tuple[int, ...] = ()) -> dict[str, object]:
    """A claim that takes no room in the file."""
    return {"shape": (rows, *width), "dtype": np.int64, "chunks": (1 << 10, *width)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("offsets/edges", 1, 0), "offsets/edges do not rise"),
        (put("offsets/edges", 10**9, 3), "offsets/edges do not rise"),
        (put("offsets/edges", 2**62, -1), "offsets/edges do not rise"),
        (put("offsets/edges", 3, -1), "offsets/edges do not rise"),
        (put("size", -1, 0), "size holds what no graph has"),
        (put("size", 2**40, 0), "size holds what no graph has"),
        (put("size", 5, 3), "graph 3 has an arc outside it"),
        (put("edges", -1, (0, 1)), "graph 0 has an arc outside it"),
        (put("edges", 99, (-1, 0)), "graph 8 has an arc outside it"),
        (put("edges", [3, 3], 0), "graph 0 has an arc outside it"),
        (put("edges", [0, 1], 0), "has arcs in both directions: it may have a cycle"),
        (swapped, "graph 0 has an arc twice, or out of order"),
        (put("edges", [1, 0], slice(0, 2)), "graph 0 has an arc twice, or out of order"),
        (replaced("edges", data=np.zeros((4, 2), np.int32)), "edges has shape"),
        (replaced("size", data=np.zeros(9)), "size is float64, not whole numbers"),
        (replaced("size", **huge(10**15)), "size has shape"),
        (replaced("edges", **huge(10**15, (2,))), "edges has shape"),
        (replaced("dag/density", data=np.zeros(8)), "dag/density has shape"),
        (replaced("dag/density", data=np.array([b"x"] * 9, object)), "which tables do not hold"),
        (removed("parameters"), "parameters/connected is missing"),
        (removed("undirected/diameter"), "undirected/diameter is missing"),
        (linked, "edges is a link"),
    ],
)
def test_what_cannot_be_is_refused(
    bundle: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with_table(bundle, GRAPHS, change)
    with pytest.raises(BundleError, match=message):
        read_graphs(open_bundle(bundle))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (removed("cells/attempts"), "cells has 0 rows"),
        (replaced("cells/attempts", **huge(10**15)), "cells has 1000000000000000 rows"),
        (replaced("cells/nei", data=np.zeros(3)), "nei has shape"),
        (replaced("cells/nei", data=np.array([b"x"] * 12)), "not the numbers of a grid"),
        (removed("cells/accepted"), "not the numbers of a grid"),
    ],
)
def test_cells_that_cannot_be_are_refused(
    bundle: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with_table(bundle, GRAPHS, change)
    with pytest.raises(BundleError, match=message):
        read_cells(open_bundle(bundle))


def test_a_damaged_table_and_another_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    data = bytearray((bundle / GRAPHS).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / GRAPHS).write_bytes(data)
    with pytest.raises(BundleError, match=r"graphs\.h5 is damaged"):
        read_graphs(open_bundle(bundle))
    image_bundle(tmp_path / "images", *random_images(2), samples_per_shard=2)
    with pytest.raises(BundleError, match="it is no bundle of graphs"):
        read_graphs(open_bundle(tmp_path / "images"))


def test_every_array_is_described() -> None:
    assert attributes("undirected/nodes/closeness")["offsets"] == "offsets/nodes"
    assert attributes("dag/counts/path_length")["offsets"] == "offsets/dag/path_length"
    assert attributes("cells/nei")["unit"] == "nodes"
    with pytest.raises(KeyError):
        attributes("dag/nodes/colour")
