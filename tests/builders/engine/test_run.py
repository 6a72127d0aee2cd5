"""Building: the same bytes however it is done, and nothing half-done under a final name."""

import filecmp
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pytest
from PIL import Image

from quire.artifacts import tables
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BuildError, SourceError
from quire.artifacts.manifest import MANIFEST, Manifest
from quire.artifacts.shards import Samples
from quire.artifacts.verify import verify
from quire.builders.engine import folder as building
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Part, Run, WriteTable
from quire.builders.engine.run import build, plan
from quire.builders.rebuild import rebuild
from quire.builders.recipes.catalogue import RECIPES
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import IMAGES, ImageSource
from tests.processes import started
from tests.same_folder import assert_same
from tests.train.corrupted import with_manifest

RECIPE = Corrupted(
    corruptions=("gaussian_noise", "contrast", "gaussian_blur_sigma"),
    severities=(1, 4),
    sigmas=(0.5,),
    samples_per_shard=100,
)


@pytest.fixture(scope="module")
def digits() -> ImageSource:
    return open_source("digits:", split="test")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, digits: ImageSource) -> Path:
    folder = tmp_path_factory.mktemp("run") / "reference"
    build(RECIPE, digits, folder)
    return folder


def test_a_bundle_is_sound_and_complete(reference: Path) -> None:
    manifest = Manifest.from_json((reference / MANIFEST).read_text())
    assert manifest.samples == 360 * 6  # clean, 2 x 2, and one sigma
    assert verify(reference) == ()
    assert {path.name for path in reference.iterdir()} == {
        *manifest.files,
        MANIFEST,
        "SHA256SUMS",
    }


def test_sha256sum_checks_a_bundle_without_us(reference: Path) -> None:
    check = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=reference,
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stdout + check.stderr
    assert check.stdout.count(": OK") == len(list(reference.iterdir())) - 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_bytes_do_not_depend_on_workers(
    reference: Path, digits: ImageSource, tmp_path: Path, workers: int
) -> None:
    """As below, where one of two is killed."""
    build(RECIPE, digits, tmp_path / "b", workers=workers)
    assert_same(reference, tmp_path / "b")


def test_bytes_do_not_depend_on_a_scheduler(
    reference: Path, digits: ImageSource, tmp_path: Path, scheduler: str
) -> None:
    build(RECIPE, digits, tmp_path / "b", scheduler=scheduler)
    assert_same(reference, tmp_path / "b")


