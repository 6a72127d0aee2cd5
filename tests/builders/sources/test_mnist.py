"""MNIST's idx files, wherever and however they lie: the same samples, every fault by its name."""

import gzip
import hashlib
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources.mnist import open_mnist
from tests.builders.real_data import real_data

COUNTS = {"train": 11, "test": 4}
PREFIXES = {"train": "train", "test": "t10k"}


def images_of(split: str) -> NDArray[np.uint8]:
    rng = np.random.default_rng(len(split))
    return rng.integers(0, 256, (COUNTS[split], 28, 28), dtype=np.uint8)


def labels_of(split: str) -> NDArray[np.uint8]:
    return (np.arange(COUNTS[split]) * 7 % 10).astype(np.uint8)


def idx(array: NDArray[np.uint8]) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def write(folder: Path, name: str, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return file


def write_mnist(folder: Path, mark: str = "-", suffix: str = "") -> Path:
    for split, prefix in PREFIXES.items():
        write(folder, f"{prefix}-images{mark}idx3-ubyte{suffix}", idx(images_of(split)))
        write(folder, f"{prefix}-labels{mark}idx1-ubyte{suffix}", idx(labels_of(split)))
    return folder


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("split", COUNTS)
def test_a_split_is_what_was_written(
    tmp_path: Path, place: str, mark: str, suffix: str, split: str
) -> None:
    write_mnist(tmp_path / place, mark, suffix)
    source = open_mnist(tmp_path, split)
    block = source.read(0, len(source))
    np.testing.assert_array_equal(block.images, images_of(split)[..., np.newaxis])
    np.testing.assert_array_equal(block.labels, labels_of(split))
    assert block.indices.tolist() == list(range(COUNTS[split]))
    assert block.bad == ()
    assert block.labels.dtype == block.indices.dtype == np.int64
    assert (source.kind, source.split, source.image_shape) == ("mnist", split, (28, 28, 1))
    assert source.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 11), max_size=5))
def test_ranges_make_up_the_whole(tmp_path: Path, suffix: str, cuts: list[int]) -> None:
    if not any(tmp_path.iterdir()):
        write_mnist(tmp_path, suffix=suffix)
    source = open_mnist(tmp_path, "train")
    blocks = [
        source.read(start, stop)
        for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), 11], strict=True)
    ]
    whole = source.read(0, 11)
    for name in ("images", "labels", "indices"):
        parts = np.concatenate([getattr(block, name) for block in blocks])
        np.testing.assert_array_equal(parts, getattr(whole, name))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_block_is_the_callers_own(tmp_path: Path, suffix: str) -> None:
    source = open_mnist(write_mnist(tmp_path, suffix=suffix), "test")
    block = source.read(0, 4)
    assert isinstance(block.images, np.ndarray)
    block.images[:] = 0
    block.labels[:] = 0
    np.testing.assert_array_equal(np.asarray(source.read(0, 4).images)[..., 0], images_of("test"))
    np.testing.assert_array_equal(source.read(0, 4).labels, labels_of("test"))


def test_the_two_files_may_lie_differently_and_the_unpacked_one_is_read(tmp_path: Path) -> None:
    write(tmp_path, "t10k-images-idx3-ubyte", idx(images_of("test")))
    write(tmp_path, "t10k-images-idx3-ubyte.gz", b"never read")
    write(tmp_path, "t10k-labels.idx1-ubyte.gz", idx(labels_of("test")))
    source = open_mnist(tmp_path, "test")
    assert source.images == "t10k-images-idx3-ubyte"
    np.testing.assert_array_equal(np.asarray(source.read(0, 4).images)[..., 0], images_of("test"))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_changed_since_is_noticed(tmp_path: Path, suffix: str) -> None:
    source = open_mnist(write_mnist(tmp_path, suffix=suffix), "test")
    write(tmp_path, f"t10k-images-idx3-ubyte{suffix}", idx(images_of("test")[:2]))
    with pytest.raises(SourceError, match=r"t10k-images-idx3-ubyte.* has become shorter"):
        source.read(0, 4)
    write(tmp_path, f"t10k-images-idx3-ubyte{suffix}", idx(255 - images_of("test")))
    np.testing.assert_array_equal(
        np.asarray(source.read(0, 4).images)[..., 0], 255 - images_of("test")
    )


def test_a_source_travels_as_a_small_pickle(tmp_path: Path) -> None:
    source = open_mnist(write_mnist(tmp_path / "x"), "test")
    packed = pickle.dumps(source)
    assert len(packed) < 1_000
    shutil.rmtree(tmp_path / "x")  # unpacking it must not look at the folder again
    assert pickle.loads(packed) == source


def test_the_fingerprint_is_of_names_and_bytes(tmp_path: Path) -> None:
    here = write_mnist(tmp_path / "here")
    fingerprint = open_mnist(here, "train").fingerprint()
    there = write_mnist(tmp_path / "there" / "MNIST" / "raw")
    for file in there.iterdir():
        os.utime(file, (1, 1))
    assert open_mnist(tmp_path / "there", "train").fingerprint() == fingerprint
    assert open_mnist(here, "test").fingerprint() != fingerprint
    write(there, "train-labels-idx1-ubyte", idx(labels_of("train")[::-1]))
    assert open_mnist(there, "train").fingerprint() != fingerprint


# ---- what is refused


