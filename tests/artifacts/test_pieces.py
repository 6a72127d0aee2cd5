"""Pieces: whole samples, every byte in one of them, each with a digest that is checked."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts import pieces as module
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import INDEX, MANIFEST, Manifest
from quire.artifacts.pieces import PIECE, Pieces
from quire.artifacts.shards import Samples, sample_starts, write_shard
from quire.artifacts.verify import verify
from tests.bundles import image_bundle, random_images
from tests.hostile_tables import with_table


def slow_pieces(data: bytes, starts: list[int]) -> list[bytes]:
    """As the definition has it: samples by the stretch that they begin in, the rest to the last."""
    numbers = sorted({start // PIECE for start in starts})
    begins = [min(start for start in starts if start // PIECE == number) for number in numbers]
    ends = [*begins[1:], len(data)]
    return [data[begin:end] for begin, end in zip(begins, ends, strict=True)]


@given(
    st.lists(
        st.lists(st.sampled_from([0, 5, 700, 90_000, 262_144, 600_000]), min_size=1, max_size=9),
        min_size=1,
        max_size=4,
    )
)
def test_they_are_what_the_definition_says(blocks: list[list[int]]) -> None:
    """Whatever the sizes of samples, and however they come to the writer."""
    rng = np.random.default_rng(0)
    count = 0
    samples = []
    for sizes in blocks:
        keys = [f"{count + i:06d}" for i in range(len(sizes))]
        samples.append(Samples(keys, {"cls": [b"1"] * len(sizes), "jpg": [*map(rng.bytes, sizes)]}))
        count += len(sizes)
    file = io.BytesIO()
    shard, rows, pieces = write_shard(file, "x.tar", samples)
    expected = slow_pieces(file.getvalue(), sample_starts(rows).tolist())
    assert [bytes(digest) for digest in pieces.digests] == [
        hashlib.sha256(piece).digest() for piece in expected
    ]
    assert pieces.ends.tolist() == np.cumsum([len(piece) for piece in expected]).tolist()
    assert pieces.ends[-1] == shard.bytes


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """23 images in 4 shards, of pieces of two samples."""
    monkeypatch.setattr(module, "PIECE", 4096)
    image_bundle(tmp_path / "b", *random_images(23, (5, 4, 3)), samples_per_shard=6)
    return tmp_path / "b"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_damage_is_located(bundle: Path) -> None:
    assert verify(bundle) == ()
    flip(bundle / "test-000001.tar", 700)
    flip(bundle / "test-000001.tar", 9_000)
    flip(bundle / "test-000002.tar", 5_000)
    assert [str(problem) for problem in verify(bundle)] == [
        "test-000001.tar: damaged: its digest is not the recorded one;"
        " in bytes 0 to 4,096, bytes 8,192 to 13,312",
        "test-000002.tar: damaged: its digest is not the recorded one; in bytes 4,096 to 8,192",
    ]


def digests_of_another(file: h5py.File) -> None:
    file["pieces/sha256"][1, 0] ^= 1


def test_digests_of_pieces_that_are_not_the_shards_are_named(bundle: Path) -> None:
    """Whoever made such a bundle made it so: every other digest fits."""
    with_table(bundle, INDEX, digests_of_another)
    (problem,) = verify(bundle)
    assert str(problem).startswith("test-000000.tar: the index has other digests of its pieces, in")


def replaced(name: str, values: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[f"pieces/{name}"]
        file["pieces"].create_dataset(name, data=values)

    return change


HOSTILE: dict[str, Callable[[h5py.File], None]] = {
    "none": lambda file: file.__delitem__("pieces"),
    "no digests": lambda file: file.__delitem__("pieces/sha256"),
    "too few digests": replaced("sha256", np.zeros((3, 32), np.uint8)),
    "digests of another kind": replaced("sha256", np.zeros((12, 32), np.int64)),
    "ends that go back": lambda file: file["pieces/end"].__setitem__(1, 0),
    "an end behind the shard": lambda file: file["pieces/end"].__setitem__(2, 1 << 40),
    "a shard left out": lambda file: file["pieces/shard"].__setitem__(slice(None), 0),
    "another order": lambda file: file["pieces/shard"].__setitem__(0, 3),
    "a shard that is not there": lambda file: file["pieces/shard"].__setitem__(11, 9),
    "ends of another kind": replaced("end", np.zeros(12)),
    "a table of shards": replaced("shard", np.zeros((12, 2), np.int32)),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_pieces_are_refused(bundle: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(bundle / INDEX) as file:
        assert len(file["pieces/end"]) == 12
    with_table(bundle, INDEX, change)
    with pytest.raises(BundleError, match=r"index\.h5"):
        open_bundle(bundle)
    assert [problem.file for problem in verify(bundle)] == [INDEX]


def as_format_1(folder: Path) -> None:
    """What a bundle was before it had pieces."""
    text = (folder / MANIFEST).read_text().replace('"format": 2', '"format": 1')
    (folder / MANIFEST).write_text(text)
    with_table(folder, INDEX, lambda file: file.__delitem__("pieces"))


def test_a_bundle_of_format_1_is_read_as_before(bundle: Path) -> None:
    as_format_1(bundle)
    assert verify(bundle) == ()
    opened = open_bundle(bundle)
    assert opened.index.pieces is None and opened.manifest.format == 1
    assert Manifest.from_json(opened.manifest.to_json()) == opened.manifest
    flip(bundle / "test-000001.tar", 700)
    (problem,) = verify(bundle)
    assert str(problem) == "test-000001.tar: damaged: its digest is not the recorded one"


def test_pieces_of_nothing() -> None:
    file = io.BytesIO()
    shard, _, pieces = write_shard(file, "x.tar", [])
    assert isinstance(pieces, Pieces)
    assert pieces.ends.tolist() == [shard.bytes]
    assert bytes(pieces.digests[0]) == hashlib.sha256(file.getvalue()).digest()
