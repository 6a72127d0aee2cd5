"""The embedded digits: scikit-learn's own numbers, in bytes, as large as wanted."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from quire.artifacts.errors import SourceError
from quire.builders.sources import samples
from quire.builders.sources.samples import Digits, open_digits


def whole(source: Digits) -> np.ndarray:
    images = source.read(0, len(source)).images
    assert isinstance(images, np.ndarray)
    return images


def test_the_two_splits_are_scikit_learns_digits() -> None:
    digits = load_digits()
    train, test = open_digits("", "train"), open_digits("", "test")
    assert (len(train), len(test)) == (1_437, 360)
    images = np.concatenate([whole(train), whole(test)])
    assert images.shape == (1_797, 8, 8, 1)
    assert images.dtype == np.uint8
    slow = [int(np.floor(value * 255 / 16 + 0.5)) for value in digits.images.ravel()]
    assert images.ravel().tolist() == slow
    labels = [source.read(0, len(source)).labels for source in (train, test)]
    np.testing.assert_array_equal(np.concatenate(labels), digits.target)
    assert all(np.bincount(part).min() >= 33 for part in labels)  # every class in both


def test_they_are_found_wherever_scikit_learn_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before = samples._records()
    monkeypatch.setattr(samples, "find_spec", lambda package: None)
    np.testing.assert_array_equal(samples._records(), before)


def test_what_a_source_says_of_itself() -> None:
    source = open_digits("", "test")
    assert (source.kind, source.split, source.image_shape) == ("digits", "test", (8, 8, 1))
    assert source.class_names == tuple("0123456789")
    assert open_digits("32", "test").image_shape == (32, 32, 3)


@pytest.mark.parametrize("side", [8, 9, 32, 50])
def test_enlarged_digits_are_pillows(side: int) -> None:
    gray = whole(open_digits("", "test"))
    large = whole(open_digits(str(side), "test"))
    assert large.shape == (360, side, side, 3)
    assert large.dtype == np.uint8
    for index in (0, 17, 359):
        image = Image.fromarray(gray[index, ..., 0]).resize((side, side), Image.Resampling.BICUBIC)
        for channel in range(3):
            np.testing.assert_array_equal(large[index, ..., channel], np.asarray(image))


@given(cuts=st.lists(st.integers(0, 360), max_size=5), where=st.sampled_from(["", "16"]))
def test_ranges_make_up_the_whole(cuts: list[int], where: str) -> None:
    source = open_digits(where, "test")
    ends = zip([0, *sorted(cuts)], [*sorted(cuts), 360], strict=True)
    blocks = [source.read(start, stop) for start, stop in ends]
    np.testing.assert_array_equal(np.concatenate([block.images for block in blocks]), whole(source))
    indices = np.concatenate([block.indices for block in blocks])
    assert indices.tolist() == list(range(360))


def test_a_block_is_the_callers_own() -> None:
    source = open_digits("", "test")
    before = whole(source)
    block = source.read(0, 5)
    assert isinstance(block.images, np.ndarray)
    block.images[:] = 0
    block.labels[:] = 99
    np.testing.assert_array_equal(whole(source), before)
    assert source.read(0, 5).labels.max() < 10


def test_fingerprints_differ_where_the_samples_do() -> None:
    sources = [
        open_digits(where, split) for where in ("", "8", "32") for split in ("train", "test")
    ]
    assert len({source.fingerprint() for source in sources}) == 6
    # bundles' manifests have it, and a build is resumed only where it is the same
    assert open_digits("", "test").fingerprint() == (
        "4c0dc49b48bc7f2dfa2ab42c3cdc27d4059acee9d1d7513e8a5f545de8c51113"
    )


def test_a_source_travels_as_a_small_pickle() -> None:
    source = open_digits("32", "train")
    assert len(pickle.dumps(source)) < 200
    assert pickle.loads(pickle.dumps(source)) == source


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, quire.builders.sources.catalogue as catalogue\n"
        "catalogue.open_source('digits:32', split='train')\n"
        "print(sorted({'torch', 'torchvision', 'sklearn', 'scipy', 'dask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("where", ["7", "1025", "0", "-8", "8.0", "x", " 8", "٣٢", "9" * 50])
def test_a_side_that_is_none_is_told(where: str) -> None:
    with pytest.raises(SourceError, match=r"is not a number of 8 to 1024$"):
        open_digits(where, "train")


def test_an_unknown_split_is_told_with_those_there_are() -> None:
    with pytest.raises(SourceError, match=r"^digits has no split 'val'; it has train, test$"):
        open_digits("", "val")


def test_samples_that_are_not_there_are_refused() -> None:
    with pytest.raises(IndexError, match="of a source that has 360"):
        open_digits("", "test").read(0, 361)
