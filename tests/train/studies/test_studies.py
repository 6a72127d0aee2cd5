"""Every study runs at its smallest scale, whole."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

import quire
from quire.artifacts.errors import RunError
from quire.train.report.grid import Grid
from quire.train.report.page import shown
from quire.train.studies.bundles import missing
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.classifiers import Classifier, Classifiers
from quire.train.studies.run import conduct
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials
from tests.train.studies.places import place_in, rows_of

ROOT = Path(__file__).parents[3]
TRIALS: dict[str, Classifiers] = {
    name: study
    for name, study in STUDIES.items()
    if isinstance(study, Trials) and isinstance(study.trials("smoke")[0], Classifier)
}


def cells_of(grid: Grid) -> Iterator[tuple[str, str]]:
    return ((row, column) for row in grid.rows for column in grid.columns)


# The longest of the two papers; what they show is that of others, or of the demo.
LONG = (
    "mbsg-severity",
    "mbsg-table1",
    "mbsg-table2",
    "mbsg-table3",
    "cnn2graph-figure4",
    "cnn2graph-figure5",
    "cnn2graph-table1",
    "cnn2graph-table2",
    "cnn2graph-table3",
    "cnn2graph-table6",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=pytest.mark.slow) if one in LONG else one for one in TRIALS],
)
def test_a_study_runs_whole_and_shows_all_that_it_measured(name: str, out: Path) -> None:
    study, said = TRIALS[name], list[str]()
    layout = conduct(name, study, "smoke", place_in(out, said))
    trials = study.trials("smoke")
    folder = out / f"{name}-smoke"
    measured = rows_of(folder / "measured.csv")
    seeds = study.seeds["smoke"]
    assert {(r["row"], r["column"], r["seed"]) for r in measured} == {
        (trial.row, trial.column, str(seed)) for trial in trials for seed in range(seeds)
    }
    for line in measured:
        assert 0 <= int(line["correct"]) <= int(line["images"])
        accuracy = 100 * int(line["correct"]) / int(line["images"])
        assert float(line["accuracy"]) == pytest.approx(accuracy)
    means = {float(line["accuracy"]) for line in measured}
    tables = sorted(folder.glob("table*.csv"))
    assert len(tables) == len(layout.grids)
    for grid, table in zip(layout.grids, tables, strict=True):
        assert any(grid.values.get(cell) for cell in cells_of(grid))
        assert all(len(found) in (0, seeds) for found in grid.values.values())
        listed = {float(value) for line in rows_of(table) for value in line["values"].split()}
        assert listed == {value for found in grid.values.values() for value in found}
    accuracies = [grid for grid in layout.grids if grid.title.startswith("accuracy")]
    values = {
        value
        for grid in accuracies
        for (_, column), found in grid.values.items()
        if not column.startswith("images seen")
        for value in found
    }
    assert values == means or not accuracies  # nothing is left out, nothing was not measured
    page = (folder / "report.html").read_text()
    assert shown(study.title) in page and study.paper.replace("&", "&amp;") in page
    for figure in layout.figures:
        assert (folder / f"{figure.name}.png").stat().st_size > 1000
        assert len(rows_of(folder / f"{figure.name}.csv")) > 1
    assert len(said) >= len(trials) * seeds


@pytest.mark.slow
def test_what_is_finished_is_used_again(out: Path) -> None:
    said = list[str]()
    conduct("mbsg-table3", STUDIES["mbsg-table3"], "smoke", place_in(out, said))
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/*.safetensors")}
    tables = (out / "mbsg-table3-smoke" / "table.csv").read_bytes()
    conduct("mbsg-table3", STUDIES["mbsg-table3"], "smoke", place_in(out, said))
    conduct("mbsg-table2", STUDIES["mbsg-table2"], "smoke", place_in(out, said))
    after = {path: path.stat().st_mtime_ns for path in (out / "runs").glob("*/*.safetensors")}
    assert before and all(after[path] == time for path, time in before.items())
    assert (out / "mbsg-table3-smoke" / "table.csv").read_bytes() == tables


@pytest.mark.slow
def test_studies_share_runs(out: Path) -> None:
    """The model of Table 1 with dropped features is that of Table 2 with k = 16."""
    for name in ("mbsg-table1", "mbsg-table2"):
        conduct(name, STUDIES[name], "smoke", place_in(out, []))
    runs = {
        name: {line["run"] for line in rows_of(out / f"{name}-smoke" / "measured.csv")}
        for name in ("mbsg-table1", "mbsg-table2")
    }
    assert len(runs["mbsg-table1"] & runs["mbsg-table2"]) == 2  # MBSG and Attn-MBSG


def test_trials_without_their_data_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    table1 = TRIALS["mbsg-table1"]
    with pytest.raises(RunError, match=r"cifar10:PATH .*cifar100:PATH .*mit67=KIND:PATH"):
        conduct("mbsg-table1", table1, "full", place_in(tmp_path, []))
    assert not list(tmp_path.iterdir())
    trials = table1.trials("full")
    assert {trial.column for trial in trials} == {"cifar10", "cifar100", "mit67"}
    assert missing(trials[0].bundles, place_in(tmp_path, [])) == {"cifar10"}
    mixed = dataclasses.replace(
        table1, trials=lambda scale: [table1.trials("smoke")[0], trials[-1]]
    )
    said = list[str]()
    conduct("mixed", mixed, "smoke", place_in(tmp_path, said))
    assert said[0] == "left out: what reads mit67, as no source of it is given"


@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize("scale", ["smoke", "small", "full"])
def test_a_study_is_sound_at_every_scale(name: str, scale: Scale) -> None:
    study = TRIALS[name]
    trials = study.trials(scale)
    places = [(trial.row, trial.column) for trial in trials]
    assert len(set(places)) == len(places)
    assert study.seeds[scale] >= 1
    if scale == "full" and name.startswith("mbsg"):  # the paper's setting
        assert study.seeds[scale] == 5
        encoder = "wrn-28-10" if name == "mbsg-table5" else "resnet50"
        assert {trial.config.encoder for trial in trials} == {encoder}
        ours = [trial.config for trial in trials if trial.config.objective != "supcon"]
        assert {config.epochs for config in ours} == {500}


@pytest.mark.slow
def test_the_paper_is_set_beside_what_is_measured(out: Path) -> None:
    layout: Layout = conduct("mbsg-table2", STUDIES["mbsg-table2"], "smoke", place_in(out, []))
    (grid,) = layout.grids
    assert grid.paper["MBSG (dropfeat)", "k=16"] == 95.24
    assert grid.paper["Attn-MBSG (dropfeat)", "k=256"] == 93.52
    assert len(grid.paper) == 16


def test_a_study_is_a_small_file() -> None:
    studies = ROOT / "train" / "studies"
    paths = [*(studies / "mbsg").glob("*.py"), *(studies / "mbgnn").glob("*.py")]
    assert len(paths) > 6
    for path in paths:
        assert len(path.read_text().splitlines()) < 150, path.name


@pytest.mark.slow
def test_the_command_line(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["study", "mbsg-table3", "--out", str(out), "--no-tensorboard"]
    assert quire.main(command) == 0
    said = capsys.readouterr().out
    assert "accuracy (%) by batch size" in said and "94.34" in said
    assert quire.main([*command, "--scale", "small"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        "quire: Mondal, Jain & Siddiqi 2021, Table 3 at scale small reads data that is not at hand"
    )
    assert said.count("\n") == 1


def test_names_are_those_of_the_studies() -> None:
    assert len({study.paper for study in STUDIES.values()}) == len(STUDIES)
