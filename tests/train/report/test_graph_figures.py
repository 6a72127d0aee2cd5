"""The figure of a bundle of graphs, against the graphs themselves."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.graph_table import GRAPHS, read_graphs
from quire.train.report.graph_figures import distributions
from quire.train.report.plots.histogram import Histogram
from tests.bundles import write_bundle
from tests.graph_bundles import graph_bundle
from tests.hostile_tables import with_table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "b"
    graph_bundle(folder)
    return folder


def by_title(folder: Path) -> dict[str, Histogram]:
    panels = distributions(open_bundle(folder))
    assert all(isinstance(panel, Histogram) for panel in panels)
    return {panel.title: panel for panel in panels if isinstance(panel, Histogram)}


def test_every_graph_is_in_every_histogram(folder: Path) -> None:
    table, panels = read_graphs(open_bundle(folder)), by_title(folder)
    assert list(panels)[:4] == ["Parameters", "Size", "Neighbours on each side", "Probability"]
    for panel in panels.values():
        assert sum(len(values) for values in panel.groups.values()) == len(table.sizes) == 9
    for title, name in {
        "Density": "density",
        "Diameter": "diameter",
        "Average path length": "path_length_reachable",
        "Average eccentricity": "mean_eccentricity",
        "Average betweenness": "mean_betweenness",
        "Average closeness": "mean_closeness",
    }.items():
        assert np.array_equal(panels[title].groups[""], table.properties[f"dag/{name}"])
    assert np.array_equal(panels["Parameters"].groups[""], table.parameters["connected"])


def test_graphs_with_few_parameters_are_shown_apart(folder: Path) -> None:
    bundle, panels = open_bundle(folder), by_title(folder)
    parameters = read_graphs(bundle).parameters["connected"]
    most = int(parameters.min() + 0.25 * (parameters.max() - parameters.min()))
    few = parameters <= most
    assert 0 < few.sum() < len(few)
    for title, column in {"Size": "size", "Neighbours on each side": "nei"}.items():
        groups = panels[title].groups
        assert list(groups) == [f"up to {most:,} parameters", "more"]
        values = bundle.index.rows.columns[column]
        assert np.array_equal(groups["more"], values[~few])
        assert np.array_equal(groups[f"up to {most:,} parameters"], values[few])


def test_graphs_of_equal_size_are_not_split(tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")

    def even(file: h5py.File) -> None:
        file["parameters/connected"][:] = 7

    with_table(tmp_path / "b", GRAPHS, even)
    assert list(by_title(tmp_path / "b")["Size"].groups) == [""]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(9, b"x"), "dag/density is .S1, not numbers"),
        (np.zeros(8), "dag/density"),
        (None, "dag/density"),
    ],
)
def test_a_property_that_is_no_number_is_refused(values: Any, message: str, tmp_path: Path) -> None:
    graph_bundle(tmp_path / "b")

    def change(file: h5py.File) -> None:
        del file["dag/density"]
        if values is not None:
            file["dag/density"] = values

    with_table(tmp_path / "b", GRAPHS, change)
    with pytest.raises(BundleError, match=message):
        distributions(open_bundle(tmp_path / "b"))


def test_other_bundles_have_no_such_figure(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", ["a"], {"json": [b"{}"]}, {}, samples_per_shard=1)
    with pytest.raises(BundleError, match=f"has no {GRAPHS}"):
        distributions(open_bundle(tmp_path / "b"))
