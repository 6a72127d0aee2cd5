"""KIND:PATH: every kind opens, keeps the contract of a source, and says what is wrong in a line."""

import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources.catalogue import divided, open_source
from quire.builders.sources.kinds import SOURCES
from quire.builders.sources.source import IMAGES, NOTHING, ImageSource, Nothing

OF_IMAGES = [kind for kind, record in SOURCES.items() if record.holds == IMAGES]


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        (folder / f"{name}.bin").write_bytes(bytes(3 * 3073))
    (folder / "batches.meta.txt").write_text("x\n" * 10)


def write_all(root: Path) -> dict[str, str]:
    """A tiny source of every kind of images, as it is named on the command line."""
    write_cifar10(root / "ten")
    folder = root / "hundred" / "cifar-100-python"
    folder.mkdir(parents=True)
    content = {"data": np.zeros((3, 3072), np.uint8), "fine_labels": [0, 99, 5]}
    for name in ("train", "test"):
        (folder / name).write_bytes(pickle.dumps(content))
    names = {"fine_label_names": [str(i) for i in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(names))
    for prefix in ("train", "t10k"):
        images = struct.pack(">4I", 0x803, 3, 28, 28) + bytes(3 * 784)
        (root / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2I3B", 0x801, 3, 0, 1, 9))
    (root / "stl10_binary").mkdir()
    (root / "stl10_binary" / "class_names.txt").write_text("x\n" * 10)
    for split in ("train", "test"):
        (root / "stl10_binary" / f"{split}_X.bin").write_bytes(bytes(3 * 27_648))
        (root / "stl10_binary" / f"{split}_y.bin").write_bytes(b"\1\x0a\2")
    digits = {"X": np.zeros((32, 32, 3, 3), np.uint8), "y": np.array([[10], [1], [9]], np.uint8)}
    for split in ("train", "test", "extra"):
        savemat(root / f"{split}_32x32.mat", digits, do_compression=True)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (root / "photos" / split / label).mkdir(parents=True)
            Image.new("RGB", (5, 4)).save(root / "photos" / split / label / "a.png")
    (root / "celeba/img_align_celeba").mkdir(parents=True)
    numbers = range(1, 7)
    for number in numbers:
        Image.new("RGB", (5, 4)).save(root / f"celeba/img_align_celeba/{number:06d}.jpg")
    lines = [f"{number:06d}.jpg {number % 3}\n" for number in numbers]
    (root / "celeba/list_eval_partition.txt").write_text("".join(lines))
    return {
        "cifar10": f"cifar10:{root}/ten",
        "cifar100": f"cifar100:{root}/hundred",
        "mnist": f"mnist:{root}",
        "svhn": f"svhn:{root}",
        "stl10": f"stl10:{root}",
        "folder": f"folder:{root}/photos",
        "celeba": f"celeba:{root}/celeba",
        "digits": "digits:",
        "modes": "modes:3",
    }


def test_the_specs_here_are_of_every_kind_of_images(tmp_path: Path) -> None:
    assert [*write_all(tmp_path)] == OF_IMAGES


@pytest.mark.parametrize("kind", OF_IMAGES)
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_kind_keeps_the_contract(tmp_path: Path, kind: str, split: str) -> None:
    source: ImageSource = open_source(write_all(tmp_path)[kind], split=split)
    assert (source.kind, source.split) == (kind, split)
    assert len(source) >= 2
    block = source.read(1, 2)
    assert isinstance(block.images, np.ndarray)
    assert block.images.dtype == np.uint8
    assert source.image_shape == block.images.shape[1:]
    assert block.indices.tolist() == [1]
    assert block.labels.shape == (1,)
    assert 0 <= block.labels[0] < len(source.class_names)
    labels = source.read_labels()
    assert labels.dtype == np.int64
    assert labels.tolist() == source.read(0, len(source)).labels.tolist()
    labels[:] = -1  # the caller's own
    assert source.read_labels()[1] == block.labels[0]
    empty = source.read(1, 1)
    assert np.asarray(empty.images).shape == (0, *source.image_shape)
    assert len(empty.indices) == len(empty.labels) == len(empty.bad) == 0
    assert re.fullmatch("[0-9a-f]{64}", source.fingerprint())
    assert pickle.loads(pickle.dumps(source)) == source
    with pytest.raises(IndexError):
        source.read(0, len(source) + 1)


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_says_what_it_is(kind: str) -> None:
    record = SOURCES[kind]
    for text in (record.summary, record.layout):
        assert text.isprintable()
        assert text == text.strip()
    assert record.layout.startswith(f"{kind}:")


@pytest.mark.parametrize("kind", [kind for kind in OF_IMAGES if SOURCES[kind].splits])
def test_the_splits_that_are_listed_are_those_there_are(tmp_path: Path, kind: str) -> None:
    spec = write_all(tmp_path)[kind]
    splits = SOURCES[kind].splits or ()
    for split in splits:
        assert open_source(spec, split=split).split == split
    with pytest.raises(SourceError, match=f"^{kind} has no split 'x'; it has {', '.join(splits)}$"):
        open_source(spec, split="x")


def test_only_the_first_colon_divides(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "a:b")
    assert len(open_source(f"cifar10:{tmp_path}/a:b", split="test")) == 3
    assert divided("digits:") == ("digits", "")


def test_a_size_is_an_option_of_folders(tmp_path: Path) -> None:
    spec = write_all(tmp_path)["folder"]
    assert open_source(f"{spec}?size=8x6", split="test").image_shape == (6, 8, 3)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_source("cifar10:~", split="train")) == 15


def test_a_source_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_all(tmp_path)
    monkeypatch.chdir(tmp_path)
    specs = ["cifar10:ten", "cifar100:hundred", "mnist:.", "svhn:.", "stl10:.", "folder:photos"]
    sources = [open_source(spec, split="test") for spec in specs]
    os.chdir("/")
    for source in sources:
        assert len(source.read(0, 2).labels) == 2


def refusal(spec: str, split: str = "test") -> str:
    with pytest.raises(SourceError) as caught:
        open_source(spec, split=split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("spec", ["", "cifar10", "cifar11:x", ":x", "/data/cifar10", "Digits:"])
def test_an_unknown_kind_is_told_with_those_there_are(spec: str) -> None:
    assert refusal(spec) == (
        f"the source {spec!r} is not KIND:PATH with one of the kinds"
        " cifar10, cifar100, mnist, svhn, stl10, folder, celeba, digits, modes"
    )


@pytest.mark.parametrize("spec", ["digits:", "graphs:.", "nonsense"])
def test_where_nothing_is_read_no_source_is_taken(spec: str) -> None:
    assert isinstance(open_source(None, split="all", reads=(NOTHING,)), Nothing)
    with pytest.raises(SourceError, match=f"^no source is read here, but {spec} is given$"):
        open_source(spec, split="all", reads=(NOTHING,))


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "mnist", "svhn", "stl10", "folder"])
def test_a_missing_path_is_told(kind: str) -> None:
    assert refusal(f"{kind}:") == f"{kind} needs a folder: {kind}:PATH"
    assert "home folder for ~nobody-of-that-name" in refusal(f"{kind}:~nobody-of-that-name/x")
    assert refusal(f"{kind}:/nowhere/at/all").endswith("found no such folder")


