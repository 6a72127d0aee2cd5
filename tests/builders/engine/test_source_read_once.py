"""A source of many files is read once: what makes a shard digests what it reads."""

import os
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BuildError, SourceError
from quire.builders.engine.place import build_place
from quire.builders.engine.pool import Pool
from quire.builders.engine.run import build, identify, plan
from quire.builders.like import build_like
from quire.builders.recipes.anchors import Anchors
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.recipes.subsets import Subsets
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.tree_kinds import Disk
from tests.builders.sources.coco_files import marked, square, write_coco
from tests.builders.sources.devkit import write_devkit
from tests.same_folder import assert_same

IMAGES = 12
CONTRAST = Corrupted(
    split="all", corruptions=("contrast",), severities=(1,), samples_per_shard=5
)  # reads each image for two cells


def write_images(folder: Path, *, seed: int = 0) -> Path:
    """Two classes of BMP, whose length does not tell what is in them."""
    rng = np.random.default_rng(seed)
    for number in range(IMAGES):
        path = folder / ("cat" if number < IMAGES / 2 else "dog") / f"{number:02d}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(path)
    return folder


def spec_of(folder: Path, kind: str) -> tuple[str, str]:
    """A source of a kind, and its split."""
    if kind == "folder":
        return f"folder:{write_images(folder)}", "all"
    if kind == "voc2012":
        write_devkit(folder)
        return f"voc2012:{folder}", "val"
    write_coco(folder, [marked(square(1, 1, 3)), marked(square(2, 2, 3), 90, image=9)])
    return f"coco:{folder}", "val"


RECIPES: Any = [
    ("folder", CONTRAST),
    ("folder", Anchors(split="all", per_class=2)),
    ("voc2012", Scenes(split="val")),
    ("voc2012", Cooccurrence(split="val")),
    ("voc2012", Subsets(split="val")),
    ("voc2012", SegMix(split="val", crop=4, partners_per_cluster=1)),
    ("coco", Scenes(split="val")),
    ("coco", Cooccurrence(split="val")),
]


