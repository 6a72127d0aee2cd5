"""The studies of SegMix at their smallest scale, whole."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.subset_table import read_subsets
from quire.train.report.page import shown
from quire.train.segmentation.evaluate import evaluate_segmentation
from quire.train.segmentation.measure import Measure
from quire.train.studies.bundles import built
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.run import conduct
from quire.train.studies.segmix.network import Network
from quire.train.studies.segmix.setting import BASELINE, METHODS, RES50, SETTINGS, networks
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Trials
from tests.train.studies.places import place_in, rows_of

OTHERS = {"segmix-table5", "segmix-table6", "segmix-bias"}  # whose trials are more than networks
SEGMIX: dict[str, Trials[Network, object]] = {
    name: study
    for name, study in STUDIES.items()
    if isinstance(study, Trials) and name.startswith("segmix") and name not in OTHERS
}
ANSWERS = {"S_t": "target", "S_fb": "bound"}
TRUNK = "small trunk"


@pytest.fixture(scope="module")
def layouts(out: Path) -> dict[str, Layout]:
    return {name: conduct(name, STUDIES[name], "smoke", place_in(out, [])) for name in SEGMIX}


def lines_of(out: Path, name: str) -> list[dict[str, str]]:
    return rows_of(out / f"{name}-smoke" / "measured.csv")


def line_of(out: Path, name: str, label: str, subset: str = "all") -> dict[str, str]:
    """What was measured for a row of a table, which may say of which answer."""
    row, _, answer = label.rpartition(", ") if label.endswith(tuple(ANSWERS)) else (label, "", "")
    (found,) = (
        line
        for line in lines_of(out, name)
        if (line["row"], line["answer"], line["subset"])
        == (row, ANSWERS.get(answer, "target"), subset)
    )
    return found


def test_they_are_those_of_the_paper() -> None:
    numbers = {name.removeprefix("segmix-") for name in STUDIES if name.startswith("segmix")}
    assert numbers == {"bias", "figure5", *(f"table{n}" for n in (1, 3, 4, 5, 6, 7, 8, 9, 10))}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEGMIX)
def test_each_runs_whole_and_shows_all_its_networks(
    name: str, layouts: dict[str, Layout], out: Path
) -> None:
    folder, layout = out / f"{name}-smoke", layouts[name]
    trials = SEGMIX[name].trials("smoke")
    assert {(line["row"], line["column"]) for line in lines_of(out, name)} == {
        (trial.row, trial.column) for trial in trials
    }
    grid = layout.grids[0]
    assert {row.split(", S_")[0] for row in grid.rows} == {trial.row for trial in trials}
    whole = [row for row in grid.rows if any(grid.values.get((row, c)) for c in grid.columns)]
    assert whole == list(grid.rows)
    assert len(rows_of(folder / "table.csv")) == len(grid.rows) * len(grid.columns)
    page = (folder / "report.html").read_text()
    assert shown(SEGMIX[name].title) in page and "Islam et al. 2021" in page


def every_number(layout: Layout) -> Iterator[tuple[str, str, float]]:
    for (row, column), values in layout.grids[0].values.items():
        for value in values:
            yield row, column, value


@pytest.mark.slow
def test_scenes_are_shown_beside_the_answers(layouts: dict[str, Layout], out: Path) -> None:
    sheet = layouts["segmix-table1"].pictures["panels"]
    with Image.open(out / "segmix-table1-smoke" / "panels.png") as written:
        assert written.size == sheet.size and written.tobytes() == sheet.tobytes()
    page = (out / "segmix-table1-smoke" / "report.html").read_text()
    assert page.count("data:image/png") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"segmix-table{n}" for n in (1, 7, 8, 9, 10)])
def test_a_table_of_trunks_has_the_mean_iou_of_all_scenes(
    name: str, layouts: dict[str, Layout], out: Path
) -> None:
    for row, column, value in every_number(layouts[name]):
        line = line_of(out, name, row)
        each = [float(v) for v in list(line.values())[-21:]]
        known = [v for v in each if not math.isnan(v)]
        assert column == TRUNK
        assert value == pytest.approx(100 * sum(known) / len(known))
        assert value == pytest.approx(100 * float(line["mean_iou"]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("segmix-table3", "occurring_iou"),
        ("segmix-table4", "occurring_iou"),
        ("segmix-figure5", "occurring_iou"),
    ],
)
def test_a_table_of_subsets_has_the_iou_of_each(
    name: str, number: str, layouts: dict[str, Layout], out: Path
) -> None:
    numbers = list(every_number(layouts[name]))
    for row, subset, value in numbers:
        assert value == pytest.approx(100 * float(line_of(out, name, row, subset)[number]))
    assert len({subset for _, subset, _ in numbers}) >= 3


@pytest.mark.slow
def test_means_over_all_that_is_told_stand_beside(layouts: dict[str, Layout], out: Path) -> None:
    for name in ("segmix-table3", "segmix-figure5"):
        _, told = layouts[name].grids
        assert told.values and not told.paper
        for (row, subset), (value,) in told.values.items():
            assert value == pytest.approx(100 * float(line_of(out, name, row, subset)["mean_iou"]))


@pytest.mark.slow
def test_what_denoising_leaves_to_its_fate_is_no_answer(
    layouts: dict[str, Layout], out: Path
) -> None:
    answers: dict[str, set[str]] = {}
    for line in lines_of(out, "segmix-table7"):
        answers.setdefault(line["row"], set()).add(line["answer"])
    for row, found in answers.items():
        if "Binding" in row:
            assert found == ({"target"} if "w/ DN" in row else {"target", "bound", "phantom"})
    assert {line["answer"] for line in lines_of(out, "segmix-table1")} == {"target"}
    assert layouts["segmix-table1"].grids[0].rows == tuple(METHODS)


@pytest.mark.slow
def test_subsets_are_those_of_the_bundle(layouts: dict[str, Layout], out: Path) -> None:
    (bundle,) = (out / "bundles").glob("shapes-24-size-48-val-*/subsets.h5")
    table = read_subsets(open_bundle(bundle.parent))
    for name in ("segmix-table3", "segmix-table4", "segmix-figure5"):
        rows = layouts[name].tables["scenes"].rows
        assert rows and any(int(count) for _, count, _ in rows)
        for subset, count, _ in rows:
            assert int(count) == len(table.subsets[str(subset)].rows)


@pytest.mark.slow
def test_an_object_has_its_own_class(layouts: dict[str, Layout], out: Path) -> None:
    own = layouts["segmix-table4"].grids[1]
    assert own.values
    for (row, subset), (value,) in own.values.items():
        partner = subset.removeprefix("only-").split("+")[-1]
        line = line_of(out, "segmix-table4", row, subset)
        assert value == pytest.approx(100 * float(line[partner]))


@pytest.mark.slow
def test_before_and_after_denoising_are_of_one_run(layouts: dict[str, Layout], out: Path) -> None:
    for kind in ("CC", "CM"):
        before = line_of(out, "segmix-table7", f"+ Binding-{kind} (w/o DN), S_t")
        after = line_of(out, "segmix-table7", f"+ Binding-{kind} (w/ DN)")
        assert before["run"] == after["run"] and before["mean_iou"] != after["mean_iou"]
        run, (data,) = out / "runs" / before["run"], (out / "bundles").glob("shapes*-val-*/val-*")
        found = evaluate_segmentation(run, str(data.parent), how=Measure(separation=True))
        mean = {one.answer: one.mean_iou for one in found["all"]}["target"]
        assert mean == pytest.approx(float(before["mean_iou"]))


@pytest.mark.slow
def test_the_papers_numbers_stand_beside_the_answer_that_they_are_of(
    layouts: dict[str, Layout],
) -> None:
    one, seven, eight = (layouts[f"segmix-table{n}"].grids[0].paper for n in (1, 7, 8))
    assert one["+ Binding-CM", "ResNet-101"] == 78.9
    assert one["DeepLabv3", "ResNet-50"] == 75.1
    assert seven["+ Binding-CC (w/o DN), S_fb", "ResNet-101"] == 76.4
    assert seven["+ Binding-CC (w/ DN)", "ResNet-101"] == 77.9
    assert eight["+ Binding-CM (w/o FBH)", "ResNet-101"] == 77.9
    assert eight["+ Binding-CM (w/ FBH), S_fb", "ResNet-101"] == 78.3
    ten = layouts["segmix-table10"].grids[0].paper
    assert ten["+ Binding-CM (no max), S_fb", "ResNet-101"] == 77.0


@pytest.mark.slow
def test_studies_share_runs(layouts: dict[str, Layout], out: Path) -> None:
    runs = {name: {line["run"] for line in lines_of(out, name)} for name in SEGMIX}
    assert runs["segmix-table1"] == runs["segmix-table3"] == runs["segmix-figure5"]
    assert len(runs["segmix-table1"]) == 5
    assert runs["segmix-table7"] < runs["segmix-table1"]
    assert len(runs["segmix-table9"] - runs["segmix-table1"]) == 1  # Mixup by co-occurrence


@pytest.mark.parametrize("name", SEGMIX)
@pytest.mark.parametrize("scale", ["small", "full"])
def test_without_data_nothing_begins(name: str, scale: Scale, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"--sources voc2012:PATH"):
        conduct(name, STUDIES[name], scale, place_in(tmp_path, []))
    assert not list(tmp_path.iterdir())


def test_the_full_scale_is_the_papers() -> None:
    network = SETTINGS["full"].network
    assert (network.crop, network.scale, network.epochs, network.denoising_epochs) == (
        *(513, (0.5, 2.0)),
        *(50, 50),
    )
    assert (network.lr, network.denoising_lr) == (2.5e-4, 2.5e-5)
    assert (network.momentum, network.weight_decay, network.power) == (0.9, 5e-4, 0.9)
    trunks = {trial.config.trunk for trial in SEGMIX["segmix-table1"].trials("full")}
    assert trunks == {"resnet50", "resnet101"}
    deepest = {trial.config.trunk for trial in SEGMIX["segmix-table3"].trials("full")}
    assert deepest == {"resnet101"}
    setting = SETTINGS["full"]  # Binding-CC sees as many blends as the others see scenes
    assert setting.blends and setting.blends * setting.blend_epochs == 10_582 * network.epochs
    assert SETTINGS["paper"] == replace(setting, blends=None, blend_epochs=network.epochs)


@pytest.mark.slow
def test_trunks_begin_with_the_weights_that_are_named(out: Path) -> None:
    smoke = SETTINGS["smoke"]
    (network,) = networks(smoke, {BASELINE: METHODS[BASELINE]}, (RES50,))
    place = replace(place_in(out, []), weights={"imagenet-resnet50": "/nowhere/resnet50.pth"})
    folders = {bundle: built(bundle, place) for bundle in network.bundles}
    with pytest.raises(RunError, match=r"/nowhere/resnet50\.pth"):
        network.attempt(0, folders, place)
