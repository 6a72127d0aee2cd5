"""CIFAR in both its layouts: the same samples, read in any ranges, and every fault by its name."""

import os
import pickle
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources.cifar import open_cifar
from tests.builders.real_data import real_data

Records: TypeAlias = tuple[NDArray[np.uint8], list[int]]  # (N, 3072), N labels

COUNTS: dict[str, dict[str, tuple[int, ...]]] = {
    "cifar10": {"train": (4, 1, 3, 2, 5), "test": (3,)},
    "cifar100": {"train": (7,), "test": (2,)},
}
NUM_CLASSES = {"cifar10": 10, "cifar100": 100}
FOLDERS = {
    ("cifar10", "binary"): "cifar-10-batches-bin",
    ("cifar10", "python"): "cifar-10-batches-py",
    ("cifar100", "binary"): "cifar-100-binary",
    ("cifar100", "python"): "cifar-100-python",
}
KINDS_AND_VERSIONS = pytest.mark.parametrize(("kind", "version"), FOLDERS)


def class_names(kind: str) -> list[str]:
    return [f"class {i}" for i in range(NUM_CLASSES[kind])]


def records(kind: str, split: str) -> list[Records]:
    """What each of a split's files holds: the same at every call."""
    rng = np.random.default_rng(len(kind + split))
    return [
        (
            rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            rng.integers(0, NUM_CLASSES[kind], count).tolist(),
        )
        for count in COUNTS[kind][split]
    ]


def files_of(kind: str, split: str) -> list[str]:
    """The names of a split's files in the Python version."""
    if kind == "cifar100":
        return [split]
    return [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]


def write_binary(root: Path, kind: str) -> Path:
    folder = root / FOLDERS[kind, "binary"]
    folder.mkdir(parents=True)
    for split in COUNTS[kind]:
        for name, (pixels, labels) in zip(files_of(kind, split), records(kind, split), strict=True):
            columns = [np.array(labels, np.uint8)[:, None], pixels]
            if kind == "cifar100":
                columns.insert(0, np.full((len(labels), 1), 19, np.uint8))  # the coarse label
            (folder / f"{name}.bin").write_bytes(np.hstack(columns).tobytes())
    names = {"cifar10": "batches.meta.txt", "cifar100": "fine_label_names.txt"}[kind]
    (folder / names).write_text("\n".join(class_names(kind)) + "\n\n")
    return folder


def write_python(root: Path, kind: str, protocol: int = 2) -> Path:
    folder = root / FOLDERS[kind, "python"]
    folder.mkdir(parents=True)
    labels_key = {"cifar10": "labels", "cifar100": "fine_labels"}[kind]
    for split in COUNTS[kind]:
        for name, (pixels, labels) in zip(files_of(kind, split), records(kind, split), strict=True):
            content = {"data": pixels, labels_key: labels, "batch_label": name}
            (folder / name).write_bytes(pickle.dumps(content, protocol))
    names_file, key = {
        "cifar10": ("batches.meta", "label_names"),
        "cifar100": ("meta", "fine_label_names"),
    }[kind]
    (folder / names_file).write_bytes(pickle.dumps({key: class_names(kind)}, protocol))
    return folder


WRITERS: dict[str, Callable[[Path, str], Path]] = {"binary": write_binary, "python": write_python}


def expected_images(parts: Iterable[Records]) -> NDArray[np.uint8]:
    """The slow way: each pixel's three bytes from the three planes."""
    pixels = np.concatenate([pixels for pixels, _ in parts])
    images = np.empty((len(pixels), 32, 32, 3), np.uint8)
    for y in range(32):
        for x in range(32):
            for channel in range(3):
                images[:, y, x, channel] = pixels[:, channel * 1024 + y * 32 + x]
    return images


@KINDS_AND_VERSIONS
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_is_its_files_one_after_the_other(
    tmp_path: Path, kind: str, version: str, split: str
) -> None:
    WRITERS[version](tmp_path, kind)
    source = open_cifar(kind, tmp_path, split)
    parts = records(kind, split)
    block = source.read(0, len(source))
    np.testing.assert_array_equal(block.images, expected_images(parts))
    assert block.labels.tolist() == [label for _, labels in parts for label in labels]
    assert block.indices.tolist() == list(range(sum(COUNTS[kind][split])))
    assert block.bad == ()
    assert block.labels.dtype == block.indices.dtype == np.int64
    assert (source.kind, source.split, source.image_shape) == (kind, split, (32, 32, 3))
    assert source.class_names == tuple(class_names(kind))


