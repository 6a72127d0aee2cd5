"""Accuracy by epoch: every epoch of every model, in training and on test images."""

from pathlib import Path

import pytest

from quire.train.report.plots.curves import Curves
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.mbsg.setting import BASELINE, VARIANTS
from quire.train.studies.run import conduct
from tests.train.studies.places import place_in, rows_of


@pytest.mark.slow
def test_every_epoch_is_shown_in_training_and_on_test_images(out: Path) -> None:
    said: list[str] = []
    layout = conduct("mbsg-epochs", STUDIES["mbsg-epochs"], "smoke", place_in(out, said))
    measured = rows_of(out / "mbsg-epochs-smoke/measured.csv")
    assert {(line["row"], line["epoch"]) for line in measured} == {
        (name, str(epoch)) for name in VARIANTS for epoch in (1, 2, 3)
    }
    (grid,), (figure,) = layout.grids, layout.figures
    assert grid.columns == ("epoch 1", "epoch 2", "epoch 3")
    assert len(figure.panels) == 4
    for panel, images in zip(figure.panels, ("train", "test") * 2, strict=True):
        assert isinstance(panel, Curves) and panel.log
        assert panel.curves[-1].label == BASELINE and len(panel.curves) == 4
        for curve in panel.curves:
            wanted = [float(line[images]) for line in measured if line["row"] == curve.label]
            assert [value for (value,) in curve.values] == wanted
    for line in measured:
        (value,) = grid.values[line["row"], f"epoch {line['epoch']}"]
        assert value == float(line["test"])
