"""Table 5, of universal perturbations, and Table 6, of salient objects, at their smallest."""

from pathlib import Path

import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.errors import RunError
from quire.artifacts.perturbation_table import read_perturbations
from quire.artifacts.verify import verify
from quire.train.engine.runs import MODEL, read_run
from quire.train.segmentation.measure import Measure, count
from quire.train.segmentation.measure_saliency import measure_saliency
from quire.train.segmentation.pseudo import PseudoLabels
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.run import conduct
from quire.train.studies.segmix import table5, table6
from quire.train.studies.segmix.setting import BASELINE, CM
from quire.train.studies.study import Layout, Scale
from tests.train.studies.places import place_in, rows_of


def conducted(out: Path, name: str) -> tuple[Layout, list[dict[str, str]]]:
    layout = conduct(name, STUDIES[name], "smoke", place_in(out, []))
    return layout, rows_of(out / f"{name}-smoke" / "measured.csv")


@pytest.mark.slow
def test_without_a_perturbation_numbers_are_those_of_table_1(out: Path) -> None:
    clean, first = conducted(out, "segmix-table1")
    evaluations = sorted(out.glob("runs/small-*/evaluations/*"))
    layout, lines = conducted(out, "segmix-table5")
    mean, flipped = layout.grids
    assert mean.rows == clean.grids[0].rows and mean.columns == table5._COLUMNS
    for row in mean.rows:
        assert mean.values[row, "clean"] == clean.grids[0].values[row, "small trunk"]
        assert flipped.columns == ("R-No",) and 0 <= flipped.values[row, "R-No"][0] < 100
    plain = [line for line in lines if line["column"] == "clean"]
    assert {line["run"] for line in plain} == {line["run"] for line in first}
    assert all(line["flipped"] == "None" for line in plain)
    for path in evaluations:
        assert path.exists()  # nothing was counted again: the same file
    whole = [line for line in first if line["subset"] == "all"]
    key = ("row", "answer", "mean_iou")
    assert [[line[k] for k in key] for line in plain] == [[line[k] for k in key] for line in whole]
    assert mean.paper["DeepLabv3", "R-No"] == 66.7 and mean.paper[CM, "clean"] == 78.9


@pytest.mark.slow
def test_all_are_under_the_perturbation_of_the_baseline(out: Path) -> None:
    _, lines = conducted(out, "segmix-table5")
    (bundle,) = (out / "bundles").glob("gd-uap-none-*")
    assert verify(bundle) == ()
    (one,) = read_perturbations(open_bundle(bundle))
    (baseline,) = {line["run"] for line in lines if line["row"] == BASELINE}
    assert one.of == sha256(out / "runs" / baseline / MODEL) and one.xi == 10
    (val,) = (out / "bundles").glob("shapes-24-size-48-val-*/val-000000.tar")
    for line in (line for line in lines if line["column"] == "R-No"):
        how = Measure(perturbation=(str(bundle), one.name))
        found = count(out / "runs" / line["run"], str(val.parent), how=how, device="cpu").over()
        (same,) = (each for each in found if each.answer == line["answer"])
        assert (str(same.mean_iou), str(same.flipped)) == (line["mean_iou"], line["flipped"])


@pytest.mark.slow
def test_salient_objects_are_found_by_partners_of_classes(out: Path) -> None:
    layout, lines = conducted(out, "segmix-table6")
    (grid,) = layout.grids
    assert grid.rows == tuple(table6._PAPER) == tuple(line["row"] for line in lines)
    assert grid.paper[CM, "max F"] == 0.909 and grid.paper[CM, "MAE"] == 0.043
    (test,) = (out / "bundles").glob("shapes-24-size-48-classes-salient-val-*")
    (pseudo,) = (out / "bundles").glob("predictions-*")
    for line in lines:
        run = out / "runs" / line["run"]
        found = measure_saliency(run, str(test), device="cpu")
        assert grid.values[line["row"], "max F"] == [found.max_f]
        assert grid.values[line["row"], "MAE"] == [found.error] and found.images == 24
        inputs = read_run(run).inputs
        if line["row"] == CM:
            assert inputs["pseudo"] == PseudoLabels(str(pseudo)).digest
        else:
            assert "pseudo" not in inputs and "cooccurrence" not in inputs


@pytest.mark.parametrize("scale", ["small", "full"])
def test_without_data_nothing_begins(scale: Scale, tmp_path: Path) -> None:
    for name, wanted in (
        ("segmix-table5", "--sources uap:PATH --sources voc2012:PATH"),
        (
            "segmix-table6",
            {
                "small": "--sources sod=KIND:PATH --sources voc2012:PATH",
                "full": "--sources duts=KIND:PATH --sources ecssd=KIND:PATH --sources voc2012:PATH",
            }[scale],
        ),
    ):
        with pytest.raises(RunError, match=wanted):
            conduct(name, STUDIES[name], scale, place_in(tmp_path, []))
    assert not list(tmp_path.iterdir())


def test_the_full_scale_is_the_papers() -> None:
    trials = table5._trials("full")
    assert {trial.network.config.trunk for trial in trials} == {"resnet101"}
    assert len(trials) == 5 * 6 and {trial.craft.schedule.iterations for trial in trials} == {
        40_000
    }
    salient = table6._trials("full")
    assert {trial.config.trunk for trial in salient} == {"resnet50"}
    assert {trial.labelling.config.trunk for trial in salient} == {"resnet50"}
    assert {trial.config.epochs for trial in salient} == {50}
