"""Attacks on many networks: each as if it were alone, and none twice."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from quire.artifacts.errors import RunError
from quire.loaders.stream import stream
from quire.train.attacks.epsilon import smallest_epsilons
from quire.train.attacks.fgsm import fgsm
from quire.train.attacks.one_pixel import one_pixel
from quire.train.attacks.targets import Alone
from quire.train.engine.subset import rows_of
from quire.train.sparse.attack import attack
from quire.train.sparse.attack_catalogue import ATTACKS, Attack, Counts, Kind
from quire.train.sparse.evaluate import measure
from quire.train.sparse.loading import trained
from quire.train.sparse.training import train_networks
from tests.train.sparse.small import ATTACK, QUICK, Stop, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = replace(QUICK, epochs=12, together=2)
    return trained_run(tmp_path_factory.mktemp("attack"), config)


def answered(run: Path, what: str) -> dict[str, int]:
    """When each answer to a kind of question was written."""
    return {
        str(path): path.stat().st_mtime_ns
        for path in (run / "evaluations").rglob("0*.json")
        if json.loads(path.read_text())["question"]["what"] == what
    }


def test_each_network_is_attacked_as_if_it_were_alone(run: Path) -> None:
    data = str(run.parent / "test")
    rows = {row.number: row for row in attack(run, data, how=ATTACK)}
    clean = {row.number: row for row in measure(run, data)}
    batch = next(iter(stream(data)))
    images, labels = batch["image"].flatten(1).float() / 255, batch["label"]
    few = torch.from_numpy(rows_of(stream(data), ATTACK.pixel_images))
    fooled = 0
    for group in trained(run)[1]:
        networks = group.networks()
        for index, member in enumerate(group.members):
            alone, row = Alone(networks.member(index)), rows[member.number]
            found: dict[Kind, Any] = {
                "fgsm": fgsm(alone, images, labels, epsilon=0.2 * 0.3081),
                "epsilon": smallest_epsilons(
                    alone, images, labels, search=ATTACK.search, unit=0.3081
                ),
                "one_pixel": one_pixel(
                    *(alone, images[few], labels[few], few),
                    numbers=torch.tensor([member.number]),
                    shape=(1, 8, 8),
                    evolution=ATTACK.evolution,
                ),
            }
            for kind, one in found.items():
                outcome, counts = one.outcome(), row.attacks[kind]
                assert (counts.correct, counts.fooled) == (
                    int(outcome.correct),
                    int(outcome.fooled),
                )
                assert counts.total == pytest.approx(float(outcome.total), abs=1e-4)
                fooled += counts.fooled
            assert (row.macro_f1, row.correct) == (
                clean[row.number].macro_f1,
                clean[row.number].correct,
            )
            assert row.attacks["fgsm"].correct == row.correct
    assert fooled > 20  # or nothing was tested


def test_epsilons_are_in_the_unit_of_what_the_networks_see(run: Path) -> None:
    """So many standard deviations of the normalised inputs; or of pixels, where that is said."""
    data = str(run.parent / "test")
    batch = next(iter(stream(data)))
    images, labels = batch["image"].flatten(1).float() / 255, batch["label"]
    networks = trained(run)[1][0].networks()
    assert float(networks.std) == pytest.approx(0.3081) != QUICK.mean
    plain = replace(ATTACK, unit="pixel")
    for how, unit in ((ATTACK, 0.3081), (plain, 1.0)):
        assert how.pixel(networks) == pytest.approx(unit)
        moved = fgsm(networks, images, labels, epsilon=how.epsilon * how.pixel(networks)).images
        distances = (moved - images).abs()
        assert ((distances < 1e-6) | ((distances - 0.2 * unit).abs() < 1e-6)).all()
        inputs = (moved - networks.mean) / networks.std - (images - networks.mean) / networks.std
        assert inputs.abs().max() == pytest.approx(0.2 * unit / 0.3081, rel=1e-4)
    normalised, pixel = (attack(run, data, how=how) for how in (ATTACK, plain))
    unit = float(networks.std)
    same = replace(plain, epsilon=0.2 * unit, first=ATTACK.first * unit, step=0.2 * unit)
    for one, other, again in zip(normalised, pixel, attack(run, data, how=same), strict=True):
        assert one.attacks["fgsm"].fooled == again.attacks["fgsm"].fooled
        assert one.attacks["fgsm"].fooled <= other.attacks["fgsm"].fooled
        assert one.attacks["one_pixel"] == other.attacks["one_pixel"]
    assert sum(r.attacks["fgsm"].fooled for r in normalised) < sum(
        r.attacks["fgsm"].fooled for r in pixel
    )


def test_measures_are_those_of_the_counts(run: Path) -> None:
    for row in attack(run, str(run.parent / "test"), how=ATTACK):
        steps, least = row.attacks["fgsm"], row.attacks["epsilon"]
        assert row.measure("fgsm_error_rate") == steps.fooled / steps.correct
        if steps.fooled:
            assert row.measure("fgsm_confidence") == steps.total / steps.fooled
            assert row.measure("average_epsilon") == least.total / least.fooled
        assert least.withstood == least.correct - least.fooled
    nothing = Counts(0, 0, 0.0)
    assert math.isnan(nothing.error_rate) and math.isnan(nothing.mean)
    assert Counts(4, 0, 0.0).error_rate == 0 and math.isnan(Counts(4, 0, 0.0).mean)


@pytest.mark.slow
def test_the_group_has_no_influence(run: Path, tmp_path: Path) -> None:
    place = run.parent
    train_networks(
        replace(QUICK, epochs=12, together=1), str(place / "train"), place / "graphs", tmp_path
    )
    how = replace(ATTACK, attacks=("one_pixel",))
    one = attack(run, str(place / "test"), how=how)
    other = attack(tmp_path, str(place / "test"), how=how)
    assert [row.number for row in one] == [row.number for row in other]
    for mine, theirs in zip(one, other, strict=True):
        ours, own = mine.attacks["one_pixel"], theirs.attacks["one_pixel"]
        assert ours.fooled == own.fooled
        assert ours.total == pytest.approx(own.total, abs=1e-2)


def test_the_table_has_what_was_asked_for(run: Path) -> None:
    data = str(run.parent / "test")
    before = set((run / "evaluations").rglob("networks.csv"))
    rows = attack(run, data, how=replace(ATTACK, attacks=("epsilon", "fgsm"), images=9))
    tables = set((run / "evaluations").rglob("networks.csv")) - before
    (table,) = tables
    lines = list(csv.DictReader(table.read_text().splitlines()))
    assert list(lines[0])[5:] == [
        *("images", "correct", "accuracy", "macro_f1"),
        *("epsilon_correct", "epsilon_fooled", "epsilon_withstood", "average_epsilon"),
        *("fgsm_correct", "fgsm_fooled", "fgsm_withstood", "fgsm_error_rate", "fgsm_confidence"),
    ]
    found = [repr(row.measure("average_epsilon")) for row in rows]
    assert [line["average_epsilon"] for line in lines] == found
    assert all(math.isnan(row.measure("one_pixel_error_rate")) for row in rows)
    assert {row.images for row in rows} == {18}


def test_a_change_of_one_attack_does_not_repeat_the_others(run: Path) -> None:
    data = str(run.parent / "test")
    attack(run, data, how=ATTACK)
    before = {what: answered(run, what) for what in ("clean", "epsilon", "one_pixel", "fgsm")}
    attack(run, data, how=replace(ATTACK, epsilon=0.3))
    assert answered(run, "fgsm").keys() > before.pop("fgsm").keys()
    assert {what: answered(run, what) for what in before} == before
    attack(run, data, how=replace(ATTACK, seed=1))
    assert answered(run, "one_pixel").keys() > before["one_pixel"].keys()
    seen: list[int] = []
    attack(run, data, how=ATTACK, report=lambda done, total: seen.append(done))
    assert not seen


def test_an_attack_that_was_stopped_goes_on(run: Path) -> None:
    data, how = str(run.parent / "test"), replace(ATTACK, images=6, attacks=("fgsm", "one_pixel"))
    whole = attack(run, data, how=how)
    for path in answered(run, "fgsm"):
        if json.loads(Path(path).read_text())["question"]["images"] == 6:
            Path(path).unlink()
    (table,) = [
        path.with_name("networks.csv")
        for path in (run / "evaluations").rglob("question.json")
        if json.loads(path.read_text())["question"].get("fgsm", {}).get("images") == 6
    ]
    text = table.read_text()
    table.unlink()

    def stopping(done: int, total: int) -> None:
        assert total == 36  # three groups see 12 samples
        if done == 24:
            raise Stop

    with pytest.raises(Stop):
        attack(run, data, how=how, report=stopping)
    assert len(table.read_text().splitlines()) == 3
    seen: list[int] = []
    again = attack(run, data, how=how, report=lambda done, total: seen.append(total))
    assert again == whole and seen == [24, 24]
    assert table.read_text() == text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attacks": ()}, "attacks must be some"),
        ({"attacks": ("fgsm", "fgsm")}, "attacks must be some"),
        ({"attacks": ("pgd",)}, "no 'pgd'"),
        ({"images": 0}, "images is 0"),
        ({"pixel_images": 0}, "pixel_images is 0"),
        ({"epsilon": -0.1}, "epsilon is -0.1"),
        ({"step": 0.0}, "they must go up"),
        ({"population": 2}, "a mutant needs two others"),
        ({"generations": -1}, "there are -1 generations"),
        ({"mutation": (1.0, 0.5)}, "mutation is in"),
    ],
)
def test_a_wrong_field_is_refused_in_a_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        Attack(**fields)


def test_every_attack_is_in_the_catalogue() -> None:
    """By its name; and no two of their columns are called the same."""
    assert tuple(ATTACKS) == get_args(Kind)
    names = [name for one in ATTACKS.values() for name in one.measures]
    assert len(names) == len({*names})
    assert {name for one in ATTACKS.values() for name in one.options} <= {*Attack().__dict__}


def test_an_attack_of_pixels_tells_of_its_generations(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/evaluations", ignore_errors=True)
    told: list[int] = []
    how = replace(ATTACK, attacks=("one_pixel",), generations=4, chunk=50)
    data = str(run.parent / "test")
    attack(tmp_path / "run", data, how=how, report=lambda done, total: told.append(done))
    assert told == sorted(told) and len(set(told)) > 6  # more than once for each of two groups
    found = attack(run, data, how=replace(how, chunk=None))
    again = attack(tmp_path / "run", data, how=how)
    for one, other in zip(found, again, strict=True):
        assert one.attacks["one_pixel"].correct == other.attacks["one_pixel"].correct
