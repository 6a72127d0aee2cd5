"""A build at an address: the bytes of a build in a folder, whoever makes shards or is killed."""

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from quire.artifacts import address as addresses
from quire.artifacts.address import Address
from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BuildError, BundleError, SourceError
from quire.artifacts.manifest import MANIFEST
from quire.artifacts.sharing.push import push
from quire.artifacts.sharing.target import Target
from quire.artifacts.verify import verify
from quire.builders.engine import place as places
from quire.builders.engine.place import AddressPlace
from quire.builders.engine.run import build, plan
from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.corrupted import Corrupted
from quire.builders.recipes.scenes import Scenes
from quire.builders.sources.catalogue import open_source
from tests.processes import started
from tests.same_folder import assert_same

RECIPE = Corrupted(
    split="test", corruptions=("contrast", "gaussian_noise"), severities=(1,), samples_per_shard=99
)
OTHER = replace(RECIPE, corruptions=("contrast",))
SHARDS = 12


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_PAUSE", 0)


def digits() -> Any:
    return open_source("digits:", split="test")


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as a build in a folder makes it."""
    folder = tmp_path_factory.mktemp("here") / "b"
    assert len(build(RECIPE, digits(), folder).shards) == SHARDS
    return folder


@pytest.fixture
def there(tmp_path: Path) -> str:
    return f"file://{tmp_path}/there/b"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_bytes_are_those_of_a_build_in_a_folder(
    here: Path, there: str, tmp_path: Path, workers: int
) -> None:
    assert build(RECIPE, digits(), there, workers=workers) == read_manifest(here)
    assert_same(here, tmp_path / "there/b")
    assert build(RECIPE, digits(), there) == read_manifest(here)  # complete: nothing is done
    assert_same(here, tmp_path / "there/b")
    assert len(plan(RECIPE, digits(), there).missing) == 0


@pytest.mark.parametrize(
    ("recipe", "reads"),
    [(Cooccurrence(split="train"), Cooccurrence.reads), (Scenes(), Scenes.reads)],
)
def test_tables_and_scenes_too(
    recipe: Any, reads: tuple[str, ...], there: str, tmp_path: Path
) -> None:
    source: Any = open_source("shapes:30?size=64x48", split="train", reads=reads)
    build(recipe, source, tmp_path / "here")
    build(recipe, source, there)
    assert_same(tmp_path / "here", tmp_path / "there/b")


@pytest.fixture
def memory() -> Iterator[str]:
    """A store in which files appear whole."""
    yield "memory://there/b"
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_a_store_holds_the_bundle_and_nothing_else(here: Path, memory: str) -> None:
    build(RECIPE, digits(), memory)
    stored = fsspec.filesystem("memory")
    names = {name.rpartition("/")[2] for name in stored.find("/there/b")}
    assert names == {path.name for path in here.iterdir()}
    for path in here.iterdir():
        assert stored.cat_file(f"/there/b/{path.name}") == path.read_bytes()


def killed_build(there: str, after: int) -> None:
    """Build, until so many files were begun at the address."""
    made, left = Target._made, after

    def deadly(self: Target, name: str) -> Any:
        nonlocal left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return made(self, name)

    Target._made = deadly  # type: ignore[method-assign]
    build(RECIPE, digits(), there)


@pytest.mark.parametrize("after", [0, 1, 2, 7, 2 * SHARDS + 1, 2 * SHARDS + 4])
def test_a_killed_build_goes_on(here: Path, there: str, tmp_path: Path, after: int) -> None:
    """Killed before the note, a shard, its record, the index, or the manifest is written."""
    process = started(killed_build, there, after)
    process.join(60)
    assert process.exitcode == -9
    assert not (tmp_path / "there/b" / MANIFEST).exists()
    missing = len(plan(RECIPE, digits(), there).missing)
    assert missing == SHARDS - min(SHARDS, max(0, after - 1) // 2)
    build(RECIPE, digits(), there)
    assert_same(here, tmp_path / "there/b")


def test_another_build_is_refused_and_the_field_named(there: str) -> None:
    with pytest.raises(BuildError, match="belongs to another build; recipe corruptions"):
        process = started(killed_build, there, 5)
        process.join(60)
        build(OTHER, digits(), there)
    build(RECIPE, digits(), there)
    with pytest.raises(BuildError, match="belongs to another build; recipe corruptions"):
        build(OTHER, digits(), there)
    assert verify(there) == ()


def test_of_two_builds_at_once_at_most_one_is_made(there: str) -> None:
    ready, refused = threading.Barrier(2), list[str]()

    def run(recipe: Corrupted) -> None:
        ready.wait()
        try:
            build(recipe, digits(), there)
        except (BuildError, BundleError) as error:
            refused.append(str(error))

    threads = [threading.Thread(target=run, args=[recipe]) for recipe in (RECIPE, OTHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused and (len(refused) == 2 or verify(there) == ())


def test_an_address_with_something_else_is_refused(there: str) -> None:
    Target(Address(there)).write("notes.txt", b"mine")
    with pytest.raises(BuildError, match=r"holds 'notes\.txt', and no build of ours"):
        build(RECIPE, digits(), there)


def test_a_build_that_was_stopped_is_no_bundle_to_push_over(here: Path, there: str) -> None:
    process = started(killed_build, there, 5)
    process.join(60)
    with pytest.raises(BundleError, match="and no push of this bundle"):
        push(here, there)


def test_an_address_that_cannot_be_written_to_is_one_sentence() -> None:
    with pytest.raises(BundleError, match="can be read, and not written to"):
        build(RECIPE, digits(), "https://example.org/b")


def test_samples_that_cannot_be_read_are_left_out_there_too(tmp_path: Path, there: str) -> None:
    for number in range(4):
        path = tmp_path / "source" / "test" / f"c{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path)
    (tmp_path / "source/test/c0/0.png").write_bytes(b"none")
    source: Any = open_source(f"folder:{tmp_path / 'source'}?size=32", split="test")
    recipe = Corrupted(
        split="test", corruptions=("contrast",), severities=(1,), samples_per_shard=1
    )
    with pytest.raises(SourceError, match=r"0\.png"):
        build(recipe, source, there)
    build(recipe, source, tmp_path / "here", skip_bad=True)
    assert len(build(recipe, source, there, skip_bad=True).left_out) == 1
    assert_same(tmp_path / "here", tmp_path / "there/b")


def test_a_place_travels_without_its_connection(there: str) -> None:
    copy = pickle.loads(pickle.dumps(AddressPlace(Address(there))))
    assert isinstance(copy, places.AddressPlace) and copy.address.text == there
