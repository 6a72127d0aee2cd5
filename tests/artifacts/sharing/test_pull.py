"""What is pulled is the bundle, or a part that knows that it is one; a fault makes neither."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from quire.artifacts import address as addresses
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index
from quire.artifacts.manifest import ABSENT, MANIFEST, SIGNATURES
from quire.artifacts.sharing.pull import WORK, pull
from quire.artifacts.verify import examine, verify
from quire.loaders.stream import stream
from tests.artifacts.sharing.conftest import FILES
from tests.artifacts.sharing.killed import killed_pull
from tests.bundles import image_bundle, random_images
from tests.loaders.served import Server
from tests.processes import started
from tests.same_folder import assert_same
from tests.serving import serving

SHARD = "test-000001.tar"


@pytest.fixture
def server(bundle: Path) -> Iterator[Server]:
    with serving(Server(bundle)) as running:
        yield running


def first_and_last(index: Index) -> list[int]:
    return [0, 3]


def test_it_is_the_same_bundle_and_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    here = tmp_path / "here"
    assert len(pull(server.address, here, dry_run=True).transfer.moved) == FILES
    assert not here.exists()
    done = pull(server.address, here, report=lambda done, total: seen.append((done, total)))
    assert len(done.transfer.moved) == FILES and not done.absent
    assert seen[0] == (0, done.transfer.bytes) and seen[-1] == (done.transfer.bytes,) * 2
    assert_same(server.folder, here)
    server.asked.clear()
    assert not pull(server.address, here).transfer.moved
    assert not [name for name in server.asked if name.endswith((".tar", ".h5"))]


@pytest.mark.parametrize("ranges", [True, False])
def test_large_files_come_in_parts_where_parts_can_be_had(
    server: Server, tmp_path: Path, ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_PART", 1000)
    server.ranges = ranges
    seen: list[tuple[int, int]] = []
    server.faults = {SHARD: ("flipped", 1)}
    pull(server.address, tmp_path / "here", report=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert_same(server.folder, tmp_path / "here")


def test_a_server_that_stops_sending_parts_midway_harms_no_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "_PART", 1000)
    sizes = []

    def report(done: int, total: int) -> None:
        sizes.append((done, total))
        server.ranges = done == 0

    pull(server.address, tmp_path / "here", report=report)
    assert_same(server.folder, tmp_path / "here")
    assert sizes[-1][0] == sizes[-1][1]


@pytest.mark.parametrize("after", range(FILES + 3))
def test_a_killed_pull_goes_on(bundle: Path, tmp_path: Path, after: int) -> None:
    """Killed when the note, a file, SHA256SUMS or the manifest would have been written."""
    here = tmp_path / "here"
    process = started(killed_pull, f"file://{bundle}", here, after)
    process.join(60)
    assert process.exitcode == -9
    assert not (here / MANIFEST).exists()
    pull(bundle, here)
    assert_same(bundle, here)


@pytest.mark.parametrize("fault", ["flipped", "short", "dropped", "refused"])
def test_a_fault_that_passes_is_mended_and_one_that_stays_makes_no_bundle(
    server: Server, tmp_path: Path, fault: str
) -> None:
    server.faults = {SHARD: (fault, 99)}
    with pytest.raises(BundleError, match=SHARD) as caught:
        pull(server.address, tmp_path / "here")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "here" / MANIFEST).exists()
    assert not (tmp_path / "here" / SHARD).exists()
    server.faults = {SHARD: (fault, 1)}
    pull(server.address, tmp_path / "here")
    assert_same(server.folder, tmp_path / "here")


def test_damage_here_is_mended(server: Server, tmp_path: Path) -> None:
    here = tmp_path / "here"
    pull(server.address, here)
    whole = (here / SHARD).read_bytes()
    (here / SHARD).write_bytes(whole[:700] + b"x" + whole[701:])
    (here / "test-000002.tar").unlink()
    (here / "test-000003.tar").unlink()
    (here / "test-000003.tar").symlink_to(server.folder / "test-000003.tar")
    moved = [file.name for file in pull(server.address, here).transfer.moved]
    assert moved == [SHARD, "test-000002.tar", "test-000003.tar"]
    assert_same(server.folder, here)
    assert not (here / "test-000003.tar").is_symlink()


def test_a_part_knows_that_it_is_one_until_the_rest_comes(server: Server, tmp_path: Path) -> None:
    here = tmp_path / "here"
    whole = open_bundle(server.folder)
    done = pull(server.address, here, choose=first_and_last)
    assert done.absent == {"test-000001.tar", "test-000002.tar"}
    assert examine(here).problems == () and examine(here).absent == done.absent
    there = np.flatnonzero(np.isin(whole.index.shard, [0, 3]))
    for part, full in zip(
        stream(here, rows=there.tolist(), batch_size=4, shuffle=True),
        stream(server.folder, rows=there.tolist(), batch_size=4, shuffle=True),
        strict=True,
    ):
        assert part["row"].equal(full["row"]) and part["image"].equal(full["image"])
    for rows in (None, [0, 6]):
        with pytest.raises(BundleError, match=r"a part of a bundle, and lacks test-000001\.tar"):
            stream(here, rows=rows)
    opened = open_bundle(here)
    assert opened.read(0) == whole.read(0)
    with pytest.raises(BundleError, match=r"lacks test-000001\.tar"):
        opened.read(6)
    pull(server.address, here, choose=lambda index: [1])
    assert examine(here).absent == {"test-000002.tar"}
    pull(server.address, here)
    assert_same(server.folder, here)


def test_what_a_part_should_have_is_missed(server: Server, tmp_path: Path) -> None:
    here = tmp_path / "here"
    pull(server.address, here, choose=first_and_last)
    (here / "test-000003.tar").unlink()
    assert [str(problem) for problem in verify(here)] == ["test-000003.tar: missing"]
    with pytest.raises(BundleError, match=r"test-000003\.tar is missing"):
        open_bundle(here)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"absent": 3}', '{"absent": ["../x"]}', '{"absent": [["a"]]}', "[" * 9999],
)
def test_a_hostile_list_of_what_is_absent_is_refused(bundle: Path, text: str) -> None:
    (bundle / ABSENT).write_text(text)
    assert {problem.file for problem in verify(bundle)} == {ABSENT}
    with pytest.raises(BundleError, match=ABSENT):
        open_bundle(bundle)


def other_bundle(here: Path) -> None:
    image_bundle(here, *random_images(23, (5, 4, 3), seed=1), samples_per_shard=6)


def something(here: Path) -> None:
    here.mkdir()
    (here / "notes.txt").write_text("mine")


def a_file(here: Path) -> None:
    here.write_text("mine")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (other_bundle, "holds another bundle; index.h5 has other bytes"),
        (something, "is not empty and holds no such bundle"),
        (a_file, "is a file"),
    ],
)
def test_a_folder_with_something_else_is_refused(
    bundle: Path, tmp_path: Path, given: Callable[[Path], None], said: str
) -> None:
    given(tmp_path / "here")
    with pytest.raises(BundleError, match=said):
        pull(bundle, tmp_path / "here")


def test_a_bundle_that_changes_between_manifest_and_shard_is_not_pulled(
    server: Server, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    server.faults = {SHARD: ("refused", 99)}
    with pytest.raises(BundleError, match="503"):
        pull(server.address, here)
    server.faults = {}
    shutil.rmtree(server.folder)
    other_bundle(server.folder)
    with pytest.raises(BundleError, match=r"holds another bundle; index\.h5 has other bytes"):
        pull(server.address, here)
    assert not (here / MANIFEST).exists() and (here / WORK).exists()


def test_a_manifest_without_end_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = addresses.Address.read.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "most", 1000)
    with pytest.raises(BundleError, match=r"manifest\.json has more than 1,000 bytes"):
        pull(server.address, tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("name", ["../evil.tar", "/evil.tar", "manifest.json.sig", "absent.json"])
def test_a_manifest_that_names_other_files_is_refused(
    server: Server, tmp_path: Path, name: str
) -> None:
    path = server.folder / MANIFEST
    path.write_text(path.read_text().replace(SHARD, name))
    with pytest.raises(BundleError, match=r"manifest\.json"):
        pull(server.address, tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_server_that_sends_more_than_it_should_is_not_listened_to(
    server: Server, tmp_path: Path
) -> None:
    path = server.folder / SHARD
    path.write_bytes(path.read_bytes() + b"\0" * 10**6)
    with pytest.raises(BundleError, match=f"{SHARD} has more than"):
        pull(server.address, tmp_path / "here")


def test_one_process_at_a_time_pulls(bundle: Path, tmp_path: Path) -> None:
    here, refused = tmp_path / "here", list[str]()

    def another(done: int, total: int) -> None:
        try:
            pull(bundle, here)
        except BundleError as error:
            refused.append(str(error))

    pull(bundle, here, report=another)
    assert refused and all("another process is pulling" in error for error in refused)
    assert_same(bundle, here)


def test_what_is_refused_at_once_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    def choose(index: Index) -> list[int]:
        raise BundleError("no such sample")

    with pytest.raises(BundleError, match="no such sample"):
        pull(bundle, tmp_path / "here", choose=choose)
    assert not (tmp_path / "here").exists()


def test_a_damaged_manifest_here_is_named(bundle: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    pull(bundle, here)
    (here / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match=r"here/manifest\.json: manifest\.json is not a manifest"):
        pull(bundle, here)


def test_signatures_come_along_and_none_is_lost(bundle: Path, tmp_path: Path) -> None:
    block = "-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n"
    (bundle / SIGNATURES).write_text(block.format("AAAA"))
    here = tmp_path / "here"
    pull(bundle, here)
    assert_same(bundle, here)
    (here / SIGNATURES).write_text(block.format("BBBB"))
    pull(bundle, here)
    assert (here / SIGNATURES).read_text() == block.format("BBBB") + block.format("AAAA")
