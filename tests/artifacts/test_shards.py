"""Shards are plain USTAR tars whose bytes follow from the samples."""

import hashlib
import io
import tarfile
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.errors import BundleError
from quire.artifacts.shards import Samples, write_shard

keys = st.text("abcXYZ019_-", min_size=1, max_size=60)
files = st.binary(max_size=1200)


def written_by_tarfile(names: Sequence[str], contents: Sequence[bytes]) -> bytes:
    """The reference: what Python's tarfile makes of the same members, without its final padding."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in zip(names, contents, strict=True):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    length = sum(512 + -(-len(content) // 512) * 512 for content in contents)
    return target.getvalue()[: length + 1024]


def shard_bytes(*blocks: Samples) -> bytes:
    target = io.BytesIO()
    write_shard(target, "x.tar", blocks)
    return target.getvalue()


@given(st.lists(st.tuples(keys, files, files), min_size=1, max_size=6), st.integers(0, 6))
def test_bytes_are_those_of_tarfile(samples: list[tuple[str, bytes, bytes]], cut: int) -> None:
    blocks = [
        Samples([s[0] for s in run], {"png": [s[1] for s in run], "json": [s[2] for s in run]})
        for run in (samples[:cut], samples[cut:])
        if run
    ]
    names = [f"{key}.{extension}" for key, _, _ in samples for extension in ("json", "png")]
    contents = [content for _, image, record in samples for content in (record, image)]
    assert shard_bytes(*blocks) == written_by_tarfile(names, contents)


@given(st.integers(1, 5), st.integers(0, 1100))
def test_equal_files_in_an_array_are_as_files_one_by_one(count: int, size: int) -> None:
    array = np.random.default_rng(size).integers(0, 256, (count, size), dtype=np.uint8)
    names = [f"{i}" for i in range(count)]
    one_by_one = Samples(names, {"ppm": [row.tobytes() for row in array], "cls": [b"1"] * count})
    at_once = Samples(names, {"ppm": array, "cls": [b"1"] * count})
    assert shard_bytes(at_once) == shard_bytes(one_by_one)


def test_golden_bytes() -> None:
    # Bundles made by any release must keep their digests: people have published them.
    samples = Samples(["fog-3-00000000"], {"cls": [b"7"], "ppm": [b"P6\n1 1\n255\nabc"]})
    digest = hashlib.sha256(shard_bytes(samples)).hexdigest()
    assert digest == "331131876c27de6ffead5c699af64a73347f166c7ad9d0f4ee5b16d5b09c947f"


def test_rows_say_where_every_file_lies_and_the_shard_its_digest() -> None:
    target = io.BytesIO()
    blocks = [
        Samples(["a", "b"], {"cls": [b"1", b"22"], "json": [b"", b"{}"]}, {"n": np.array([5, 6])}),
        Samples(["c"], {"cls": [b"333"], "json": [b"[]"]}, {"n": np.array([7])}),
    ]
    shard, rows, _ = write_shard(target, "x.tar", blocks)
    data = target.getvalue()
    assert (shard.name, shard.samples, shard.bytes) == ("x.tar", 3, len(data))
    assert shard.sha256 == hashlib.sha256(data).hexdigest()
    for extension, expected in (("cls", [b"1", b"22", b"333"]), ("json", [b"", b"{}", b"[]"])):
        spans = zip(rows.offsets[extension][:], rows.lengths[extension], strict=True)
        assert [data[start : start + length] for start, length in spans] == expected
    assert rows.keys.tolist() == [b"a", b"b", b"c"]
    assert rows.columns["n"].tolist() == [5, 6, 7]


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "../a", "a b", "ä", "a\n", "\0"])
def test_a_key_that_would_be_cut_or_lead_away_is_refused(key: str) -> None:
    with pytest.raises(BundleError, match="is not made of letters"):
        shard_bytes(Samples([key], {"cls": [b"1"]}))


@pytest.mark.parametrize("extension", ["pkl", "pyd", "pth", "pickle", "x.pth", "PNG", "", "png/x"])
def test_a_member_that_a_reader_would_execute_is_refused(extension: str) -> None:
    with pytest.raises(BundleError, match="are refused"):
        shard_bytes(Samples(["a"], {extension: [b"1"]}))


def test_a_name_that_ustar_cannot_hold_is_refused() -> None:
    assert shard_bytes(Samples(["k" * 96], {"cls": [b"1"]}))
    with pytest.raises(BundleError, match="longer than 100 bytes"):
        shard_bytes(Samples(["k" * 97], {"cls": [b"1"]}))


def test_samples_with_other_members_or_counts_are_refused() -> None:
    with pytest.raises(BundleError, match="in one bundle"):
        shard_bytes(Samples(["a"], {"cls": [b"1"]}), Samples(["b"], {"json": [b"1"]}))
    with pytest.raises(BundleError, match="2 samples have 1 files"):
        shard_bytes(Samples(["a", "b"], {"cls": [b"1"]}))
