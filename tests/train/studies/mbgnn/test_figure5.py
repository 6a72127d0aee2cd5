"""GANs by training step: every measurement of every model, and their last samples."""

from pathlib import Path

import pytest
from PIL import Image

from quire.artifacts.errors import RunError
from quire.train.report.plots.curves import Curves
from quire.train.studies.catalogue import STUDIES
from quire.train.studies.mbgnn.gans import MODELS, SETTINGS, VANILLA, trials
from quire.train.studies.run import conduct
from quire.train.studies.study import Scale
from tests.train.studies.places import place_in, rows_of

STUDY = STUDIES["mbgnn-figure5"]


def test_every_measurement_is_shown_beside_the_floor(out: Path) -> None:
    layout = conduct("mbgnn-figure5", STUDY, "smoke", place_in(out, []))
    folder = out / "mbgnn-figure5-smoke"
    measured = rows_of(folder / "measured.csv")
    assert [(line["row"], line["step"]) for line in measured] == [
        (row, step) for row in MODELS for step in ("2", "4")
    ]
    (grid,), (figure,) = layout.grids, layout.figures
    for line in measured:
        when = {"2": "midway", "4": "end"}[line["step"]]
        assert grid.values[line["row"], f"NDB/K, {when}"] == [float(line["score"])]
        assert grid.values[line["row"], f"JS (nats), {when}"] == [float(line["js"])]
    for panel, column in zip(figure.panels, ("score", "js"), strict=True):
        assert isinstance(panel, Curves)
        for curve in panel.curves:
            if curve.label in MODELS:
                wanted = [float(line[column]) for line in measured if line["row"] == curve.label]
                assert [value for (value,) in curve.values] == wanted
                assert curve.reference == (curve.label == VANILLA)
    floors = [curve for curve in figure.panels[0].curves if curve.label not in MODELS]  # type: ignore[union-attr]
    assert [curve.values for curve in floors] == [((0.05,), (0.05,))]
    for row in MODELS:
        with Image.open(folder / f"samples, digits, {row}.png") as grid_of_samples:
            assert grid_of_samples.size == (320, 320)


@pytest.mark.parametrize("scale", SETTINGS)
def test_models_differ_in_their_discriminator_alone(scale: Scale) -> None:
    found = trials(scale)
    for column in {trial.column for trial in found}:
        configs = [vars(trial.config) for trial in found if trial.column == column]
        assert len(configs) == 3
        assert {config["discriminator"] for config in configs} == {
            "vanilla",
            "minibatch",
            "mc-mbgnn",
        }
        others = [{k: v for k, v in c.items() if k != "discriminator"} for c in configs]
        assert others[0] == others[1] == others[2]


def test_the_full_scale_is_the_papers() -> None:
    assert STUDY.seeds["full"] == 5  # type: ignore[attr-defined]
    for trial in trials("full"):
        config, recipe = trial.config, trial.bins.recipe
        assert config.iterations == {"CIFAR-10": 10_000, "CelebA": 7_500}[trial.column]
        assert (config.batch_size, config.samples, config.measure_every) == (128, 5_120, 500)
        assert (config.lr_discriminator, config.lr_generator) == (1e-4, 2e-4)
        assert (recipe.bins, recipe.images) == (100, 20_480)


def test_data_that_is_not_at_hand_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--sources celeba:PATH --sources cifar10:PATH"):
        conduct("mbgnn-figure5", STUDY, "full", place_in(tmp_path, []))