@KINDS_AND_VERSIONS
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 15), max_size=5))
def test_ranges_make_up_the_whole(tmp_path: Path, kind: str, version: str, cuts: list[int]) -> None:
    if not (tmp_path / FOLDERS[kind, version]).exists():
        WRITERS[version](tmp_path, kind)
    source = open_cifar(kind, tmp_path, "train")
    ends = sorted(min(cut, len(source)) for cut in cuts)
    blocks = [source.read(a, b) for a, b in zip([0, *ends], [*ends, len(source)], strict=True)]
    whole = source.read(0, len(source))
    for name in ("images", "labels", "indices"):
        parts = np.concatenate([getattr(block, name) for block in blocks])
        np.testing.assert_array_equal(parts, getattr(whole, name))


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 16), (16, 16)])
def test_samples_that_are_not_there_are_refused(tmp_path: Path, start: int, stop: int) -> None:
    write_binary(tmp_path, "cifar10")
    with pytest.raises(IndexError, match="of a source that has 15"):
        open_cifar("cifar10", tmp_path, "train").read(start, stop)


@KINDS_AND_VERSIONS
def test_the_layouts_own_folder_and_the_one_around_it_are_the_same(
    tmp_path: Path, kind: str, version: str
) -> None:
    folder = WRITERS[version](tmp_path, kind)
    assert open_cifar(kind, folder, "test") == open_cifar(kind, tmp_path, "test")


@pytest.mark.parametrize("kind", NUM_CLASSES)
def test_both_versions_hold_the_same_samples(tmp_path: Path, kind: str) -> None:
    blocks = []
    for version, write in WRITERS.items():
        write(tmp_path / version, kind)
        blocks.append(open_cifar(kind, tmp_path / version, "train").read(0, 7))
    np.testing.assert_array_equal(blocks[0].images, blocks[1].images)
    np.testing.assert_array_equal(blocks[0].labels, blocks[1].labels)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_any_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    write_python(tmp_path, "cifar10", protocol)
    block = open_cifar("cifar10", tmp_path, "test").read(0, 3)
    np.testing.assert_array_equal(block.images, expected_images(records("cifar10", "test")))


def test_where_both_versions_lie_the_whole_one_is_read(tmp_path: Path) -> None:
    binary, python = (write(tmp_path, "cifar10") for write in WRITERS.values())
    assert open_cifar("cifar10", tmp_path, "test").folder == binary
    (binary / "test_batch.bin").unlink()
    assert open_cifar("cifar10", tmp_path, "test").folder == python
    assert open_cifar("cifar10", tmp_path, "train").folder == binary


def test_only_the_records_asked_for_are_read(tmp_path: Path) -> None:
    folder = write_binary(tmp_path, "cifar10")
    source = open_cifar("cifar10", tmp_path, "test")
    file = folder / "test_batch.bin"
    before = source.read(1, 2)
    data = bytearray(file.read_bytes())
    data[0] = data[2 * 3073] = 99  # the neighbours' labels are impossible now
    file.write_bytes(data)
    np.testing.assert_array_equal(source.read(1, 2).images, before.images)


