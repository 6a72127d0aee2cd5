"""Measuring many networks: against scikit-learn, stopped and taken up again."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from quire.artifacts.errors import BundleError, RunError
from quire.loaders.stream import stream
from quire.train.sparse.evaluate import confusions, macro_f1, measure
from quire.train.sparse.loading import trained
from quire.train.sparse.training import train_networks
from tests.train.corrupted import with_manifest
from tests.train.learnable import learnable_bundle
from tests.train.sparse.small import QUICK, RUNNING, Stop, stopping_at, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("measure"), replace(QUICK, epochs=8))


def test_every_network_is_measured_as_scikit_learn_does(run: Path) -> None:
    rows = {row.number: row for row in measure(run, str(run.parent / "test"))}
    batch = next(iter(stream(run.parent / "test")))
    assert len(batch["label"]) == 40
    for group in trained(run)[1]:
        together = group.networks()
        for index, member in enumerate(group.members):
            with torch.no_grad():
                logits = together.member(index)(batch["image"].flatten(1).float() / 255)
            predicted, row = logits.argmax(1).numpy(), rows.pop(member.number)
            score = f1_score(batch["label"], predicted, average="macro", zero_division=0)
            assert row.macro_f1 == pytest.approx(score, abs=1e-12)
            assert row.accuracy == pytest.approx(accuracy_score(batch["label"], predicted))
            assert (row.graph, row.parameters) == (member.graph, member.parameters)
            assert (row.images, row.correct) == (
                40,
                int((batch["label"].numpy() == predicted).sum()),
            )
    assert not rows


@pytest.mark.slow
@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 999))
def test_macro_f1_is_over_the_classes_that_occur(classes: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    predicted = rng.integers(0, classes, (3, count))
    logits = torch.nn.functional.one_hot(torch.from_numpy(predicted), classes + 2)
    counts = confusions(logits.float(), torch.from_numpy(labels), classes + 2)
    assert counts.shape == (3, classes + 2, classes + 2)
    assert counts[:, -2:].sum() == counts[..., -2:].sum() == 0
    wanted = [f1_score(labels, one, average="macro", zero_division=0) for one in predicted]
    assert macro_f1(counts).tolist() == pytest.approx(wanted, abs=1e-12)


def test_macro_f1_of_nothing_is_none() -> None:
    assert macro_f1(torch.zeros(2, 3, 3, dtype=torch.int64)).isnan().all()


def test_confusions_add_up(run: Path) -> None:
    group = trained(run)[1][0].networks()
    batch = next(iter(stream(run.parent / "test")))
    images = batch["image"].flatten(1).float() / 255
    with torch.no_grad():
        whole = confusions(group(images), batch["label"], 10)
        parts = [
            confusions(group(images[part]), batch["label"][part], 10)
            for part in (slice(0, 7), slice(7, 40))
        ]
    assert torch.equal(whole, parts[0] + parts[1])


def test_the_table_has_a_line_for_each_network(run: Path) -> None:
    rows = measure(run, str(run.parent / "test"))
    (table,) = {path.parent for path in (run / "evaluations").rglob("00000-00003.json")}
    lines = list(csv.DictReader((table / "networks.csv").read_text().splitlines()))
    assert list(lines[0]) == [
        *("number", "graph", "initialisation", "seed", "parameters"),
        *("images", "correct", "accuracy", "macro_f1"),
    ]
    assert [float(line["macro_f1"]) for line in lines] == [row.macro_f1 for row in rows]
    assert [int(line["number"]) for line in lines] == list(range(6))


def test_what_was_measured_is_read_and_not_measured_again(run: Path) -> None:
    data, seen = str(run.parent / "test"), []
    some = measure(run, data, images=5, report=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20) and [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert {row.images for row in some} == {10}  # clean and noisy
    seen.clear()
    again = measure(run, data, images=5, report=lambda done, total: seen.append((done, total)))
    assert again == some and not seen


def test_measuring_that_was_stopped_goes_on(run: Path) -> None:
    data = str(run.parent / "test")
    seen: list[int] = []

    def stopping(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 2:
            raise Stop

    with pytest.raises(Stop):
        measure(run, data, images=7, report=stopping)
    (first,) = [
        path
        for path in (run / "evaluations").rglob("00000-00003.json")
        if json.loads(path.read_text())["question"]["images"] == 7
    ]
    table = (first.parent / "networks.csv").read_text()
    assert len(table.splitlines()) == 5  # those of the first group can be looked at
    assert not (first.parent / "00004-00005.json").exists()
    before = first.stat().st_mtime_ns
    rows = measure(run, data, images=7, report=lambda done, total: seen.append(total))
    assert seen[2:] == [14] and first.stat().st_mtime_ns == before
    assert len(rows) == 6
    assert (first.parent / "networks.csv").read_text().startswith(table)


def test_answers_that_were_damaged_are_named(run: Path) -> None:
    data = str(run.parent / "test")
    measure(run, data, images=3)
    (path,) = [
        path
        for path in (run / "evaluations").rglob("00004-00005.json")
        if json.loads(path.read_text())["question"]["images"] == 3
    ]
    record = json.loads(path.read_text())
    for text in (
        "",
        "[]",
        json.dumps({**record, "answers": record["answers"][:1]}),
        '{"answers": 3}',
    ):
        path.write_text(text)
        with pytest.raises(RunError, match=r"00004-00005.json (holds|does not hold).*remove it"):
            measure(run, data, images=3)
    path.unlink()
    assert len(measure(run, data, images=3)) == 6


def test_a_bundle_of_other_images_is_refused(run: Path, tmp_path: Path) -> None:
    colour = learnable_bundle(tmp_path / "colour", channels=3)
    with pytest.raises(RunError, match="3 channels; the run's have 1"):
        measure(run, str(colour))
    learnable_bundle(tmp_path / "others")
    source = {"kind": "made", "split": "test", "samples": 0, "sha256": "0"}
    with_manifest(tmp_path / "others", source={**source, "class_names": ["cat", "dog"]})
    with pytest.raises(RunError, match="other classes"):
        measure(run, str(tmp_path / "others"))
    with pytest.raises(BundleError):
        measure(run, str(tmp_path / "nothing"))


def test_a_run_is_measured_without_its_graphs(tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    (tmp_path / "graphs").rename(tmp_path / "elsewhere")
    assert len(measure(run, str(tmp_path / "test"))) == 6


def test_an_unfinished_run_is_not_measured(tmp_path: Path) -> None:
    from tests.train.sparse.small import bundles

    data, graphs = bundles(tmp_path)
    with pytest.raises(Stop):
        train_networks(
            QUICK, data, graphs, tmp_path / "run", running=RUNNING, report=stopping_at(15)
        )
    with pytest.raises(RunError, match="is not finished"):
        measure(tmp_path / "run", data)
    assert not (tmp_path / "run" / "evaluations").exists()