def refusal(path: Path, split: str = "test") -> str:
    with pytest.raises(SourceError) as caught:
        open_mnist(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_layout_is_told_with_what_is_there(tmp_path: Path) -> None:
    looked_for = (
        "mnist: looked for t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or .gz) in "
        f"{tmp_path}, raw/ and MNIST/raw/ in it; found "
    )
    assert refusal(tmp_path) == looked_for + "nothing"
    (tmp_path / "mnist.pkl.gz").touch()
    assert refusal(tmp_path) == looked_for + "mnist.pkl.gz"
    assert refusal(tmp_path / "none").endswith("found no such folder")
    assert refusal(tmp_path / "mnist.pkl.gz").endswith("found a file, not a folder")


@pytest.mark.parametrize("part", ["images", "labels"])
def test_one_file_without_the_other_is_told(tmp_path: Path, part: str) -> None:
    write_mnist(tmp_path)
    next(tmp_path.glob(f"t10k-{part}*")).unlink()
    other = next(tmp_path.glob("t10k-*")).name
    assert refusal(tmp_path) == f"mnist: {tmp_path} has {other} without its counterpart"


def test_an_unknown_split_is_told_with_those_there_are(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    assert refusal(tmp_path, "t10k") == "mnist has no split 't10k'; it has train, test"


def test_different_numbers_of_images_and_labels_are_told(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write(tmp_path, "t10k-labels-idx1-ubyte", idx(labels_of("test")[:3]))
    assert refusal(tmp_path) == (
        f"{tmp_path}/t10k-images-idx3-ubyte has 4 images"
        " and t10k-labels-idx1-ubyte beside it 3 labels"
    )


def test_a_label_out_of_range_is_told(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    file = write(tmp_path, "t10k-labels-idx1-ubyte", idx(np.array([0, 9, 10, 3], np.uint8)))
    assert refusal(tmp_path) == f"{file} has a label outside 0..9: 10"


GOOD = idx(images_of("test"))


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends within its header"),
        (GOOD[:15], "ends within its header"),
        (
            idx(labels_of("test")) + bytes(20),
            "begins with the magic number 0x00000801, not 0x00000803",
        ),
        (b"\x89PNG" + GOOD[4:], "begins with the magic number 0x89504e47"),
        (GOOD[:2] + b"\x09" + GOOD[3:], "begins with the magic number 0x00000903"),
        (idx(images_of("test")[:, :27]), "has images of 27x28, not 28x28"),
        (idx(images_of("test")[:0]), "holds nothing: its header counts 0"),
    ],
)
def test_a_wrong_header_is_told(tmp_path: Path, suffix: str, data: bytes, reason: str) -> None:
    write_mnist(tmp_path, suffix=suffix)
    file = write(tmp_path, f"t10k-images-idx3-ubyte{suffix}", data)
    message = refusal(tmp_path)
    assert message.startswith(f"{file} ")
    assert reason in message


@pytest.mark.parametrize(("data", "more"), [(GOOD[:-1], "less"), (GOOD + b"x", "more")])
def test_a_length_that_is_not_the_headers_is_told(tmp_path: Path, data: bytes, more: str) -> None:
    plain = write_mnist(tmp_path / "plain")
    file = write(plain, "t10k-images-idx3-ubyte", data)
    assert refusal(plain) == f"{file} has {len(data)} bytes; 4 items make {len(GOOD)}"
    zipped = write_mnist(tmp_path / "zipped", suffix=".gz")
    file = write(zipped, "t10k-images-idx3-ubyte.gz", data)
    assert refusal(zipped) == f"{file} holds {more} than the 4 items that it counts"


def cut(data: bytes) -> bytes:
    return data[:-9]


def without_sum(data: bytes) -> bytes:
    return data[:-8] + bytes(8)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def not_zipped(data: bytes) -> bytes:
    return GOOD


def followed_by_junk(data: bytes) -> bytes:
    return data + b"junk"


@pytest.mark.parametrize("damage", [cut, without_sum, flipped, not_zipped, followed_by_junk])
def test_damage_to_a_zipped_file_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write_mnist(tmp_path, suffix=".gz")
    file = tmp_path / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    assert refusal(tmp_path).startswith(f"{file} cannot be unpacked: ")


def test_a_header_that_counts_too_much_is_not_believed(tmp_path: Path) -> None:
    write_mnist(tmp_path, suffix=".gz")
    data = GOOD[:4] + b"\xff\xff\xff\xff" + GOOD[8:]
    file = write(tmp_path, "t10k-images-idx3-ubyte.gz", data)
    assert refusal(tmp_path) == f"{file} has 3367254359280 bytes of items: unpack it first"


# ---- the real files


def test_the_real_mnist_is_read() -> None:
    root = real_data("mnist")
    train, test = (open_mnist(root, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (60_000, 10_000)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    block = train.read(0, 60_000)
    assert np.bincount(block.labels).tolist() == counts
    # the published md5 of the file that was zipped
    images = np.asarray(block.images)
    digest = hashlib.md5(struct.pack(">4I", 0x803, 60_000, 28, 28) + images.tobytes()).hexdigest()
    assert digest == "6bbc9ace898e44ae57da46a324031adb"
    np.testing.assert_array_equal(train.read(59_990, 60_000).images, images[-10:])
    assert np.bincount(test.read(0, 10_000).labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]