# ---- downloads


def test_what_can_be_opened_is_not_downloaded(tmp_path: Path) -> None:
    write_cifar10(tmp_path)

    def download(kind: str, root: Path) -> None:
        raise AssertionError("downloaded although it is there")

    assert len(open_source(f"cifar10:{tmp_path}", split="test", download=download)) == 3


def test_what_is_not_there_is_downloaded_and_opened(tmp_path: Path) -> None:
    asked = []

    def download(kind: str, root: Path) -> None:
        asked.append((kind, root))
        write_cifar10(root)

    source = open_source(f"cifar10:{tmp_path}/new", split="test", download=download)
    assert len(source) == 3
    assert asked == [("cifar10", tmp_path / "new")]


def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    def download(kind: str, root: Path) -> None:
        raise SourceError("no network")

    with pytest.raises(SourceError, match=r"^no network$"):
        open_source(f"mnist:{tmp_path}", split="test", download=download)


def test_a_download_that_brings_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"found nothing$"):
        open_source(f"mnist:{tmp_path}", split="test", download=lambda kind, root: None)


@pytest.mark.parametrize(
    ("spec", "split", "message"),
    [
        ("folder:x", "test", "folder cannot be downloaded; cifar10, cifar100, mnist can"),
        ("digits:", "test", "digits cannot be downloaded; cifar10, cifar100, mnist can"),
        ("cifar10:x", "val", "cifar10 has no split 'val'; it has train, test"),
        ("cifar10:", "test", "cifar10 needs a folder: cifar10:PATH"),
    ],
)
def test_nothing_is_downloaded_in_vain(spec: str, split: str, message: str) -> None:
    def download(kind: str, root: Path) -> None:
        raise AssertionError("downloaded in vain")

    with pytest.raises(SourceError, match=f"^{re.escape(message)}$"):
        open_source(spec, split=split, download=download)


def test_a_bad_sample_is_a_plain_record() -> None:
    # it ends up in a manifest, field by field
    assert list(LeftOut.__slots__) == ["index", "file", "reason"]