class Reads:
    """Counts how often files are read whole, and how often only for their digest."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.whole: Counter[str] = Counter()
        self.for_digest: Counter[str] = Counter()
        read, digest = Disk.read, Disk.digest

        def counted(tree: Disk, name: str, *more: Any) -> bytes:
            self.whole[name] += 1
            return read(tree, name, *more)

        def counted_digest(tree: Disk, name: str) -> str:
            self.for_digest[name] += 1
            return digest(tree, name)

        patch.setattr(Disk, "read", counted)
        patch.setattr(Disk, "digest", counted_digest)


@pytest.mark.parametrize(("kind", "recipe"), RECIPES)
def test_the_fingerprint_is_that_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, recipe: Any
) -> None:
    spec, split = spec_of(tmp_path / "source", kind)
    source: Any = open_source(spec, split=split, reads=recipe.reads)
    reads = Reads(monkeypatch)
    manifest = build(recipe, source, tmp_path / "b")
    names = set(source.file_names)
    assert names == (reads.whole.keys() | reads.for_digest.keys()) & names
    assert not names & reads.whole.keys() & reads.for_digest.keys()  # nothing is read for it again
    assert manifest.identity.source["sha256"] == source.fingerprint()
    assert manifest.identity == identify(recipe.resolve(source), source).as_read()
    assert "listing" not in manifest.identity.source
    reads.whole.clear()
    assert build(recipe, source, tmp_path / "b") == manifest  # is there, and compared


def test_each_file_of_scenes_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, split = spec_of(tmp_path / "source", "voc2012")
    source: Any = open_source(spec, split=split, reads=Scenes.reads)
    reads = Reads(monkeypatch)
    build(Scenes(split=split), source, tmp_path / "b")
    assert reads.whole == Counter(source.file_names) and not reads.for_digest
    reads.whole.clear()
    plan(Scenes(split=split), source, tmp_path / "c")
    assert not reads.whole and not reads.for_digest  # a plan needs no file


def test_nothing_is_read_for_a_plan_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source: Any = open_source(f"folder:{write_images(tmp_path / 'images')}", split="all")
    reads = Reads(monkeypatch)
    plan(CONTRAST, source, tmp_path / "b")
    assert not reads.whole and not reads.for_digest


def test_files_that_cannot_be_read_count_with_their_names(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images")
    (folder / "cat/00.bmp").write_bytes(b"no image, but bytes")
    source: Any = open_source(f"folder:{folder}", split="all")
    (folder / "dog/11.bmp").unlink()
    manifest = build(CONTRAST, source, tmp_path / "b", skip_bad=True)
    assert [left.file for left in manifest.left_out] == ["cat/00.bmp", "dog/11.bmp"]
    assert manifest.identity.source["sha256"] == source.fingerprint()


@pytest.mark.parametrize("kind", ["folder", "voc2012", "coco"])
def test_workers_digest_what_they_read(tmp_path: Path, scheduler: str, kind: str) -> None:
    spec, split = spec_of(tmp_path / "source", kind)
    recipe: Any = CONTRAST if kind == "folder" else Scenes(split=split, samples_per_shard=1)
    source: Any = open_source(spec, split=split, reads=recipe.reads)
    build(recipe, source, tmp_path / "here")
    build(recipe, source, tmp_path / "there", scheduler=scheduler)
    assert_same(tmp_path / "here", tmp_path / "there")


def test_an_address_keeps_the_digests_too(tmp_path: Path) -> None:
    source: Any = open_source(f"folder:{write_images(tmp_path / 'images')}", split="all")
    build(CONTRAST, source, tmp_path / "here")
    build(CONTRAST, source, f"file://{tmp_path}/there/b")
    assert_same(tmp_path / "here", tmp_path / "there/b")


# ---- sources that change


def stopped(recipe: Any, source: Any, folder: Path | str, after: int) -> None:
    def stop(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(recipe, source, folder, report=stop)


@pytest.mark.parametrize("place", ["{}/b", "file://{}/there/b"])
def test_a_build_that_goes_on_compares_what_it_reads(tmp_path: Path, place: str) -> None:
    """The clean cell was made from the old image, the corrupted one is made from the new."""
    folder = write_images(tmp_path / "images")
    source: Any = open_source(f"folder:{folder}", split="all")
    stopped(CONTRAST, source, place.format(tmp_path), 3)
    changed = folder / "cat/02.bmp"
    before = changed.read_bytes()
    changed.write_bytes(before[:-3] + b"abc")
    with pytest.raises(SourceError, match=r"cat/02\.bmp has changed while the bundle was built"):
        build(CONTRAST, source, place.format(tmp_path))
    assert not [*tmp_path.glob("**/manifest.json")]


def test_a_source_of_other_files_is_another_one(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images")
    spec = f"folder:{folder}"
    stopped(CONTRAST, open_source(spec, split="all"), tmp_path / "b", 3)
    shorter = (folder / "dog/11.bmp").read_bytes()[:-1]
    (folder / "dog/11.bmp").write_bytes(shorter)
    with pytest.raises(BuildError, match="belongs to another build; source listing: '"):
        build(CONTRAST, open_source(spec, split="all"), tmp_path / "b")
    (folder / "dog/12.bmp").write_bytes(shorter)
    with pytest.raises(BuildError, match="belongs to another build; source listing: '"):
        build(replace(CONTRAST), open_source(spec, split="all"), tmp_path / "b")


def test_a_source_may_move(tmp_path: Path) -> None:
    """It is known by its names and bytes: not by where it lies, nor by when it was copied."""
    source = open_source(f"folder:{write_images(tmp_path / 'a')}", split="all")
    build(CONTRAST, source, tmp_path / "whole")
    stopped(CONTRAST, source, tmp_path / "b", 3)
    write_images(tmp_path / "c")
    for path in (tmp_path / "c").rglob("*.bmp"):
        os.utime(path, (1, 1))
    build(CONTRAST, open_source(f"folder:{tmp_path}/c", split="all"), tmp_path / "b")
    assert_same(tmp_path / "whole", tmp_path / "b")


def test_a_complete_bundle_is_of_its_source_alone(tmp_path: Path) -> None:
    build(
        CONTRAST, open_source(f"folder:{write_images(tmp_path / 'a')}", split="all"), tmp_path / "b"
    )
    other = open_source(f"folder:{write_images(tmp_path / 'c', seed=1)}", split="all")
    with pytest.raises(BuildError, match="belongs to another build; source sha256: '"):
        build(CONTRAST, other, tmp_path / "b")


def test_a_bundle_that_was_completed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    source: Any = open_source(f"folder:{write_images(tmp_path / 'a')}", split="all")
    for place in (str(tmp_path / "b"), f"file://{tmp_path}/there/b"):
        begun = plan(CONTRAST, source, place)
        build(CONTRAST, source, place)
        with pytest.raises(BuildError, match=r"another process has completed .* build again"):
            build_place(place).check(begun.identity)


# ---- after a manifest


def test_a_bundle_like_another_reads_its_source_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = f"folder:{write_images(tmp_path / 'a')}"
    build(CONTRAST, open_source(spec, split="all"), tmp_path / "b")
    manifest = read_manifest(tmp_path / "b")
    reads = Reads(monkeypatch)
    build_like(manifest, tmp_path / "c", spec, outside={})
    assert not reads.for_digest and set(reads.whole.values()) == {2}  # of two cells
    assert_same(tmp_path / "b", tmp_path / "c")
    other = f"folder:{write_images(tmp_path / 'd', seed=1)}"
    with pytest.raises(BuildError, match="not what the bundle was built from; source sha256"):
        build_like(manifest, tmp_path / "e", other, outside={})
    assert not (tmp_path / "e/manifest.json").exists()


# ---- workers


class Counted:
    """Says in a file how often it was packed to travel."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        with self.file.open("a") as log:
            log.write(".")
        return Counted, (self.file,)

    def __call__(self, item: int) -> tuple[int, int]:
        return item**2, os.getpid()


