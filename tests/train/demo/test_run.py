"""The demo walks the whole path, twice into the same folder, and says so in its report."""

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BuildError, BundleError
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.verify import verify
from quire.builders.corruptions import catalogue
from quire.train.demo.chapters import CHAPTERS, NETWORK_STUDY, NETWORKS, SEVERITY
from quire.train.demo.run import BUNDLE, demo
from quire.train.report.corruption_cells import cells_of
from quire.train.studies.classifiers import Classifier, Classifiers
from quire.train.studies.study import Scale
from tests.train.report.test_page import Parsed

FEW = ("contrast", "brightness")


BARELY = replace(NETWORKS, networks=replace(NETWORKS.networks, epochs=1))


def _barely_trained(study: Classifiers, scale: Scale) -> list[Classifier]:
    trials = study.trials(scale)
    few = [
        tuple((bundle, replace(how, images=20)) for bundle, how in trial.tests) for trial in trials
    ]
    return [
        replace(trial, config=replace(trial.config, epochs=1), tests=tests)
        for trial, tests in zip(trials, few, strict=True)
    ]


def _quick(study: Classifiers) -> Classifiers:
    return replace(study, seeds={"smoke": 1}, trials=partial(_barely_trained, study))


QUICK = (
    replace(CHAPTERS[0], study=_quick(SEVERITY)),
    replace(CHAPTERS[1], study=replace(NETWORK_STUDY, setting=BARELY)),
    *CHAPTERS[2:],
)


@dataclass(frozen=True)
class Walked:
    """A finished demo."""

    out: Path
    report: Path
    said: list[str]

    @property
    def bundle(self) -> Path:
        return self.out / BUNDLE


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Walked:
    out, said = tmp_path_factory.mktemp("demo") / "new" / "out", list[str]()
    return Walked(out, demo(out, said.append, corruptions=FEW, chapters=QUICK), said)


@pytest.mark.slow
def test_the_bundle_has_every_cell_and_is_sound(walked: Walked) -> None:
    cells = cells_of(open_bundle(walked.bundle).index)
    assert list(cells) == [("clean", 0), *((name, i) for name in FEW for i in range(1, 6))]
    assert {len(rows) for rows in cells.values()} == {360}
    assert verify(walked.bundle) == ()


@pytest.mark.slow
def test_each_step_is_told_in_order(walked: Walked) -> None:
    steps = list(dict.fromkeys(line.partition(":")[0] for line in walked.said))
    assert steps == [
        *("build", "verify", "rebuild", "stream", "compare"),
        *("train", "attack", "spread", "blend"),
    ]
    assert any("3,960 images in 11 shards" in line for line in walked.said)
    assert any("each sample exactly once" in line for line in walked.said)
    assert any("3 shuffled epochs of 16 batches in 3 different" in line for line in walked.said)
    assert all("\n" not in line for line in walked.said)


@pytest.mark.slow
def test_the_report_says_what_was_done_and_how_to_check_it(walked: Walked) -> None:
    assert walked.report == walked.out / "report.html"
    parsed = Parsed(walked.report.read_text("utf-8"))
    texts = set(parsed.texts)
    assert {
        "build",
        "verify",
        "rebuild",
        "stream",
        "compare",
        "quire.stream",
        "webdataset",
    } <= texts
    manifest = open_bundle(walked.bundle).manifest
    assert {shard.sha256 for shard in manifest.shards} <= texts
    assert hashlib.sha256((walked.bundle / MANIFEST).read_bytes()).hexdigest() in texts
    assert {*manifest.identity.versions.values(), "cores", "torch"} <= texts
    assert {"contrast", "brightness", "1, 2, 3, 4, 5", "1,800"} <= texts
    # the contact sheet, three of accuracy, two of networks, centres of bins, a matrix, blends
    assert parsed.tags.count("img") == 9
    assert {chapter.heading for chapter in CHAPTERS} <= texts
    assert (
        "http://" not in walked.report.read_text() and "https://" not in walked.report.read_text()
    )


@pytest.mark.slow
def test_a_second_walk_takes_the_bundle_as_it_is(walked: Walked) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in walked.bundle.iterdir()}
    said: list[str] = []
    assert demo(walked.out, said.append, corruptions=FEW, chapters=QUICK) == walked.report
    assert {path.name: path.stat().st_mtime_ns for path in walked.bundle.iterdir()} == before
    assert "11 of which were there" in said[0]


@pytest.mark.slow
def test_another_recipe_in_the_same_folder_is_refused(walked: Walked) -> None:
    with pytest.raises(BuildError, match="belongs to another build"):
        demo(walked.out, lambda line: None, corruptions=("contrast",))


@pytest.mark.slow
def test_a_damaged_bundle_ends_the_walk(walked: Walked) -> None:
    shard = walked.bundle / "test-clean-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    try:
        with pytest.raises(BundleError, match=r"test-clean-000000\.tar: damaged"):
            demo(walked.out, lambda line: None, corruptions=FEW, chapters=QUICK)
    finally:
        shard.write_bytes(whole)


@pytest.mark.slow
def test_the_whole_demo_has_every_corruption_that_needs_no_file(tmp_path: Path) -> None:
    report = demo(tmp_path, lambda line: None)
    bundle = open_bundle(tmp_path / BUNDLE)
    wanted = catalogue.CORRUPTIONS.keys() - {"frost"} - catalogue.SIGMA_CORRUPTIONS
    assert {name for name, _ in cells_of(bundle.index)} == {"clean", *wanted}
    texts = Parsed(report.read_text("utf-8")).texts
    assert wanted <= set(texts)
