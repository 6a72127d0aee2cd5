"""STL-10's binary files: upright images, labels from 0, and every fault by its name."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quire.artifacts.errors import SourceError
from quire.builders.sources.stl10 import open_stl10

NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
COUNTS = {"train": 5, "test": 3}


def images_of(split: str) -> NDArray[np.uint8]:
    """(N, H, W, C)."""
    rng = np.random.default_rng(len(split))
    return rng.integers(0, 256, (COUNTS[split], 96, 96, 3), dtype=np.uint8)


def classes_of(split: str) -> NDArray[np.uint8]:
    return (np.arange(COUNTS[split]) * 3 % 10 + 1).astype(np.uint8)


def by_columns(images: NDArray[np.uint8]) -> bytes:
    """As the files have them: a channel after another, each of them column after column."""
    return b"".join(image[:, :, c].T.tobytes() for image in images for c in range(3))


def write_stl10(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split in COUNTS:
        (folder / f"{split}_X.bin").write_bytes(by_columns(images_of(split)))
        (folder / f"{split}_y.bin").write_bytes(classes_of(split).tobytes())
    (folder / "class_names.txt").write_text("\n".join(NAMES) + "\n")
    (folder / "unlabeled_X.bin").write_bytes(b"never read")
    return folder


@pytest.mark.parametrize("place", ["", "stl10_binary"])
@pytest.mark.parametrize("split", COUNTS)
def test_a_split_is_what_was_written(tmp_path: Path, place: str, split: str) -> None:
    write_stl10(tmp_path / place)
    source = open_stl10(tmp_path, split)
    block = source.read(0, len(source))
    assert (source.kind, source.split, source.image_shape) == ("stl10", split, (96, 96, 3))
    assert source.class_names == NAMES
    np.testing.assert_array_equal(block.images, images_of(split))
    assert block.labels.tolist() == [i * 3 % 10 for i in range(COUNTS[split])]
    np.testing.assert_array_equal(source.read_labels(), block.labels)
    assert block.labels.dtype == block.indices.dtype == np.int64
    assert block.indices.tolist() == list(range(COUNTS[split]))


def test_an_image_comes_out_upright(tmp_path: Path) -> None:
    write_stl10(tmp_path)
    red, green, blue = bytearray(9_216), bytearray(9_216), bytearray(9_216)
    red[0::96] = bytes([200]) * 96  # the first of each column: a red line on top
    blue[95 * 96 :] = bytes([100]) * 96  # the last column: a blue line on the right
    (tmp_path / "test_X.bin").write_bytes(bytes(27_648) + red + green + blue + bytes(27_648))
    image = open_stl10(tmp_path, "test").read(1, 2).images[0]
    assert image[0, 5].tolist() == [200, 0, 0]
    assert image[5, 95].tolist() == [0, 0, 100]
    assert image[5, 0].tolist() == image[95, 5].tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore")
def test_torchvision_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: True)  # of the real files
    write_stl10(tmp_path / "stl10_binary")
    theirs = datasets.STL10(str(tmp_path), split="train")
    block = open_stl10(tmp_path, "train").read(0, 5)
    assert theirs.classes == list(NAMES)
    for number, (image, label) in enumerate(theirs):
        np.testing.assert_array_equal(block.images[number], np.asarray(image))
        assert block.labels[number] == label


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 5), max_size=4))
def test_ranges_make_up_the_whole(tmp_path: Path, cuts: list[int]) -> None:
    if not any(tmp_path.iterdir()):
        write_stl10(tmp_path)
    source = open_stl10(tmp_path, "train")
    ends = zip([0, *sorted(cuts)], [*sorted(cuts), 5], strict=True)
    blocks = [source.read(start, stop) for start, stop in ends]
    for name, whole in (("images", images_of("train")), ("indices", np.arange(5))):
        parts = np.concatenate([getattr(block, name) for block in blocks])
        np.testing.assert_array_equal(parts, whole)


def test_a_block_is_the_callers_own(tmp_path: Path) -> None:
    source = open_stl10(write_stl10(tmp_path), "test")
    block = source.read(0, 3)
    assert isinstance(block.images, np.ndarray)
    block.images[:] = 0
    block.labels[:] = 5
    np.testing.assert_array_equal(source.read(0, 3).images, images_of("test"))
    assert source.read(0, 3).labels.tolist() == [0, 3, 6]


def test_a_file_that_changed_since_is_noticed(tmp_path: Path) -> None:
    source = open_stl10(write_stl10(tmp_path), "test")
    file = tmp_path / "test_X.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"test_X\.bin has become shorter"):
        source.read(2, 3)
    assert len(source.read(0, 2).labels) == 2
    (tmp_path / "test_y.bin").write_bytes(b"\1\1")
    with pytest.raises(SourceError, match=r"test_y\.bin had 3 labels when it was opened, now 2"):
        source.read_labels()


def test_a_source_travels_as_a_small_pickle(tmp_path: Path) -> None:
    source = open_stl10(write_stl10(tmp_path), "test")
    assert len(pickle.dumps(source)) < 1_000
    assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize("name", ["test_X.bin", "test_y.bin", "class_names.txt"])
def test_the_fingerprint_is_of_every_file_that_is_read(tmp_path: Path, name: str) -> None:
    before = open_stl10(write_stl10(tmp_path), "test").fingerprint()
    (tmp_path / "unlabeled_X.bin").unlink()
    assert open_stl10(tmp_path, "test").fingerprint() == before
    data = bytearray((tmp_path / name).read_bytes())
    data[0] ^= 2
    (tmp_path / name).write_bytes(data)
    assert open_stl10(tmp_path, "test").fingerprint() != before


# ---- what is refused


def refusal(path: Path, split: str = "test") -> str:
    with pytest.raises(SourceError) as caught:
        open_stl10(path, split)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_another_layout_is_told_with_what_is_there(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        "stl10: looked for test_X.bin, test_y.bin, class_names.txt in"
        f" {tmp_path} and stl10_binary in it; found nothing"
    )
    assert refusal(tmp_path / "none").endswith("found no such folder")
    write_stl10(tmp_path / "stl10_binary")
    (tmp_path / "stl10_binary" / "test_y.bin").unlink()
    assert refusal(tmp_path) == f"stl10: {tmp_path}/stl10_binary lacks test_y.bin"
    assert len(open_stl10(tmp_path, "train")) == 5
    assert refusal(tmp_path, "unlabeled") == "stl10 has no split 'unlabeled'; it has train, test"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("test_X.bin", b"", "has 0 bytes, not a whole number of 27648-byte images"),
        ("test_X.bin", bytes(27_647), "has 27647 bytes, not a whole number"),
        ("test_X.bin", bytes(4 * 27_648), "has 4 images and test_y.bin beside it 3 labels"),
        ("test_y.bin", b"\1\2\x0b", "has a label outside 1..10: 11 in record 2"),
        ("test_y.bin", b"\0\1\2", "has a label outside 1..10: 0 in record 0"),
        ("class_names.txt", b"cat\ndog\n", "has 2 class names, not 10"),
    ],
)
def test_a_damaged_file_is_told(tmp_path: Path, name: str, data: bytes, reason: str) -> None:
    (write_stl10(tmp_path) / name).write_bytes(data)
    message = refusal(tmp_path)
    assert message.startswith(str(tmp_path / name)) and reason in message
