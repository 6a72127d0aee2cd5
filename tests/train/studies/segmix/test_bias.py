"""The study of context: the baseline has to show it, or nothing can be said of the others."""

from pathlib import Path

import pytest

from quire.builders.sources.context import ONLY, SWAPPED, TOGETHER
from quire.train.engine.runs import read_run
from quire.train.segmentation.measure import Measure, count
from quire.train.segmentation.run import BINDING
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.run import conduct
from quire.train.studies.segmix import bias
from quire.train.studies.segmix.setting import BASELINE
from quire.train.studies.study import Layout
from tests.train.studies.places import place_in, rows_of

GAP = "own - alone"


@pytest.fixture(scope="module")
def layout(out: Path) -> Layout:
    return conduct("segmix-bias", STUDIES["segmix-bias"], "smoke", place_in(out, []))


@pytest.mark.slow
def test_the_baseline_leans_on_context(layout: Layout) -> None:
    """So the study has power: seen are 52 points here, and 66.5 to 68.5 at the small scale."""
    (grid,) = layout.grids
    (gap,) = grid.values[BASELINE, GAP]
    (own,), (another,) = (grid.values[BASELINE, name] for name in ("with its own", "with another"))
    assert gap > 30 and own - another > 30


@pytest.mark.slow
def test_every_method_is_there_before_and_after_its_second_stage(layout: Layout) -> None:
    (grid,) = layout.grids
    plain = [row for row, one in bias._VARIANTS.items() if one not in BINDING]
    binding = [row for row, one in bias._VARIANTS.items() if one in BINDING]
    expected = {*plain, *(f"{row} + clean" for row in plain)}
    expected |= {f"{row}, {answer}" for row in binding for answer in ("S_t", "S_fb")}
    assert set(grid.rows) == expected | {f"{row} + denoising" for row in binding}
    for row in grid.rows:
        (own,), (alone,) = (grid.values[row, name] for name in ("with its own", "alone"))
        (gap,) = grid.values[row, GAP]
        assert gap == pytest.approx(own - alone)


@pytest.mark.slow
def test_clean_epochs_are_those_of_denoising(layout: Layout, out: Path) -> None:
    lines = rows_of(out / "segmix-bias-smoke" / "measured.csv")
    runs = {line["row"]: out / "runs" / line["run"] for line in lines}
    for row, run in runs.items():
        record = read_run(run).config
        epochs = "denoising_epochs" if bias._VARIANTS[row] in BINDING else "clean_epochs"
        assert record[epochs] == 2 and record["denoising_lr"] == 0.005
        steps = (run / "metrics.jsonl").read_text()
        assert '"stage": 2, "epoch": 2' in steps
    baseline = runs[BASELINE]
    for split in (TOGETHER, ONLY, SWAPPED):
        (test,) = (out / "bundles").glob(f"context-60-size-48-{split}-*")
        for stage in ("1", "2"):
            found = count(baseline, str(test), how=Measure(separation=stage == "1"), device="cpu")
            (one,) = found.over()
            (line,) = (
                line
                for line in lines
                if (line["row"], line["stage"], line["scenes"]) == (BASELINE, stage, split)
            )
            classes = dict(zip(read_run(baseline).classes, one.classes, strict=True))
            for name, value in classes.items():
                assert float(line[name]) == pytest.approx(value, nan_ok=True)
            objects = [classes[name] for name in ("ring", "cross", "square", "triangle", "disc")]
            assert float(line["objects"]) == pytest.approx(100 * sum(objects) / 5)