BUILD = """
import sys
from pathlib import Path
from tests.builders.engine.test_run import RECIPE
from quire.builders.engine.run import build
from quire.builders.sources.catalogue import open_source
build(RECIPE, open_source("digits:", split="test"), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_environment(reference: Path, tmp_path: Path) -> None:
    environment = {
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "77",
        "LC_ALL": "C",
    }
    subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path / "b")],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[3],
        umask=0o077,
        check=True,
    )
    assert_same(reference, tmp_path / "b")


def test_a_build_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    folder = tmp_path / "b"
    rng = random.Random(0)
    names = {path.name for path in reference.iterdir()}
    for kill in range(4):
        process = started(build, RECIPE, digits, folder)
        target = 3 * kill + 1  # shards that are there when the process is killed
        while process.is_alive() and len(list(folder.glob("*.tar"))) < target:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.02)
        process.kill()
        process.join()
        assert {path.name for path in folder.iterdir()} <= {*names, ".building"}
        for path in folder.glob("*.tar"):  # whatever has a final name is whole
            assert filecmp.cmp(path, reference / path.name, shallow=False)
    build(RECIPE, digits, folder)
    assert_same(reference, folder)


def test_ctrl_c_leaves_a_build_that_goes_on(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(RECIPE, digits, tmp_path / "b", report=interrupt)
    assert len(plan(RECIPE, digits, tmp_path / "b").missing) == len(reference_shards(reference)) - 5
    build(RECIPE, digits, tmp_path / "b")
    assert_same(reference, tmp_path / "b")


def reference_shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def test_finished_shards_are_not_made_again(digits: ImageSource, tmp_path: Path) -> None:
    folder = tmp_path / "b"

    def stop(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(RECIPE, digits, folder, report=stop)
    before = {path.name: path.stat().st_mtime_ns for path in reference_shards(folder)}
    build(RECIPE, digits, folder)
    after = {path.name: path.stat().st_mtime_ns for path in reference_shards(folder)}
    assert before.items() < after.items()
    build(RECIPE, digits, folder)  # a complete one is left alone
    assert {path.name: path.stat().st_mtime_ns for path in reference_shards(folder)} == after


def test_a_folder_belongs_to_one_recipe_source_and_build(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "b"))
    with pytest.raises(BuildError, match="recipe seed: 1 here, 0 there"):
        build(replace(RECIPE, seed=1), digits, folder)
    train = open_source("digits:", split="train")
    with pytest.raises(BuildError, match="source samples: 1437 here, 360 there"):
        build(RECIPE, train, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(BuildError, match="is not empty"):
        build(RECIPE, digits, tmp_path / "mine")
    assert os.listdir(tmp_path / "mine") == ["thesis.txt"]
    with pytest.raises(BuildError, match="is a file"):
        build(RECIPE, digits, tmp_path / "mine" / "thesis.txt")


def test_two_processes_cannot_build_in_one_folder(digits: ImageSource, tmp_path: Path) -> None:
    identity = plan(RECIPE, digits, tmp_path / "b").identity
    with building.claim(tmp_path / "b", identity):
        with pytest.raises(BuildError, match="another process is building"):
            build(RECIPE, digits, tmp_path / "b")


def test_planning_writes_nothing(digits: ImageSource, tmp_path: Path) -> None:
    planned = plan(RECIPE, digits, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert len(planned.tasks) == len(planned.missing) == 6 * 4
    text = planned.describe()
    build(RECIPE, digits, tmp_path / "b")
    size = sum(path.stat().st_size for path in reference_shards(tmp_path / "b"))
    assert planned.bytes == size and f"{size:,} bytes" in text
    assert "already there: 24 shards" in plan(RECIPE, digits, tmp_path / "b").describe()


@pytest.fixture
def spoilt(tmp_path: Path) -> ImageSource:
    """Twelve images in two classes, two of which cannot be read."""
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "images" / ("cat" if number < 6 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(
            folder / f"{number:02d}.png"
        )
    cut = tmp_path / "images" / "cat" / "03.png"
    cut.write_bytes(cut.read_bytes()[:60])
    (tmp_path / "images" / "dog" / "11.png").write_bytes(b"")
    return open_source(f"folder:{tmp_path / 'images'}", split="all")


FEW = Corrupted(split="all", corruptions=("contrast",), severities=(1,), samples_per_shard=5)


def test_an_image_that_cannot_be_read_stops_the_build_by_name(
    spoilt: ImageSource, tmp_path: Path, scheduler: str
) -> None:
    for address in (None, scheduler):
        with pytest.raises(SourceError, match=r"(cat/03|dog/11)\.png: .*skip-bad"):
            build(FEW, spoilt, tmp_path / "b", scheduler=address)
    assert not (tmp_path / "b" / MANIFEST).exists()


def test_with_skip_bad_it_is_left_out_and_listed(
    spoilt: ImageSource, tmp_path: Path, scheduler: str
) -> None:
    manifest = build(FEW, spoilt, tmp_path / "b", skip_bad=True)
    assert [sample.file for sample in manifest.left_out] == ["cat/03.png", "dog/11.png"]
    assert all(sample.reason for sample in manifest.left_out)
    assert manifest.samples == 20
    assert verify(tmp_path / "b") == ()
    build(FEW, spoilt, tmp_path / "c", skip_bad=True, scheduler=scheduler)
    assert_same(tmp_path / "b", tmp_path / "c")


def test_what_was_left_out_before_stops_a_build_that_may_not(
    spoilt: ImageSource, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(FEW, spoilt, tmp_path / "b", skip_bad=True, report=stop)
    with pytest.raises(SourceError, match=r"cat/03\.png"):
        build(FEW, spoilt, tmp_path / "b")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_made_up_for(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    before = {process.pid for process in multiprocessing.active_children()}
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done == 3 and not killed:
            workers = {process.pid or 0 for process in multiprocessing.active_children()} - before
            killed.extend(sorted(workers)[:1])
            os.kill(killed[0], signal.SIGKILL)

    build(RECIPE, digits, tmp_path / "b", workers=2, report=kill_one)
    assert killed
    assert_same(reference, tmp_path / "b")


def test_a_scheduler_that_is_not_there_is_one_sentence(
    digits: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quire.builders.engine.pool.PATIENCE", "1s")
    with pytest.raises(BuildError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        build(RECIPE, digits, tmp_path / "b", scheduler="tcp://127.0.0.1:9")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """A recipe of tables alone: how often each label comes, and the pixels' sums in order."""

    kind: ClassVar[str] = "tally"
    reads: ClassVar[tuple[str, ...]] = (IMAGES,)
    libraries: ClassVar[tuple[str, ...]] = ()

    split: str = "test"
    keep: bool = False

    def resolve(self, source: ImageSource) -> "Tally":
        return self

    def fingerprints(self) -> Mapping[str, str]:
        return {}

    def plan(self, source: ImageSource) -> tuple[ShardTask, ...]:
        runs = enumerate(cut(len(source), 100))
        return tuple(ShardTask(f"t-{i}.tar", "t", *run, bytes=None) for i, run in runs)

    def samples(self, source: ImageSource, task: ShardTask) -> Iterator[Run]:
        counts = np.zeros((1, 10), np.int64)
        for start, stop in cut(task.stop - task.start, 30):
            block = source.read(task.start + start, task.start + stop)
            counts[0] += np.bincount(block.labels, minlength=10)
            sums = np.asarray(block.images).sum(axis=(1, 2, 3))
            keys = [f"{i:08d}" for i in block.indices if self.keep]
            samples = Samples(keys, {"cls": [b"1"] * len(keys)}, {})
            yield Run(samples, block.bad, {"sums": sums})
        yield Run(Samples([], {}), part={"counts": counts})

    def tables(self) -> Mapping[str, WriteTable]:
        return {"counts.h5": _write_counts, "sums.h5": _write_sums}


