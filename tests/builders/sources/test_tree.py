"""Trees of files: a folder and an address give the same names, bytes and reasons."""

import hashlib
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from quire.artifacts import address as addresses
from quire.artifacts.address import Address
from quire.artifacts.errors import SourceError
from quire.builders.sources import tree_kinds as trees
from quire.builders.sources.catalogue import open_source
from quire.builders.sources.source import ANNOTATIONS, MASKS, SCENES
from quire.builders.sources.tree import UNREAD, Digesting, Tree, UnfitError, named_digests
from quire.builders.sources.tree_kinds import Disk, tree_at
from tests.builders.sources.coco_files import marked, square, write_coco
from tests.builders.sources.devkit import mask_of, write_devkit, write_mat
from tests.builders.sources.test_folders import two_classes, write

FILES = {"a/one.txt": b"1", "a/b/two": b"22", "three": b"333", "a/.hidden": b""}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_PAUSE", 0)


@pytest.fixture
def memory() -> Iterator[Any]:
    """A store."""
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/", recursive=True)


def upload(folder: Path, store: Any, name: str) -> str:
    """Put a folder into a store. -> its address."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.pipe_file(f"/{name}/{path.relative_to(folder)}", path.read_bytes())
    return f"memory://{name}"


@pytest.fixture(params=["disk", "confined", "address"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, memory: Any) -> Tree:
    write(tmp_path / "t", FILES)
    if request.param == "address":
        return tree_at(Address(upload(tmp_path / "t", memory, "t")))
    return tree_at(tmp_path / "t", confined=request.param == "confined")


def reason(tree: Tree, *args: Any) -> str:
    with pytest.raises(UnfitError) as caught:
        tree.read(*args)
    return str(caught.value)


def test_a_tree_is_its_names_and_bytes(tree: Tree) -> None:
    assert tree.entries() == {"a": True, "three": False}
    assert tree.entries("a") == {"one.txt": False, "b": True, ".hidden": False}
    assert tree.entries("none") == {}
    assert [tree.is_file(name) for name in ("three", "a/b/two", "a", "x", "x/y")] == [
        *(True, True, False, False, False)
    ]
    assert [tree.is_folder(name) for name in ("", "a", "a/b", "x")] == [True, True, True, False]
    assert tree.found("a") == ".hidden, b, one.txt" and tree.found("x") == "no such folder"
    assert tree.sizes(["three", "a/b/two", "x", "a/x"]) == [3, 2, None, None]
    assert tree.read("a/b/two") == b"22" and tree.start("three", 2) == b"33"
    assert tree.start("three", 99) == b"333"
    assert tree.below("a").below("b").read("two") == b"22"
    assert tree.digest("three") == hashlib.sha256(b"333").hexdigest()
    assert tree.digest("x") == UNREAD
    assert pickle.loads(pickle.dumps(tree)).read("three") == b"333"


def test_what_cannot_be_read_has_one_reason_everywhere(tree: Tree) -> None:
    assert reason(tree, "none") == reason(tree, "a/none") == "no such file"
    assert reason(tree, "three", "a mask", 2) == "a mask of more than 2 bytes"


def test_items_come_in_order_and_no_more_than_are_wanted(tree: Tree) -> None:
    asked = []

    def ask(item: int) -> int:
        asked.append(item)
        return item**2

    assert [*tree.map(ask, range(100))] == [item**2 for item in range(100)]
    asked.clear()
    few = tree.map(ask, iter(range(10_000)))
    assert [next(few) for _ in range(3)] == [0, 1, 4]
    del few
    assert len(asked) < 100


def test_what_was_read_whole_is_digested(tree: Tree) -> None:
    digests: dict[str, str] = {}
    noting = Digesting(tree, digests)
    assert noting.start("a/one.txt", 1) == b"1" and noting.is_file("a/b/two")
    assert digests == {}
    noting.read("three")
    with pytest.raises(UnfitError):
        noting.read("none")
    with pytest.raises(UnfitError):
        noting.read("a/b/two", "a mask", 1)  # there it is
    found = hashlib.sha256(b"333").hexdigest(), hashlib.sha256(b"22").hexdigest()
    assert digests == {"three": found[0], "none": UNREAD, "a/b/two": found[1]}
    known = named_digests(tree, ["three", "a/one.txt"], {"three": "known"})
    assert known == [("three", "known"), ("a/one.txt", hashlib.sha256(b"1").hexdigest())]


def test_a_confined_folder_has_nothing_that_lies_outside(tmp_path: Path) -> None:
    write(tmp_path, {"inside/x": b"1", "outside/y": b"2"})
    os.symlink("../outside/y", tmp_path / "inside/file")
    os.symlink("../outside", tmp_path / "inside/folder")
    free, confined = (tree_at(tmp_path / "inside", confined=c) for c in (False, True))
    assert free.read("file") == b"2" and free.entries("folder") == {"y": False}
    assert reason(confined, "file") == reason(confined, "folder/y")
    assert reason(confined, "file") == "a link that leads outside the folder"
    assert confined.sizes(["file"]) == [None] and confined.digest("file") == UNREAD
    with pytest.raises(SourceError, match="is a link, and links to folders are not followed"):
        confined.entries("folder")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert reason(Disk(tmp_path), "pipe") == "not a file"
    assert Disk(tmp_path).sizes(["pipe"]) == [None] and Disk(tmp_path).digest("pipe") == UNREAD


def test_a_lost_connection_is_no_bad_sample(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else `skip-bad` would leave out whatever was asked for while the network was away."""
    spec = f"folder:{upload(two_classes(tmp_path), memory, 'lost')}"
    source = open_source(spec, split="train")
    tries = []

    def away(self: Any, path: str, **more: Any) -> bytes:
        tries.append(path)
        raise ConnectionError("the line is dead")

    monkeypatch.setattr(type(memory), "cat_file", away)
    with pytest.raises(SourceError, match=r"memory://lost/train/cat/a\.png cannot be fetched"):
        source.read(0, 1)
    assert len(tries) == 3
    monkeypatch.setattr(type(memory), "ls", away)
    with pytest.raises(SourceError, match=r"memory://lost/? cannot be listed"):
        open_source(spec, split="train")