@KINDS_AND_VERSIONS
def test_a_file_that_changed_since_is_noticed(tmp_path: Path, kind: str, version: str) -> None:
    folder = WRITERS[version](tmp_path, kind)
    source = open_cifar(kind, tmp_path, "test")
    WRITERS[version](tmp_path / "other", kind)
    suffix = ".bin" if version == "binary" else ""
    file = folder / (files_of(kind, "test")[0] + suffix)
    if version == "binary":
        os.truncate(file, file.stat().st_size // len(source))
    else:
        content = pickle.loads(file.read_bytes())
        shorter = {key: value[:1] for key, value in content.items()}
        file.write_bytes(pickle.dumps(shorter))
    with pytest.raises(SourceError, match=f"{file.name} has another length than when it was"):
        source.read_labels()
    with pytest.raises(SourceError, match=f"{file.name} has become shorter"):
        source.read(0, len(source))


def test_a_label_that_went_bad_since_is_noticed(tmp_path: Path) -> None:
    folder = write_binary(tmp_path, "cifar10")
    source = open_cifar("cifar10", tmp_path, "test")
    with (folder / "test_batch.bin").open("r+b") as file:
        file.write(b"\x0a")
    with pytest.raises(SourceError, match=r"test_batch.bin has a label outside 0\.\.9: 10"):
        source.read(0, 1)


@KINDS_AND_VERSIONS
def test_a_block_is_the_callers_own(tmp_path: Path, kind: str, version: str) -> None:
    WRITERS[version](tmp_path, kind)
    source = open_cifar(kind, tmp_path, "test")
    block, again = source.read(0, 2), source.read(0, 2)
    assert isinstance(block.images, np.ndarray)
    block.images[:] = 0
    block.labels[:] = 0
    np.testing.assert_array_equal(source.read(0, 2).images, again.images)
    np.testing.assert_array_equal(source.read(0, 2).labels, again.labels)


@KINDS_AND_VERSIONS
def test_a_source_travels_as_a_small_pickle(tmp_path: Path, kind: str, version: str) -> None:
    folder = WRITERS[version](tmp_path, kind)
    source = open_cifar(kind, tmp_path, "train")
    packed = pickle.dumps(source)
    assert len(packed) < 3_000
    shutil.rmtree(folder)  # unpacking it must not look at the folder again
    assert pickle.loads(packed) == source


@KINDS_AND_VERSIONS
def test_the_fingerprint_is_of_names_and_bytes(tmp_path: Path, kind: str, version: str) -> None:
    folder = WRITERS[version](tmp_path / "here", kind)
    source = open_cifar(kind, tmp_path / "here", "train")
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    for file in elsewhere.iterdir():
        os.utime(file, (1, 1))
    assert source.fingerprint() == open_cifar(kind, elsewhere, "train").fingerprint()
    assert source.fingerprint() != open_cifar(kind, elsewhere, "test").fingerprint()
    for file in sorted(elsewhere.iterdir()):
        if file.name.split(".")[0] in ("test", "test_batch"):
            continue  # belongs to the other split
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert replace(source, folder=elsewhere).fingerprint() != source.fingerprint(), file.name
        file.write_bytes(whole)


# ---- what is refused


def refusal(kind: str, path: Path, split: str = "test") -> str:
    with pytest.raises(SourceError) as caught:
        open_cifar(kind, path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], "found nothing"),
        (["b.txt", "a.txt"], "found a.txt, b.txt"),
        (["f", "g", "a", "e", "d", "c", "b"], "found a, b, c, d, e, … (7 names)"),
        (["two\nlines"], r"found 'two\nlines'"),
    ],
)
def test_another_layout_is_told_with_what_is_there(
    tmp_path: Path, files: list[str], found: str
) -> None:
    for name in files:
        (tmp_path / name).touch()
    message = refusal("cifar10", tmp_path)
    assert message == (
        "cifar10: looked for cifar-10-batches-bin or cifar-10-batches-py (test_batch.bin, …)"
        f" in {tmp_path}; {found}"
    )


def test_no_folder_is_told(tmp_path: Path) -> None:
    assert refusal("cifar100", tmp_path / "none").endswith("found no such folder")
    (tmp_path / "cifar-100-python.tar.gz").touch()
    message = refusal("cifar100", tmp_path / "cifar-100-python.tar.gz")
    assert message.endswith("found a file, not a folder")
    assert "File name too long" in refusal("cifar100", tmp_path / ("x" * 5_000))


@KINDS_AND_VERSIONS
def test_each_missing_file_is_named(tmp_path: Path, kind: str, version: str) -> None:
    folder = WRITERS[version](tmp_path, kind)
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        file.unlink()
        split = "test" if file.name.startswith("test") else "train"
        assert refusal(kind, tmp_path, split) == f"{kind}: {folder} lacks {file.name}"
        file.mkdir()
        assert refusal(kind, tmp_path, split) == f"{kind}: {folder} lacks {file.name}"
        file.rmdir()
        file.write_bytes(content)


def test_the_other_splits_files_need_not_be_there(tmp_path: Path) -> None:
    folder = write_binary(tmp_path, "cifar10")
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").unlink()
    assert len(open_cifar("cifar10", tmp_path, "test")) == 3


def test_an_unknown_split_is_told_with_those_there_are(tmp_path: Path) -> None:
    write_binary(tmp_path, "cifar10")
    assert refusal("cifar10", tmp_path, "val") == "cifar10 has no split 'val'; it has train, test"


