"""What is said about folders, and the digest of the files in them."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.errors import SourceError
from quire.builders.sources import layout

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
DIGESTS = st.binary(max_size=3).map(bytes.hex)


def test_a_fingerprint_stays_what_it_is(tmp_path: Path) -> None:
    # bundles' manifests have it, and a build is resumed only where it is the same
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "é.txt").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    lines = b"".join(
        name.encode() + b"\0" + hashlib.sha256(data).hexdigest().encode() + b"\n"
        for name, data in [("a", b"one"), ("b/é.txt", b"two")]
    )
    fingerprint = layout.fingerprint(tmp_path, ["b/é.txt", "a"])
    assert fingerprint == hashlib.sha256(lines).hexdigest()
    assert fingerprint == "a9ee3e0672b77f2c2e24068938285535ceb3d534de839a6739adc982888ffa60"


@given(st.dictionaries(NAMES, DIGESTS, max_size=4), st.dictionaries(NAMES, DIGESTS, max_size=4))
def test_different_files_have_different_fingerprints(
    one: dict[str, str], other: dict[str, str]
) -> None:
    same = layout.combined(one.items()) == layout.combined(other.items())
    assert same == (one == other)


@given(st.permutations(["a", "b", "c/d", "B", "é"]))
def test_the_order_of_files_does_not_matter(names: list[str]) -> None:
    digests = [(name, name.encode().hex()) for name in names]
    assert layout.combined(digests) == layout.combined(sorted(digests))


def test_names_that_are_no_text_have_fingerprints_too(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.jpg")
    (tmp_path / name).touch()
    assert len(layout.fingerprint(tmp_path, [name])) == 64


@given(NAMES)
def test_a_shown_name_is_one_printable_line(name: str) -> None:
    assert layout.shown(name).isprintable()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^cannot read .*/gone: No such file or directory$"):
        layout.fingerprint(tmp_path, ["gone"])
    with pytest.raises(SourceError, match=r"^cannot read .*: Is a directory$"):
        layout.fingerprint(tmp_path.parent, [tmp_path.name])


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 3), (3, 3), (1, 2)])
def test_ranges_within_are_let_through(start: int, stop: int) -> None:
    layout.check_range(start, stop, 3)


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (2, 1), (0, 4), (4, 4)])
def test_ranges_beyond_are_the_callers_mistake(start: int, stop: int) -> None:
    with pytest.raises(IndexError, match="of a source that has 3"):
        layout.check_range(start, stop, 3)
