"""Table 1's rivals: how they are trained at each scale, and how many images that shows them."""

from dataclasses import replace
from pathlib import Path

import pytest

from quire.train.classify.baselines import SupConConfig
from quire.train.classify.training import train
from quire.train.studies.classifiers import images_seen
from quire.train.studies.mbsg.setting import BASELINE, RIVALS, rival, setting
from quire.train.studies.mbsg.table1 import STUDY
from tests.train.learnable import QUICK, RARELY, learnable_bundle


def test_rivals_are_trained_like_the_baseline_but_for_their_objective() -> None:
    baseline = setting("full", None)
    assert rival("full", RIVALS[1]) == replace(baseline, objective="affinity")
    assert rival("full", RIVALS[2]) == replace(baseline, objective="ddgsd")
    contrast = rival("full", RIVALS[0])
    assert (contrast.objective, contrast.epochs, contrast.lr) == ("supcon", 1000, 0.05)
    assert contrast.supcon == SupConConfig() and contrast.weight_decay == 1e-4
    assert contrast.jitter == (0.4, 0.4, 0.4) and contrast.milestones == (0.7, 0.8, 0.9)
    assert (contrast.hue, contrast.jittered, contrast.grey) == (0.1, 0.8, 0.2)
    rows = {trial.row for trial in STUDY.trials("full") if trial.column == "cifar10"}
    assert {BASELINE, *RIVALS} < rows and len(rows) == 10


@pytest.mark.parametrize(
    ("objective", "seen"),
    [("cross-entropy", 80), ("affinity", 80), ("ddgsd", 160), ("supcon", 160 + 120)],
)
def test_each_view_is_an_image_that_is_seen(objective: str, seen: int, tmp_path: Path) -> None:
    """Of 40 images: two epochs, and of the linear layer three."""
    data = learnable_bundle(tmp_path / "data")
    config = replace(QUICK, head="linear", objective=objective)  # type: ignore[arg-type]
    if objective == "supcon":
        config = replace(config, supcon=SupConConfig(epochs=3))
    train(config, str(data), tmp_path / "run", running=RARELY)
    assert images_seen(tmp_path / "run") == seen
