"""features.h5: what was written is read, whatever the blocks, and nothing false is believed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.artifacts import feature_table
from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import sha256
from quire.artifacts.errors import BuildError, BundleError
from quire.artifacts.feature_table import FEATURES, read_features
from quire.artifacts.manifest import CARD, MANIFEST, SUMS, File, Manifest, sums
from quire.artifacts.tables import new_table
from quire.artifacts.verify import verify
from quire.builders.recipes.features import write_features
from tests.bundles import IDENTITY, image_bundle, random_images
from tests.feature_bundles import blocks_of, feature_bundle, some_features
from tests.same_folder import assert_same

LABELS = np.arange(230) % 10
NUMBERS = np.arange(230) * 2 + 1  # some of the split's images are missing
VALUES = some_features(LABELS)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features") / "b"
    feature_bundle(folder, blocks_of(VALUES, LABELS, NUMBERS))
    return folder


def test_what_was_written_is_read(bundle: Path) -> None:
    assert verify(bundle) == ()
    table = read_features(open_bundle(bundle))
    np.testing.assert_array_equal(table.features, VALUES)
    np.testing.assert_array_equal(table.labels, LABELS)
    np.testing.assert_array_equal(table.source_index, NUMBERS)
    assert table.features.dtype == np.float32
    assert table.labels.dtype == table.source_index.dtype == np.int64


def test_the_manifest_says_where_they_are_from(bundle: Path) -> None:
    manifest = Manifest.from_json((bundle / MANIFEST).read_text())
    assert manifest.samples == 0
    assert manifest.identity.recipe == {"kind": "features", "split": "test"}
    assert manifest.identity.source == IDENTITY.source
    assert manifest.identity.inputs == {"bundle": "cd" * 32, "weights": "ab" * 32}
    assert manifest.identity.versions["torch"] == "9.9"
    with h5py.File(bundle / FEATURES) as file:
        names = file["label"].attrs["class_names"]
        assert names == b'["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]'


def test_the_card_speaks_of_the_table_alone(bundle: Path) -> None:
    text = (bundle / CARD).read_text()
    assert "`features.h5`" in text and 'h5py.File("features.h5")' in text
    assert "*.tar" not in text and "webdataset" not in text


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_the_sizes_of_blocks_change_no_byte(bundle: Path, tmp_path: Path, size: int) -> None:
    feature_bundle(tmp_path / "b", blocks_of(VALUES, LABELS, NUMBERS, size=size))
    assert_same(bundle, tmp_path / "b")


@settings(max_examples=25)
@given(sizes=st.lists(st.integers(0, 90), min_size=1, max_size=8), rows=st.integers(1, 60))
def test_blocks_are_joined_and_cut_without_a_loss(sizes: list[int], rows: int) -> None:
    ends = np.cumsum(sizes)
    total = int(ends[-1])
    rising = np.arange(total)
    arrays = np.stack([rising, -rising], axis=1).astype(np.float32), rising % 7, rising
    cuts = zip([0, *ends[:-1]], ends, strict=True)
    blocks = [tuple(array[start:stop] for array in arrays) for start, stop in cuts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_table, "_ROWS", rows)
        cut = list(feature_table._of_equal_size(iter(blocks)))  # type: ignore[arg-type]
    assert [len(block[0]) for block in cut[:-1]] == [rows] * (len(cut) - 1)
    if total:
        assert 0 < len(cut[-1][0]) <= rows
        for place, array in enumerate(arrays):
            joined = np.concatenate([block[place] for block in cut])
            np.testing.assert_array_equal(joined, array)
    else:
        assert cut == []


def test_a_complete_bundle_is_left_as_it_is(bundle: Path) -> None:
    def blocks() -> Any:
        raise AssertionError("asked for, although they are there")
        yield

    before = (bundle / FEATURES).stat().st_mtime_ns
    feature_bundle(bundle, blocks())
    assert (bundle / FEATURES).stat().st_mtime_ns == before
    with pytest.raises(BuildError, match="belongs to another build; inputs weights"):
        feature_bundle(bundle, blocks(), weights="ef" * 32)


def test_a_stopped_write_is_begun_anew(bundle: Path, tmp_path: Path) -> None:
    def stopped() -> Any:
        yield next(iter(blocks_of(VALUES, LABELS, NUMBERS)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_bundle(tmp_path / "b", stopped())
    assert not (tmp_path / "b" / FEATURES).exists() and not (tmp_path / "b" / MANIFEST).exists()
    feature_bundle(tmp_path / "b", blocks_of(VALUES, LABELS, NUMBERS))
    assert_same(bundle, tmp_path / "b")


# ---- what is refused


def refused(tmp_path: Path, **arrays: Any) -> str:
    whole = {"features": VALUES, "labels": LABELS, "numbers": NUMBERS, **arrays}
    with pytest.raises((BuildError, ValueError)) as caught:
        feature_bundle(tmp_path / "b", blocks_of(*whole.values()))
    assert not (tmp_path / "b" / MANIFEST).exists()
    return str(caught.value)


def changed(array: Any, row: int, value: Any) -> Any:
    copy = array.copy()
    copy[row] = value
    return copy


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": changed(VALUES, 117, np.nan)}, "features of image 235 are not finite"),
        ({"features": changed(VALUES, 3, -np.inf)}, "features of image 7 are not finite"),
        ({"labels": changed(LABELS, 8, 10)}, "image 17 is of class 10; there are 10 classes"),
        ({"labels": changed(LABELS, 8, -1)}, "image 17 is of class -1"),
        ({"numbers": changed(NUMBERS, 100, 199)}, "image 199 come twice or out of order"),
        ({"numbers": NUMBERS[::-1]}, "image 457 come twice or out of order"),
        ({"numbers": NUMBERS - 2}, "image -1 come twice or out of order"),
        ({"features": VALUES[:, 0]}, r"a block has features (100,), labels (100,)"),
        ({"labels": LABELS[:-1]}, r"a block has features (30, 6), labels (29,)"),
        ({"features": VALUES[:0]}, "there are no features to write"),
    ],
)
def test_features_that_cannot_be_are_told(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    assert message in refused(tmp_path, **arrays)


def test_a_bundle_of_images_has_no_features(tmp_path: Path) -> None:
    image_bundle(tmp_path / "b", *random_images(4), samples_per_shard=2)
    with pytest.raises(BundleError, match=r"has no features\.h5: it is no bundle of features"):
        read_features(open_bundle(tmp_path / "b"))


def test_a_flipped_bit_is_told(tmp_path: Path) -> None:
    feature_bundle(tmp_path / "b", blocks_of(VALUES, LABELS, NUMBERS))
    data = bytearray((tmp_path / "b" / FEATURES).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "b" / FEATURES).write_bytes(data)
    with pytest.raises(BundleError, match=r"features\.h5 is damaged"):
        read_features(open_bundle(tmp_path / "b"))


def with_features(folder: Path, change: Callable[[h5py.File], None]) -> None:
    """Another table in a bundle, and the digests with it, as whoever made it could have."""
    with new_table(folder / FEATURES) as file:
        change(file)
    manifest = Manifest.from_json((folder / MANIFEST).read_text("utf-8"))
    path = folder / FEATURES
    others = [file for file in manifest.tables if file.name != FEATURES]
    table = File(FEATURES, path.stat().st_size, sha256(path))
    manifest = replace(manifest, tables=(*others, table))
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")
    (folder / SUMS).write_text(sums(manifest, sha256(folder / MANIFEST)), "ascii")


def table_of(**arrays: Any) -> Callable[[h5py.File], None]:
    good = {
        "features": np.zeros((4, 3), np.float32),
        "label": np.zeros(4, np.int64),
        "source_index": np.arange(4),
    }

    def write(file: h5py.File) -> None:
        for name, array in {**good, **arrays}.items():
            if array is not None:
                file[name] = array

    return write


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": None}, "features has shape None"),
        ({"features": np.zeros(4, np.float32)}, r"features has shape \(4,\), not \(N, F\)"),
        ({"features": np.zeros((0, 3), np.float32)}, r"shape \(0, 3\), not \(N, F\)"),
        ({"features": np.zeros((4, 3))}, "features is float64, not float32"),
        ({"features": np.full((4, 3), np.nan, np.float32)}, "are not all finite"),
        ({"label": np.zeros(5, np.int64)}, r"label has shape \(5,\)"),
        ({"label": np.zeros(4, np.int32)}, "label is int32, not int64"),
        ({"source_index": None}, "source_index is missing"),
        ({"source_index": np.array([0, 1, 1, 2])}, "source_index does not rise"),
        ({"source_index": np.array([-1, 1, 2, 3])}, "source_index does not rise"),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    feature_bundle(tmp_path / "b", blocks_of(VALUES, LABELS, NUMBERS))
    with_features(tmp_path / "b", table_of())
    assert len(read_features(open_bundle(tmp_path / "b")).labels) == 4
    with_features(tmp_path / "b", table_of(**arrays))
    with pytest.raises(BundleError, match=message):
        read_features(open_bundle(tmp_path / "b"))


def test_a_table_that_claims_too_much_is_not_believed(tmp_path: Path) -> None:
    feature_bundle(tmp_path / "b", blocks_of(VALUES, LABELS, NUMBERS))

    def claim(file: h5py.File) -> None:
        file.create_dataset("features", (1 << 40, 512), np.float32, chunks=(1, 512))

    with_features(tmp_path / "b", claim)
    with pytest.raises(BundleError, match="more than its file can hold"):
        read_features(open_bundle(tmp_path / "b"))


def test_features_that_are_all_equal_are_still_believed(tmp_path: Path) -> None:
    ones = np.ones((20_000, 64), np.float32)
    blocks = blocks_of(ones, np.zeros(20_000, np.int64), np.arange(20_000), size=3_000)
    write_features(tmp_path / "b", blocks, images=IDENTITY, bundle="0", weights="0", libraries={})
    np.testing.assert_array_equal(read_features(open_bundle(tmp_path / "b")).features, ones)
