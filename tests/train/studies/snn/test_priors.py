"""The studies of sparse networks at their smallest scale, whole."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from quire.artifacts.errors import RunError
from quire.builders.sources.source import Nothing
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.run import conduct
from quire.train.studies.snn.priors import (
    CONVENTIONS,
    ECCENTRICITY,
    MEASURES,
    PARAMETERS,
    PROPERTIES,
    SETTINGS,
    Priors,
)
from quire.train.studies.snn.table1 import OF_NETWORKX
from quire.train.studies.study import Layout, Scale
from tests.train.studies.places import place_in, rows_of


@pytest.fixture(scope="module")
def table1(out: Path) -> Layout:
    return conduct("snn-table1", STUDIES["snn-table1"], "smoke", place_in(out, []))


@pytest.mark.slow
def test_there_is_a_network_for_each_graph_and_initialisation(table1: Layout, out: Path) -> None:
    lines = rows_of(out / "snn-table1-smoke" / "measured.csv")
    assert len(lines) == 36
    assert len({(line["graph"], line["initialisation"]) for line in lines}) == 36
    assert {line["seed"] for line in lines} == {"0"}
    for line in lines:
        assert 0 <= float(line["macro_f1"]) <= 1
        assert 500 <= float(line[PARAMETERS]) <= 3000
        assert int(line["correct"].partition(".")[0]) <= int(line["images"].partition(".")[0])


@pytest.mark.slow
def test_coefficients_are_those_of_what_was_measured(table1: Layout, out: Path) -> None:
    """From the single numbers that were written, by another way."""
    lines = rows_of(out / "snn-table1-smoke" / "measured.csv")
    graphs = list(dict.fromkeys(line["graph"] for line in lines))
    rho, tau = table1.grids
    for name, title in MEASURES.items():
        values = np.array([float(line[name] or "nan") for line in lines])
        low, high = np.nanquantile(values, 0.25), np.nanquantile(values, 0.75)
        width = 1.5 * (high - low)
        inside = (values >= low - width) & (values <= high + width)
        means, known = [], []
        for number, graph in enumerate(graphs):
            own = np.array([line["graph"] == graph for line in lines]) & inside
            if own.any():
                means.append(values[own].mean())
                known.append(number)
        for name in (*PROPERTIES, *CONVENTIONS):
            of_graph = {line["graph"]: float(line[name]) for line in lines}
            column = [of_graph[graphs[number]] for number in known]
            (found,) = rho.values[name, title]
            assert found == pytest.approx(stats.spearmanr(column, means).statistic)
            (found,) = tau.values[name, title]
            assert found == pytest.approx(stats.kendalltau(column, means).statistic)


@pytest.mark.slow
def test_p_n_and_strength_are_beside_the_coefficients(table1: Layout, out: Path) -> None:
    lines = rows_of(out / "snn-table1-smoke" / "correlations.csv")
    assert {(line["property"], line["measure"]) for line in lines} == {
        (name, measure) for name in (*PROPERTIES, *CONVENTIONS) for measure in MEASURES.values()
    }
    for line in lines:
        assert 3 <= int(line["n"]) <= 6
        assert 0 <= float(line["p of rho"]) <= 1 and 0 <= float(line["p of tau"]) <= 1
        strong = abs(float(line["rho"])) >= 0.5
        assert (line["strength"] == "large") == strong


@pytest.mark.slow
def test_attacks_neither_fool_all_nor_none(table1: Layout, out: Path) -> None:
    """In the unit of the inputs epsilon .1 is no ceiling, so networks can differ."""
    lines = rows_of(out / "snn-table1-smoke" / "measured.csv")
    rates = [float(line["fgsm_error_rate"]) for line in lines]
    assert sum(0.05 < rate < 0.95 for rate in rates) >= len(rates) / 2
    assert len({round(rate, 2) for rate in rates}) > 5


@pytest.mark.slow
def test_small_worlds_of_networkx_are_a_study_too(out: Path) -> None:
    name = "snn-table1-networkx"
    layout = conduct(name, STUDIES[name], "smoke", place_in(out, []))
    assert len(rows_of(out / f"{name}-smoke" / "measured.csv")) == 36
    assert layout.grids[0].rows == (*PROPERTIES, *CONVENTIONS)
    recipe = OF_NETWORKX.graphs(SETTINGS["full"].graphs)
    assert recipe.k == (2, 4, 6, 8, 10, 20) and recipe.nei is None and recipe.p
    assert recipe.resolve(Nothing()).generator == "watts_strogatz_networkx"


@pytest.mark.slow
def test_the_papers_table_is_beside_ours(table1: Layout) -> None:
    rho, tau = table1.grids
    assert rho.paper["density", "FGSM confidence"] == -0.66
    assert tau.paper["average eccentricity", "one pixel confidence"] == 0.14
    assert ("average path length", "one pixel error rate") not in rho.paper
    assert len(rho.paper) == len(tau.paper) == 15


@pytest.mark.slow
def test_the_figures_are_drawn_from_the_same_networks(table1: Layout, out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("sparse-*/networks/*")}
    layout = conduct("snn-figures", STUDIES["snn-figures"], "smoke", place_in(out, []))
    after = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("sparse-*/networks/*")}
    assert before and before == after
    names = [figure.name for figure in layout.figures]
    assert names == ["figure3-4", "figure5", "figure6", "figure7", "figure8"]
    for name in names:
        assert (out / "snn-figures-smoke" / f"{name}.png").stat().st_size > 10_000
        assert len(rows_of(out / "snn-figures-smoke" / f"{name}.csv")) >= 6
    boxes = rows_of(out / "snn-figures-smoke" / "figure5.csv")
    assert {line["label"] for line in boxes} == {"N", "U", "G_N", "G_U", "He_N", "He_U"}


@pytest.mark.slow
def test_the_reference_is_attacked_after_each_step(out: Path) -> None:
    layout = conduct("snn-table2", STUDIES["snn-table2"], "smoke", place_in(out, []))
    lines = rows_of(out / "snn-table2-smoke" / "measured.csv")
    assert len(lines) == 5 * 2  # steps 0 to 4 of two prunings
    parameters = [float(line[PARAMETERS]) for line in lines]
    assert parameters == sorted(parameters, reverse=True) and len({*parameters}) == 5
    for grid in layout.grids:  # both fall at every step
        for measure in MEASURES.values():
            assert grid.values[PARAMETERS, measure] == grid.values["density", measure]
    assert layout.grids[0].paper[ECCENTRICITY, "one pixel error rate"] == -0.34


@pytest.mark.parametrize(
    "study", [STUDIES["snn-table1"], STUDIES["snn-figures"], STUDIES["snn-table2"]]
)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_without_data_nothing_begins(study: Priors, scale: Scale, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"--sources mnist:PATH"):
        conduct("any", study, scale, place_in(tmp_path, []))
    assert not list(tmp_path.iterdir())


def test_the_full_scale_is_the_papers() -> None:
    full = SETTINGS["full"]
    source_free: Mapping[str, object] = {"graphs": full.graphs.graphs, "sizes": full.graphs.sizes}
    assert source_free == {"graphs": None, "sizes": None}  # the recipe's defaults: the paper's grid
    assert (full.networks.epochs, len(full.networks.initialisations)) == (30, 6)
    attack = full.attack
    assert (attack.images, attack.pixel_images, attack.epsilon) == (None, 100, 0.1)
    assert (attack.population, attack.generations) == (500, 500)
