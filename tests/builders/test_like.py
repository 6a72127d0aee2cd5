"""A bundle from its manifest and the source alone: the same bytes, or it is said where not."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BuildError, SourceError
from quire.artifacts.manifest import CARD, MANIFEST, Manifest
from quire.artifacts.sharing.pull import pull
from quire.artifacts.verify import verify
from quire.builders.engine.run import build
from quire.builders.like import build_like, shards_like
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.recipes.scenes import Scenes
from quire.builders.sources.catalogue import open_source
from tests.same_folder import assert_same

RECIPE = Corrupted(
    split="test",
    corruptions=("contrast", "gaussian_noise"),
    severities=(1, 3),
    samples_per_shard=99,
)
NOTHING: Mapping[str, Any] = {}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("like") / "bundle"
    source: Any = open_source("digits:", split="test")
    build(RECIPE, source, folder)
    return folder


@pytest.fixture
def manifest(built: Path) -> Manifest:
    return read_manifest(built)


def otherwise(manifest: Manifest, name: str) -> Manifest:
    """The manifest of a bundle whose shard of this name has other bytes."""
    shards = tuple(
        dataclasses.replace(shard, sha256="0" * 64) if shard.name == name else shard
        for shard in manifest.shards
    )
    return dataclasses.replace(manifest, shards=shards)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_the_bundle_comes_out_the_same(
    built: Path, manifest: Manifest, tmp_path: Path, workers: int
) -> None:
    made = build_like(manifest, tmp_path / "b", "digits:", outside=NOTHING, workers=workers)
    assert made.manifest == manifest and not made.differing
    assert_same(built, tmp_path / "b")
    assert build_like(manifest, tmp_path / "b", "digits:", outside=NOTHING) == made


def test_it_is_built_at_an_address_too(built: Path, manifest: Manifest, tmp_path: Path) -> None:
    there = f"file://{tmp_path}/there"
    assert build_like(manifest, there, "digits:", outside=NOTHING).manifest == manifest
    assert_same(built, tmp_path / "there")
    with pytest.raises(BuildError, match="comes out otherwise"):
        name = manifest.shards[2].name
        build_like(otherwise(manifest, name), f"{there}2", "digits:", outside=NOTHING)
    assert not (tmp_path / "there2" / MANIFEST).exists()


@pytest.mark.parametrize(
    ("recipe", "source", "reads"),
    [
        (Cooccurrence(split="train"), "shapes:30?size=64x48", Cooccurrence.reads),
        (Scenes(), "shapes:30?size=64x48", Scenes.reads),
    ],
)
def test_so_do_tables(recipe: Any, source: str, reads: tuple[str, ...], tmp_path: Path) -> None:
    build(recipe, open_source(source, split="train", reads=reads), tmp_path / "a")
    build_like(read_manifest(tmp_path / "a"), tmp_path / "b", source, outside=NOTHING)
    assert_same(tmp_path / "a", tmp_path / "b")


def test_another_version_of_the_libraries_makes_the_same_bundle(
    built: Path, manifest: Manifest, tmp_path: Path
) -> None:
    """The bytes are what counts, and they are held against the manifest's."""
    versions = {**manifest.identity.versions, "numpy": "2.1.3"}
    old = dataclasses.replace(
        manifest, identity=dataclasses.replace(manifest.identity, versions=versions)
    )
    made = build_like(old, tmp_path / "b", "digits:", outside=NOTHING).manifest
    assert made.identity == old.identity and made.shards == old.shards
    assert verify(tmp_path / "b") == ()


def test_a_build_that_was_stopped_goes_on(
    built: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_like(manifest, tmp_path / "b", "digits:", outside=NOTHING, report=stop)
    assert not (tmp_path / "b" / MANIFEST).exists()
    counts: list[tuple[int, int]] = []
    build_like(
        manifest, tmp_path / "b", "digits:", outside=NOTHING, report=lambda *n: counts.append(n)
    )
    assert counts[0] == (3, len(manifest.shards))
    assert_same(built, tmp_path / "b")


def test_a_shard_that_comes_out_otherwise_is_named_and_makes_no_bundle(
    manifest: Manifest, tmp_path: Path
) -> None:
    name = manifest.shards[2].name
    with pytest.raises(BuildError, match=f"{name} comes out otherwise than .* not what recipe"):
        build_like(otherwise(manifest, name), tmp_path / "b", "digits:", outside=NOTHING)
    assert not (tmp_path / "b" / MANIFEST).exists() and not (tmp_path / "b" / name).exists()


def test_the_card_of_another_version_of_quire_is_no_hindrance(
    manifest: Manifest, tmp_path: Path
) -> None:
    card = dataclasses.replace(manifest.card, sha256="0" * 64)
    other = dataclasses.replace(manifest, card=card)
    made = build_like(other, tmp_path / "b", "digits:", outside=NOTHING)
    assert made.differing == (CARD,) and made.manifest.shards == manifest.shards
    assert verify(tmp_path / "b") == ()


def test_another_table_makes_no_bundle(tmp_path: Path) -> None:
    source = "shapes:30?size=64x48"
    reads = Cooccurrence.reads
    scenes: Any = open_source(source, split="train", reads=reads)
    build(Cooccurrence(split="train"), scenes, tmp_path / "a")
    text = (tmp_path / "a" / MANIFEST).read_text()
    record = json.loads(text)
    (table,) = (one for one in record["tables"] if one["name"] != "index.h5")
    other = Manifest.from_json(text.replace(table["sha256"], "0" * 64))
    with pytest.raises(BuildError, match=f"{table['name']} comes out otherwise"):
        build_like(other, tmp_path / "b", source, outside=NOTHING)
    assert not (tmp_path / "b" / MANIFEST).exists()


@pytest.mark.parametrize(
    ("source", "error"), [("digits:?fold=1", SourceError), ("shapes:30", SourceError)]
)
def test_another_source_is_refused_before_anything_is_made(
    manifest: Manifest, tmp_path: Path, source: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        build_like(manifest, tmp_path / "b", source, outside=NOTHING)
    assert not (tmp_path / "b").exists()


def test_pulled_shards_are_made_here_and_only_those_that_differ_are_fetched(
    built: Path, manifest: Manifest, tmp_path: Path
) -> None:
    name = manifest.shards[2].name
    here = tmp_path / "here"

    def derive(wanted: Manifest, names: Any, partials: Path) -> None:
        options: Any = {"partials": partials, "outside": NOTHING}
        shards_like(otherwise(wanted, name), here, names, "digits:", **options)

    pulled = pull(built, here, derive=derive)
    assert pulled.otherwise == (name,)
    assert len(pulled.derived) == len(manifest.shards) - 1
    assert {file.name for file in pulled.transfer.moved} == {name, "index.h5", CARD}
    assert_same(built, here)
    assert pull(built, here, derive=derive).derived == ()


def test_what_is_there_is_not_made_again(built: Path, manifest: Manifest, tmp_path: Path) -> None:
    here, asked = tmp_path / "here", list[str]()
    pull(built, here, choose=lambda index: [0])
    shutil.rmtree(built / "none", ignore_errors=True)
    pull(built, here, derive=lambda wanted, names, partials: asked.extend(names))
    assert sorted(asked) == sorted(shard.name for shard in manifest.shards[1:])
    assert_same(built, here)