@pytest.mark.parametrize("size", [0, 1, 3072, 3 * 3073 - 1])
def test_a_size_that_is_no_number_of_records_is_told(tmp_path: Path, size: int) -> None:
    file = write_binary(tmp_path, "cifar10") / "test_batch.bin"
    os.truncate(file, size)
    assert refusal("cifar10", tmp_path) == (
        f"{file} has {size} bytes, not a whole number of 3073-byte records"
    )


@pytest.mark.parametrize(
    ("kind", "place", "limit"), [("cifar10", 0, 10), ("cifar100", 0, 20), ("cifar100", 1, 100)]
)
def test_a_label_out_of_range_is_told(tmp_path: Path, kind: str, place: int, limit: int) -> None:
    name = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}[kind]
    file = write_binary(tmp_path, kind) / name
    record = 3073 + (kind == "cifar100")
    with file.open("r+b") as stream:
        stream.seek(record + place)
        stream.write(bytes([limit]))
    assert refusal(kind, tmp_path) == (
        f"{file} has a label outside 0..{limit - 1}: {limit} in record 1"
    )


@pytest.mark.parametrize("names", ["", "cat\n", "a\n" * 11])
def test_a_wrong_number_of_class_names_is_told(tmp_path: Path, names: str) -> None:
    file = write_binary(tmp_path, "cifar10") / "batches.meta.txt"
    file.write_text(names)
    count = names.count("\n")
    assert refusal("cifar10", tmp_path) == f"{file} has {count} class names, not 10"


IMAGES = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "has no array (N, 3072) of bytes called data"),
        ({"data": b"x", "labels": [1]}, "has no array (N, 3072) of bytes called data"),
        ({"data": IMAGES.ravel(), "labels": [1, 2]}, "has no array (N, 3072)"),
        ({"data": IMAGES[:, :3071], "labels": [1, 2]}, "has no array (N, 3072)"),
        ({"data": IMAGES.astype(np.float32), "labels": [1, 2]}, "an array of 'f4' where u1"),
        ({"data": IMAGES.astype(object), "labels": [1, 2]}, "an array of 'O8' where u1"),
        ({"data": IMAGES}, "has no list of numbers called labels"),
        ({"data": IMAGES, "labels": IMAGES}, "has no list of numbers called labels"),
        ({"data": IMAGES, "labels": [True, 1]}, "has no list of numbers called labels"),
        ({"data": IMAGES, "labels": ["1", "2"]}, "has no list of numbers called labels"),
        ({"data": IMAGES, "labels": [1]}, "has 2 images and 1 labels"),
        ({"data": IMAGES[:0], "labels": []}, "has 0 images and 0 labels"),
        ({"data": IMAGES, "labels": [1, 10]}, "has a label outside 0..9"),
        ({"data": IMAGES, "labels": [-1, 1]}, "has a label outside 0..9"),
        ({"data": IMAGES, "labels": [1, 1 << 80]}, "has a label outside 0..9"),
        ([IMAGES], "holds a list where a dict belongs"),
        (print, "it asks for 'builtins.print'"),
    ],
)
def test_a_pickle_of_something_else_is_told(tmp_path: Path, content: object, reason: str) -> None:
    file = write_python(tmp_path, "cifar10") / "test_batch"
    file.write_bytes(pickle.dumps(content))
    message = refusal("cifar10", tmp_path)
    assert message.startswith(f"{file} ")
    assert reason in message


@pytest.mark.parametrize("names", [None, "ten", [1] * 10, {"a": 1}])
def test_names_that_are_no_list_are_told(tmp_path: Path, names: object) -> None:
    file = write_python(tmp_path, "cifar10") / "batches.meta"
    file.write_bytes(pickle.dumps({"label_names": names}))
    assert refusal("cifar10", tmp_path) == f"{file} has no list of names called label_names"


# ---- the real files


def test_the_real_cifar10_is_read() -> None:
    root = real_data("cifar10")
    train, test = (open_cifar("cifar10", root, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (10_000, 2_000)
    assert train.class_names[0] == "airplane"
    assert train.class_names[9] == "truck"
    block = train.read(0, len(train))
    assert np.bincount(block.labels).tolist() == [1_000] * 10
    # the published channel means of CIFAR-10
    np.testing.assert_allclose(
        np.asarray(block.images).mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=0.01
    )
    across = train.read(1_998, 2_003)  # the end of one file and the beginning of the next
    np.testing.assert_array_equal(across.images, block.images[1_998:2_003])