def test_an_address_that_cannot_be_listed_is_told() -> None:
    with pytest.raises(SourceError, match=r"http://example\.org/x cannot be listed"):
        open_source("folder:http://me:secret@example.org/x", split="train")
    with pytest.raises(
        SourceError, match="folder, celeba, voc2012, coco, saliency also at addresses"
    ):
        open_source("cifar10:s3://bucket/cifar", split="train")
    with pytest.raises(SourceError, match="cannot be listed"):
        open_source("coco:nonsense://bucket/coco", split="val", reads=(SCENES,))


# ---- sources at addresses


@pytest.mark.parametrize("options", ["", "?size=5x4"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_class_folders_at_an_address_are_those_of_a_folder(
    tmp_path: Path, memory: Any, split: str, options: str
) -> None:
    write(tmp_path, {"train/cat/bad.png": b"bad", "train/notes.txt": b"", "train/cat/x.txt": b""})
    address = upload(two_classes(tmp_path), memory, "images")
    here = open_source(f"folder:{tmp_path}{options}", split=split)
    there = open_source(f"folder:{address}{options}", split=split)
    assert there.image_shape == here.image_shape == ((4, 5, 3) if options else (6, 9, 3))
    ours, theirs = (source.read(0, len(source)) for source in (here, there))
    assert len(ours.bad) == (split == "train") and ours.bad == theirs.bad
    np.testing.assert_array_equal(np.array(ours.images), np.array(theirs.images))
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert here.fingerprint() == there.fingerprint()


def test_a_split_that_is_not_at_an_address_is_told(tmp_path: Path, memory: Any) -> None:
    address = upload(two_classes(tmp_path), memory, "images")
    with pytest.raises(SourceError, match=r"no split 'val' in memory://images: .* test, train"):
        open_source(f"folder:{address}", split="val")
    with pytest.raises(SourceError, match=r"in memory://none; found no such folder"):
        open_source("folder:memory://none", split="all")
    with pytest.raises(SourceError, match=r"in memory://none, .* found no such folder"):
        open_source("voc2012:memory://none", split="val", reads=(SCENES,))
    with pytest.raises(SourceError, match=r"in memory://images; found test, train"):
        open_source(f"coco:{address}", split="val", reads=(SCENES,))
    memory.pipe_file("/file", b"content")
    with pytest.raises(SourceError, match=r"memory://file is a file"):
        open_source("folder:memory://file", split="all")


def scenes_of(spec: str, split: str, step: str) -> tuple[Any, list[Any]]:
    source: Any = open_source(spec, split=split, reads=(step,))
    read = {MASKS: source.mask, ANNOTATIONS: source.annotation, SCENES: source.scene}[step]
    return source, [read(index) for index in range(len(source))]


def assert_alike(ours: Any, theirs: Any) -> None:
    """Scenes and parts of them, which hold arrays."""
    if isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(ours, list):
        for one, other in zip(ours, theirs, strict=True):
            assert_alike(one, other)
    elif hasattr(ours, "__slots__"):
        for name in ours.__slots__:
            assert_alike(getattr(ours, name), getattr(theirs, name))
    else:
        assert ours == theirs


@pytest.mark.parametrize("step", [MASKS, ANNOTATIONS, SCENES])
@pytest.mark.parametrize("split", ["train", "val", "trainval", "train_aug", "all"])
def test_voc_at_an_address_is_that_of_a_folder(
    tmp_path: Path, memory: Any, split: str, step: str
) -> None:
    root = write_devkit(tmp_path)
    (root / "SegmentationClass/2007_000002.png").unlink()
    address = upload(tmp_path, memory, "voc")
    (here, ours), (there, theirs) = (
        scenes_of(f"voc2012:{place}", split, step) for place in (tmp_path, address)
    )
    assert here.ids == there.ids and here.sizes() == there.sizes()
    assert here.fingerprint() == there.fingerprint()
    assert len(ours) > 1
    assert_alike(ours, theirs)


def test_sbd_at_an_address_is_that_of_a_folder(tmp_path: Path, memory: Any) -> None:
    write_devkit(tmp_path / "voc")
    for one in ("2008_000001", "2008_000002"):
        write_mat(tmp_path / f"sbd/dataset/cls/{one}.mat", mask_of(15))
    places = [str(tmp_path), upload(tmp_path, memory, "all")]
    (here, ours), (there, theirs) = (
        scenes_of(f"voc2012:{place}/voc?sbd={place}/sbd", "train_aug", SCENES) for place in places
    )
    assert len(here.from_sbd) == 2 and here.from_sbd == there.from_sbd
    assert here.sizes() == there.sizes() and here.fingerprint() == there.fingerprint()
    assert_alike(ours, theirs)


def test_coco_at_an_address_is_that_of_a_folder(tmp_path: Path, memory: Any) -> None:
    write_coco(tmp_path, [marked(square(1, 1, 3)), marked(square(2, 2, 3), 90, image=9)])
    address = upload(tmp_path, memory, "coco")
    (here, ours), (there, theirs) = (
        scenes_of(f"coco:{place}", "val", SCENES) for place in (tmp_path, address)
    )
    assert here.ids == there.ids and here.sizes() == there.sizes()
    assert here.fingerprint() == there.fingerprint()
    assert_alike(ours, theirs)


def test_files_at_an_address_are_fetched_several_at_a_time(
    tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a round trip: one after the other they would take as many."""
    address = upload(two_classes(tmp_path), memory, "images")
    source = open_source(f"folder:{address}", split="train")
    together = threading.Barrier(len(source))
    cat = type(memory).cat_file

    def waits_for_the_others(self: Any, path: str, **more: Any) -> Any:
        together.wait(20)
        return cat(self, path, **more)

    monkeypatch.setattr(type(memory), "cat_file", waits_for_the_others)
    assert len(source.read(0, len(source)).indices) == len(source) <= trees._AT_A_TIME
