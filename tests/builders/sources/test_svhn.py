"""SVHN's MATLAB files: upright images, 10 for the digit 0, and every fault by its name."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import savemat

from quire.artifacts.errors import SourceError
from quire.builders.sources import svhn
from quire.builders.sources.svhn import open_svhn

COUNT = 12
CLASSES = np.array([1, 10, 9, 2, 10, 3, 4, 5, 6, 7, 8, 1], np.uint8)[:, None]


def images(seed: int = 0) -> NDArray[np.uint8]:
    """(H, W, C, N), as MATLAB has them."""
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3, COUNT), dtype=np.uint8)


def write_svhn(folder: Path, split: str = "test", *, packed: bool = True, **variables: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"X": images(), "y": CLASSES} | variables
    content = {name: value for name, value in content.items() if value is not None}
    savemat(folder / f"{split}_32x32.mat", content, do_compression=packed)
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("split", ["train", "test", "extra"])
def test_a_split_is_what_was_written(tmp_path: Path, split: str, packed: bool) -> None:
    source = open_svhn(write_svhn(tmp_path, split, packed=packed), split)
    block = source.read(0, len(source))
    assert (source.kind, source.split, source.image_shape) == ("svhn", split, (32, 32, 3))
    assert source.class_names == tuple("0123456789")
    assert block.labels.tolist() == [1, 0, 9, 2, 0, 3, 4, 5, 6, 7, 8, 1]
    np.testing.assert_array_equal(source.read_labels(), block.labels)
    assert block.labels.dtype == block.indices.dtype == np.int64
    for number in range(COUNT):
        np.testing.assert_array_equal(block.images[number], images()[:, :, :, number])


def test_an_image_comes_out_upright(tmp_path: Path) -> None:
    picture = np.zeros((32, 32, 3, COUNT), np.uint8)
    picture[0, :, 0] = 200  # a red line on top
    picture[:, 31, 2] = 100  # a blue one on the right
    image = open_svhn(write_svhn(tmp_path, X=picture), "test").read(3, 4).images[0]
    assert image[0, 5].tolist() == [200, 0, 0]
    assert image[5, 31].tolist() == [0, 0, 100]
    assert image[5, 0].tolist() == image[31, 5].tolist() == [0, 0, 0]


@pytest.mark.filterwarnings("ignore")
def test_torchvision_reads_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)  # of the real files
    theirs = datasets.SVHN(str(write_svhn(tmp_path)), split="test")
    block = open_svhn(tmp_path, "test").read(0, COUNT)
    for number, (image, label) in enumerate(theirs):
        np.testing.assert_array_equal(block.images[number], np.asarray(image))
        assert block.labels[number] == label


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, COUNT), max_size=4))
def test_ranges_make_up_the_whole(tmp_path: Path, cuts: list[int]) -> None:
    if not any(tmp_path.iterdir()):
        write_svhn(tmp_path)
    source = open_svhn(tmp_path, "test")
    ends = zip([0, *sorted(cuts)], [*sorted(cuts), COUNT], strict=True)
    blocks = [source.read(start, stop) for start, stop in ends]
    whole = source.read(0, COUNT)
    for name in ("images", "labels", "indices"):
        parts = np.concatenate([getattr(block, name) for block in blocks])
        np.testing.assert_array_equal(parts, getattr(whole, name))


def test_a_block_is_the_callers_own(tmp_path: Path) -> None:
    source = open_svhn(write_svhn(tmp_path), "test")
    block = source.read(0, COUNT)
    assert isinstance(block.images, np.ndarray)
    block.images[:] = 0
    block.labels[:] = 0
    source.read_labels()[:] = 0
    again = source.read(0, COUNT)
    np.testing.assert_array_equal(again.images[2], images()[:, :, :, 2])
    assert again.labels.tolist()[:3] == [1, 0, 9]


def test_a_file_is_unpacked_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_svhn(write_svhn(tmp_path), "test")
    source.read(0, 1)

    def unpack(file: Path, name: str) -> NDArray[np.uint8]:
        raise AssertionError("unpacked again")

    monkeypatch.setattr(svhn, "read_array", unpack)
    source.read(5, COUNT)


def test_a_file_that_changed_since_is_noticed(tmp_path: Path) -> None:
    source = open_svhn(write_svhn(tmp_path), "test")
    write_svhn(tmp_path, X=images()[..., :2], y=CLASSES[:2])
    with pytest.raises(SourceError, match=r"has another shape of y than when it was opened"):
        source.read(0, 4)
    write_svhn(tmp_path, X=images(seed=1))
    np.testing.assert_array_equal(source.read(0, 1).images[0], images(seed=1)[..., 0])


def test_a_source_travels_as_a_small_pickle(tmp_path: Path) -> None:
    source = open_svhn(write_svhn(tmp_path), "test")
    source.read(0, COUNT)
    assert len(pickle.dumps(source)) < 1_000
    assert pickle.loads(pickle.dumps(source)) == source


def test_the_fingerprint_is_of_name_and_bytes(tmp_path: Path) -> None:
    prints = {
        open_svhn(write_svhn(tmp_path / "a", "test"), "test").fingerprint(),
        open_svhn(write_svhn(tmp_path / "a", "train"), "train").fingerprint(),
        open_svhn(write_svhn(tmp_path / "b", "test", y=CLASSES[::-1]), "test").fingerprint(),
    }
    assert len(prints) == 3


# ---- what is refused


def refusal(path: Path, split: str = "test") -> str:
    with pytest.raises(SourceError) as caught:
        open_svhn(path, split)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_another_layout_is_told_with_what_is_there(tmp_path: Path) -> None:
    write_svhn(tmp_path, "train")
    assert refusal(tmp_path) == (
        f"svhn: looked for test_32x32.mat in {tmp_path}; found train_32x32.mat"
    )
    assert refusal(tmp_path / "none").endswith("found no such folder")
    assert refusal(tmp_path, "val") == "svhn has no split 'val'; it has train, test, extra"


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"X": None}, "has no array of bytes called X"),
        ({"y": None}, "has no array of bytes called y"),
        ({"X": images().astype(np.float64)}, "has no array of bytes called X"),
        ({"y": np.array([[i, 2] for i in range(COUNT)], object)}, "no array of bytes called y"),
        ({"X": images()[:31]}, "has images X of shape (31, 32, 3, 12), not (32, 32, 3, N)"),
        ({"X": images()[..., :0]}, "has images X of shape (32, 32, 3, 0), not"),
        ({"X": images()[:, :, 0]}, "has images X of shape (32, 32, 12), not (32, 32, 3, N)"),
        ({"y": CLASSES[:5]}, "has 12 images X and labels y of shape (5, 1)"),
        ({"y": CLASSES.T}, "has 12 images X and labels y of shape (1, 12)"),
        ({"y": CLASSES * 0}, "has a label outside 1..10: 0 of image 0"),
        ({"y": CLASSES + np.eye(12, 1, -7, np.uint8) * 9}, "outside 1..10: 14 of image 7"),
    ],
)
def test_a_file_that_holds_something_else_is_told(
    tmp_path: Path, variables: dict[str, Any], reason: str
) -> None:
    write_svhn(tmp_path, **variables)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path / 'test_32x32.mat'} ") and reason in message


def test_images_that_are_damaged_are_told_when_they_are_read(tmp_path: Path) -> None:
    file = write_svhn(tmp_path) / "test_32x32.mat"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    source = open_svhn(tmp_path, "test")
    with pytest.raises(SourceError, match=r"test_32x32\.mat (cannot be unpacked|ends within)"):
        source.read(0, 1)