def test_what_is_done_travels_once_and_not_with_each_item(tmp_path: Path, scheduler: str) -> None:
    with Pool(scheduler=scheduler) as pool:
        done = [*pool.each(Counted(tmp_path / "log"), range(500))]
    assert len(done) > 10
    pairs = [pair for items, results in done for pair in zip(items, results, strict=True)]
    assert sorted((item, square) for item, (square, _) in pairs) == [
        (item, item**2) for item in range(500)
    ]
    assert len((tmp_path / "log").read_text()) <= 8  # by client, scheduler and two workers


def test_nobody_is_called_when_there_is_nothing_to_do() -> None:
    with Pool(scheduler="tcp://127.0.0.1:9") as pool:
        assert [*pool.each(str, [])] == []
    with Pool() as pool:
        assert [*pool.each(str, [1, 2])] == [([1], ["1"]), ([2], ["2"])]


def test_a_source_of_files_travels_without_its_digests(tmp_path: Path) -> None:
    source: Any = open_source(f"folder:{write_images(tmp_path / 'a')}", split="all")
    assert pickle.loads(pickle.dumps(source)) == source


def test_a_source_in_a_store_is_built_like_one_in_a_folder(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "a")
    store = fsspec.filesystem("memory")
    for path in folder.rglob("*.bmp"):
        store.pipe_file(f"/images/{path.relative_to(folder)}", path.read_bytes())
    build(CONTRAST, open_source(f"folder:{folder}", split="all"), tmp_path / "b")
    build(CONTRAST, open_source("folder:memory://images", split="all"), tmp_path / "c")
    store.rm("/", recursive=True)
    assert_same(tmp_path / "b", tmp_path / "c")
