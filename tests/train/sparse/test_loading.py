"""Networks that were pruned are measured and attacked as those of random graphs are."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from quire.artifacts.errors import RunError
from quire.loaders.stream import stream
from quire.train.attacks.fgsm import fgsm
from quire.train.attacks.targets import Alone
from quire.train.sparse.attack import attack
from quire.train.sparse.evaluate import measure
from quire.train.sparse.loading import KINDS, trained
from quire.train.sparse.overview import attacked_grid, measured_grid
from tests.train.sparse.small import ATTACK
from tests.train.sparse.small_pruning import QUICK, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = replace(QUICK, epochs=20, retrain=2)
    return trained_run(tmp_path_factory.mktemp("pruned"), config)


@pytest.mark.slow
def test_each_network_of_each_step_is_attacked_as_if_it_were_alone(run: Path) -> None:
    data = str(run.parent / "test")
    how = replace(ATTACK, attacks=("fgsm",))
    rows = {row.number: row for row in attack(run, data, how=how)}
    batch, fooled = next(iter(stream(data))), 0
    images, labels = batch["image"].flatten(1).float() / 255, batch["label"]
    for step in trained(run)[1]:
        networks = step.networks()
        for index, member in enumerate(step.members):
            alone, row = networks.member(index), rows.pop(member.number)
            with torch.no_grad():
                assert row.correct == int((alone(images).argmax(1) == labels).sum())
            outcome = fgsm(Alone(alone), images, labels, epsilon=how.epsilon * 0.3081).outcome()
            assert (row.graph, row.parameters) == (member.graph, member.parameters)
            counts = row.attacks["fgsm"]
            assert counts.fooled == int(outcome.fooled)
            assert counts.total == pytest.approx(float(outcome.total), abs=1e-4)
            fooled += counts.fooled
    assert not rows and fooled > 20


@pytest.mark.slow
def test_answers_are_kept_step_by_step(run: Path) -> None:
    data, seen = str(run.parent / "test"), []
    rows = measure(run, data, images=4, report=lambda done, total: seen.append((done, total)))
    assert seen == [(8, 32), (16, 32), (24, 32), (32, 32)]  # clean and noisy, in four steps
    assert len(list((run / "evaluations").rglob("step-0002.json"))) >= 1
    seen.clear()
    assert measure(run, data, images=4, report=lambda *seen_: seen.append(seen_)) == rows
    assert not seen


@pytest.mark.slow
def test_an_overview_has_a_row_for_each_step(run: Path) -> None:
    data, kind = str(run.parent / "test"), KINDS[trained(run)[0].method]
    rows = measure(run, data)
    grid = measured_grid(data, rows, kind)
    assert (grid.corner, grid.rows) == ("step", ("0", "1", "2", "3", "all"))
    for step in range(4):
        wanted = [100 * row.accuracy for row in rows[3 * step : 3 * step + 3]]
        assert grid.values[str(step), "accuracy (%)"] == wanted
    how = replace(ATTACK, attacks=("fgsm",))
    attacked = attacked_grid(data, attack(run, data, how=how), how, kind)
    assert attacked.rows == grid.rows and "FGSM: error rate (%)" in attacked.columns
    assert not any(math.isnan(value) for some in attacked.values.values() for value in some)


@pytest.mark.slow
def test_what_has_no_networks_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run"):
        trained(tmp_path)
    text = (run / "run.json").read_text().replace('"method": "prune"', '"method": "classify"')
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match="is a run of classify, not of sparse or prune"):
        trained(tmp_path)
