"""A bundle at an address is complete or not there, and it is the bundle that was pushed."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from quire.artifacts import address as addresses
from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import ABSENT, MANIFEST
from quire.artifacts.sharing.push import push
from quire.artifacts.sharing.target import WORK, Target
from quire.artifacts.verify import verify
from tests.artifacts.sharing.conftest import FILES
from tests.artifacts.sharing.killed import killed_push
from tests.bundles import image_bundle, random_images
from tests.processes import started
from tests.same_folder import assert_same


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A bundle of the same recipe and source, with files as long, and other bytes."""
    image_bundle(tmp_path / "other", *random_images(23, (5, 4, 3), seed=1), samples_per_shard=6)
    return tmp_path / "other"


@pytest.fixture(params=["file", "memory"])
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Addresses that show a file before it is whole, and that do not."""
    yield f"file://{tmp_path}/far/away" if request.param == "file" else "memory://far/away"
    fsspec.filesystem("memory").rm("/", recursive=True)


def test_it_is_the_same_bundle_and_is_not_sent_again(
    bundle: Path, there: str, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    assert len(push(bundle, there, dry_run=True).moved) == FILES
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        read_manifest(there)
    transfer = push(bundle, there, report=lambda done, total: seen.append((done, total)))
    assert len(transfer.moved) == FILES and not transfer.kept
    assert seen[0] == (0, transfer.bytes) and seen[-1] == (transfer.bytes, transfer.bytes)
    assert verify(there) == ()
    again = push(bundle, there)
    assert not again.moved and len(again.kept) == FILES
    if there.startswith("file:"):
        assert_same(bundle, tmp_path / "far/away")


@pytest.mark.parametrize("after", range(FILES + 4))
def test_a_killed_push_goes_on(bundle: Path, tmp_path: Path, after: int) -> None:
    """Killed when the note, a file, SHA256SUMS or the manifest would have been written."""
    there = f"file://{tmp_path}/far"
    process = started(killed_push, bundle, there, after)
    process.join(60)
    if after < FILES + 3:
        assert process.exitcode == -9
        assert not (tmp_path / "far" / MANIFEST).exists()
    push(bundle, there)
    assert_same(bundle, tmp_path / "far")


def test_what_was_sent_is_not_sent_again(
    bundle: Path, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left = Target.put, 2

    def some(self: Target, *arguments: Any) -> None:
        nonlocal left
        if left == 0:
            raise BundleError("no more")
        left -= 1
        put(self, *arguments)

    monkeypatch.setattr(Target, "put", some)
    with pytest.raises(BundleError, match="no more"):
        push(bundle, there)
    monkeypatch.setattr(Target, "put", put)
    assert len(push(bundle, there).kept) == 2
    assert verify(there) == ()


def test_another_bundle_is_refused_and_its_difference_named(
    bundle: Path, other: Path, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(bundle, there)
    with pytest.raises(BundleError, match=r"another bundle; index\.h5 has other bytes"):
        push(other, there)
    assert verify(there) == ()


def test_a_bundle_that_was_pushed_in_part_is_refused(
    bundle: Path, other: Path, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: Target, *arguments: Any) -> None:
        raise BundleError("no more")

    with monkeypatch.context() as patched:
        patched.setattr(Target, "put", none)
        with pytest.raises(BundleError, match="no more"):
            push(bundle, there)
    with pytest.raises(BundleError, match=f"its bytes are others .remove {WORK}"):
        push(other, there)
    push(bundle, there)
    assert verify(there) == ()


@pytest.mark.parametrize("name", ["notes.txt", "test-000000.tar"])
def test_an_address_with_something_else_is_refused(bundle: Path, there: str, name: str) -> None:
    Target(addresses.Address(there)).write(name, b"mine")
    with pytest.raises(BundleError, match=f"holds '{name}', and no push of this bundle"):
        push(bundle, there)


def test_a_file_at_the_address_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(BundleError, match="is a file"):
        push(bundle, f"file://{tmp_path}/file")


def pushed(folder: Path, there: str, ready: threading.Barrier) -> str | None:
    """Push when another does; what is wrong then."""
    ready.wait()
    try:
        push(folder, there)
    except BundleError as error:
        return str(error)
    return None


@pytest.mark.parametrize("both", ["same", "different"])
def test_two_pushes_at_once_make_one_sound_bundle_or_none(
    bundle: Path, other: Path, tmp_path: Path, both: str
) -> None:
    for attempt in range(8):
        there = f"file://{tmp_path}/far{attempt}"
        ready = threading.Barrier(2)
        with ThreadPoolExecutor() as pool:
            second = bundle if both == "same" else other
            pushes = [pool.submit(pushed, folder, there, ready) for folder in (bundle, second)]
        errors = [error for one in pushes if (error := one.result())]
        if both == "same":
            push(bundle, there)
            assert_same(bundle, tmp_path / f"far{attempt}")
        else:
            # whoever looks while the other writes sees a bundle, or files that are none yet
            told = ("another bundle", "no push of this bundle")
            assert errors and all(any(one in error for one in told) for error in errors)
            assert len(errors) == 2 or verify(there) == ()


def damaged(bundle: Path) -> None:
    path = bundle / "test-000001.tar"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def incomplete(bundle: Path) -> None:
    (bundle / MANIFEST).unlink()


def part(bundle: Path) -> None:
    (bundle / "test-000001.tar").unlink()
    (bundle / ABSENT).write_text(json.dumps({"absent": ["test-000001.tar"]}))


def crowded(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (damaged, "test-000001.tar is damaged"),
        (incomplete, "is not complete"),
        (part, "is a part of a bundle, and lacks test-000001.tar"),
        (crowded, "notes.txt is not part of the bundle"),
    ],
)
def test_only_a_sound_and_whole_bundle_is_pushed(
    bundle: Path, there: str, harm: Callable[[Path], None], said: str
) -> None:
    harm(bundle)
    with pytest.raises(BundleError, match=said):
        push(bundle, there)
    with pytest.raises(BundleError):
        read_manifest(there)


def test_a_full_store_is_one_line_and_no_bundle(
    bundle: Path, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(fsspec.url_to_fs(there)[0])
    with monkeypatch.context() as patched:

        def full(*arguments: Any, **options: Any) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(kind, "put_file", full)
        with pytest.raises(BundleError, match=r"cannot be .*No space left") as caught:
            push(bundle, there)
        assert "\n" not in str(caught.value)
    push(bundle, there)
    assert verify(there) == ()


def test_what_arrives_with_another_length_makes_no_bundle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    with monkeypatch.context() as patched:

        def cut(local: str, place: str, **options: Any) -> None:
            memory.pipe_file(place, Path(local).read_bytes()[:-1])

        patched.setattr(memory, "put_file", cut)
        with pytest.raises(BundleError, match="after it was written"):
            push(bundle, "memory://cut/b")
    with pytest.raises(BundleError):
        read_manifest("memory://cut/b")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://me:pass@example.org/b?sig=s", "https://example.org/b can be read, and not"),
        ("nowhere://b", "nowhere://b: nothing can be written there"),
    ],
)
def test_an_address_that_cannot_be_written_to_is_refused(
    bundle: Path, address: str, said: str
) -> None:
    with pytest.raises(BundleError, match=said) as caught:
        push(bundle, address)
    assert "pass" not in str(caught.value) and "sig=s" not in str(caught.value)


def test_a_bundle_at_an_address_is_not_pushed_from_there(bundle: Path, there: str) -> None:
    push(bundle, there)
    with pytest.raises(BundleError, match="pull the bundle first"):
        push(there, "memory://elsewhere")


def test_a_file_that_is_missing_there_is_sent_again(bundle: Path, tmp_path: Path) -> None:
    push(bundle, f"file://{tmp_path}/far")
    (tmp_path / "far/test-000002.tar").unlink()
    assert [file.name for file in push(bundle, str(tmp_path / "far")).moved] == ["test-000002.tar"]
    assert_same(bundle, tmp_path / "far")
    shutil.rmtree(tmp_path / "far")