def _write_counts(file: h5py.File, parts: Iterator[Part]) -> None:
    tables.put(file, "counts", np.sum([part["counts"][0] for part in parts], axis=0))


def _write_sums(file: h5py.File, parts: Iterator[Part]) -> None:
    growing = tables.Growing(file)
    for part in parts:
        growing.append("sums", part["sums"])


def read_table(folder: Path, name: str) -> list[int]:
    with tables.open_table(folder / f"{name}.h5") as file:
        return list(tables.get(file, name).tolist())


@pytest.mark.parametrize("keep", [False, True])
def test_tables_follow_from_the_shards_in_order(
    digits: ImageSource, tmp_path: Path, keep: bool
) -> None:
    whole = digits.read(0, 360)
    manifest = build(Tally(keep=keep), digits, tmp_path / "b")
    assert [table.name for table in manifest.tables] == ["index.h5", "counts.h5", "sums.h5"]
    assert (len(manifest.shards), manifest.samples) == ((4, 360) if keep else (0, 0))
    assert verify(tmp_path / "b") == ()
    assert read_table(tmp_path / "b", "counts") == np.bincount(whole.labels).tolist()
    sums = np.asarray(whole.images).sum(axis=(1, 2, 3))
    assert read_table(tmp_path / "b", "sums") == sums.tolist()
    assert len(open_bundle(tmp_path / "b").index) == manifest.samples


def test_a_stopped_build_of_tables_goes_on_with_the_parts_that_are_there(
    digits: ImageSource, tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    build(Tally(), digits, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        build(Tally(), digits, tmp_path / "b", report=interrupt)
    assert len(plan(Tally(), digits, tmp_path / "b").missing) == 2
    build(Tally(), digits, tmp_path / "b")
    assert_same(tmp_path / "whole", tmp_path / "b")


def test_an_audit_of_tables_alone_derives_them_anew(
    digits: ImageSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "tally", Tally)
    build(Tally(), digits, tmp_path / "b")
    outcome = rebuild(tmp_path / "b", "digits:", outside={}, shards=1)
    assert outcome.same and outcome.lines == ("counts.h5: the same", "sums.h5: the same")
    monkeypatch.setitem(RECIPES, "tally", Off)
    outcome = rebuild(tmp_path / "b", "digits:", outside={}, shards=1)
    found = ("counts.h5: DIFFERENT", "sums.h5: the same")
    assert not outcome.same and outcome.lines == (
        *found,
        "library versions are the same, so this is not what recipe and source make",
    )
    versions = {"h5py": "9.9", "numpy": "0.1", "zlib-of-old": "1"}
    with_manifest(tmp_path / "b", versions=versions)
    outcome = rebuild(tmp_path / "b", "digits:", outside={}, shards=1)
    why = outcome.lines[-1]
    assert not outcome.same and why.startswith("this may be honest, for library versions differ: ")
    assert f"numpy {np.__version__} here, 0.1 there" in why and "h5py" in why
    assert "zlib-of-old none here, 1 there" in why


class Off(Tally):
    """Adds up wrongly."""

    def tables(self) -> Mapping[str, WriteTable]:
        return {"counts.h5": lambda file, parts: None, "sums.h5": _write_sums}


def test_an_audit_refuses_a_shard_that_the_recipe_does_not_make(
    reference: Path, digits: ImageSource, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(reference, tmp_path / "b"))
    manifest = Manifest.from_json((folder / MANIFEST).read_text())
    recipe = {**manifest.identity.recipe, "samples_per_shard": 200}
    with_manifest(folder, recipe=recipe)
    with pytest.raises(
        BuildError, match=r"'test-clean-000002\.tar', which its recipe does not make"
    ):
        rebuild(folder, "digits:", outside={}, shards=1)
