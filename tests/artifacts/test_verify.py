"""Whatever happens to a bundle, `verify` names the file, and streaming raises."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.later import Even
from quire.artifacts.manifest import INDEX, MANIFEST, SUMS, Manifest, sums
from quire.artifacts.verify import verify
from quire.loaders.stream import stream
from tests.bundles import image_bundle, random_images


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "bundle"
    image_bundle(folder, *random_images(6, (4, 4, 3)), samples_per_shard=4)
    return folder


@pytest.fixture
def bundle(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "bundle"))


def named(folder: Path) -> set[str]:
    return {problem.file for problem in verify(folder)}


def drain(folder: Path, **options: Any) -> int:
    return sum(len(batch["row"]) for batch in stream(folder, batch_size=2, **options))


def test_a_sound_bundle_has_no_problem_and_streams(bundle: Path) -> None:
    assert verify(bundle) == ()
    assert drain(bundle, verify=True) == 6


@pytest.mark.parametrize("positions", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_every_flipped_byte_is_named_and_never_streamed(bundle: Path, positions: int) -> None:
    """Positions all over each file; every byte of the small ones where they are many."""
    for path in sorted(bundle.iterdir()):
        whole = path.read_bytes()
        step = max(1, len(whole) // positions)
        for position in range(0, len(whole), step):
            damaged = bytearray(whole)
            damaged[position] ^= 1 + position % 255
            path.write_bytes(damaged)
            assert path.name in named(bundle), (path.name, position)
            with pytest.raises(BundleError):
                drain(bundle, verify=True)
        path.write_bytes(whole)
    assert verify(bundle) == ()


def test_a_shard_cut_at_any_block_is_named_and_never_shortens_an_epoch(bundle: Path) -> None:
    path = bundle / "test-000000.tar"
    whole = path.read_bytes()
    for length in range(0, len(whole), 512):  # every member boundary is among them
        path.write_bytes(whole[:length])
        assert named(bundle) == {path.name}
        with pytest.raises(BundleError, match=r"test-000000\.tar has"):
            drain(bundle)


def test_removed_added_and_renamed_files_are_named(bundle: Path) -> None:
    for name in sorted(os.listdir(bundle)):
        aside = bundle.parent / "aside"
        shutil.move(bundle / name, aside)
        assert name in named(bundle)
        if name != "README.md":
            with pytest.raises(BundleError):
                drain(bundle)
        shutil.move(aside, bundle / f"new-{name}")
        assert {name, f"new-{name}"} <= named(bundle)
        with pytest.raises(BundleError):
            drain(bundle)
        shutil.move(bundle / f"new-{name}", bundle / name)
    (bundle / "extra.tar").write_bytes(b"")
    assert named(bundle) == {"extra.tar"}
    with pytest.raises(BundleError, match=r"extra\.tar is not part of the bundle"):
        drain(bundle)


def test_a_link_in_place_of_a_file_is_refused(bundle: Path) -> None:
    for name in ("test-000001.tar", INDEX, "README.md"):
        shutil.move(bundle / name, bundle.parent / name)
        (bundle / name).symlink_to(bundle.parent / name)
        assert name in named(bundle)
        with pytest.raises(BundleError):
            drain(bundle)
        shutil.move(bundle.parent / name, bundle / name)


def test_a_missing_folder_and_an_unfinished_build_are_said(tmp_path: Path) -> None:
    assert "no such folder" in str(verify(tmp_path / "none")[0])
    assert MANIFEST in named(tmp_path)
    with pytest.raises(BundleError, match="is not complete"):
        drain(tmp_path)
    with pytest.raises(BundleError, match="does not exist"):
        drain(tmp_path / "none")


def reseal(folder: Path, change: Callable[[dict[str, Any]], None] = lambda record: None) -> None:
    """Make the records consistent again after tampering, as a forger would."""
    record = json.loads((folder / MANIFEST).read_text())
    for file in [*record["shards"], *record["tables"], record["card"]]:
        path = folder / file["name"]
        file["bytes"] = path.stat().st_size
        file["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    change(record)
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    try:
        (folder / SUMS).write_text(sums(Manifest.from_json(text), digest))
    except BundleError:
        (folder / SUMS).write_text(f"{digest}  {MANIFEST}\n")


HOSTILE_RECORDS: dict[str, Callable[[dict[str, Any]], None]] = {
    "a shard outside": lambda r: r["shards"][0].update(name="../../etc/passwd"),
    "an absolute shard": lambda r: r["shards"][0].update(name="/etc/passwd"),
    "a hidden table": lambda r: r["tables"][0].update(name=".ssh"),
    "a card elsewhere": lambda r: r["card"].update(name="../README.md"),
    "absurd samples": lambda r: r["shards"][0].update(samples=10**15),
    "negative samples": lambda r: r["shards"][0].update(samples=-1),
    "absurd bytes": lambda r: r["shards"][0].update(bytes=10**30, samples=10**18),
    "a float": lambda r: r["shards"][0].update(samples=1.0),
    "a digest that is none": lambda r: r["shards"][0].update(sha256="0" * 63),
    "a list for a shard": lambda r: r["shards"].append([1, 2]),
    "a name twice": lambda r: r["shards"].append(r["shards"][0]),
    "another format": lambda r: r.update(format=3),
    "a format that is no number": lambda r: r.update(format=2.0),
    "a field of its own": lambda r: r.update(exec="rm"),
    "no index": lambda r: r.update(tables=[]),
    "no recipe": lambda r: r.update(recipe=None),
}


@pytest.mark.parametrize("change", HOSTILE_RECORDS.values(), ids=HOSTILE_RECORDS)
def test_a_hostile_manifest_is_refused(
    bundle: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    reseal(bundle, change)
    assert verify(bundle)
    with pytest.raises(BundleError):
        drain(bundle)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{}", '{"format": 1}', "[" * 100_000, '{"format": 1e999}', "\ud800"]
)
def test_what_is_no_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert MANIFEST in named(bundle)
    with pytest.raises(BundleError):
        drain(bundle)


def hostile_tar(path: Path, kind: str) -> None:
    """Put a member into a shard that must never be followed."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in range(4):
            name = "../../escape.cls" if kind == "parent" and i == 0 else f"{i:08d}.cls"
            entry = tarfile.TarInfo(name)
            if kind == "link" and i == 0:
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(entry)
            else:
                entry.size = 1
                tar.addfile(entry, io.BytesIO(b"1"))
            image = b"P6\n4 4\n255\n" + bytes(48)
            extension = "pkl" if kind == "pickle" and i == 0 else "ppm"
            entry = tarfile.TarInfo(f"{i:08d}.{extension}")
            entry.size = len(image)
            tar.addfile(entry, io.BytesIO(image))
    path.write_bytes(path.read_bytes()[: 4 * 4 * 512 + 1024])


@pytest.mark.parametrize("kind", ["parent", "link", "pickle"])
def test_a_hostile_member_is_named_although_every_digest_fits(bundle: Path, kind: str) -> None:
    hostile_tar(bundle / "test-000000.tar", kind)
    reseal(bundle)
    before = sorted(bundle.parent.rglob("*"))
    assert named(bundle) == {"test-000000.tar"}
    with pytest.raises(BundleError, match="not the plain files"):
        drain(bundle, verify=True)
    with contextlib.suppress(BundleError):
        drain(bundle)  # members are read by place and never extracted
    assert sorted(bundle.parent.rglob("*")) == before


def edit_index(bundle: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(bundle / INDEX, "a") as file:
        change(file)
    reseal(bundle)


def replace(file: h5py.File, name: str, array: Any) -> None:
    del file[name]
    file[name] = array


def as_arrays(file: h5py.File) -> None:
    """The places of all members one by one, as they are where samples differ in size."""
    for group in file["members"].values():
        offset, length, stride = (group.attrs[n] for n in ("offset", "length", "stride"))
        del group.attrs["stride"]
        shard = file["shard"][()]
        group["offset"] = offset + stride * (np.arange(6) - np.searchsorted(shard, shard))
        group["length"] = np.full(6, length)


def put(file: h5py.File, name: str, array: Any) -> None:
    """Another array of a member."""
    as_arrays(file)
    replace(file, name, array)


def say(file: h5py.File, name: str, value: Any) -> None:
    """Another number of a member."""
    file["members/ppm"].attrs[name] = value


HOSTILE_INDICES: dict[str, Callable[[h5py.File], None]] = {
    "offsets behind the end": lambda f: put(f, "members/ppm/offset", np.full(6, 1 << 40)),
    "offsets before the start": lambda f: put(f, "members/ppm/offset", np.full(6, -512)),
    "lengths that wrap around": lambda f: put(f, "members/ppm/length", np.full(6, -(2**62))),
    "offsets as floats": lambda f: put(f, "members/ppm/offset", np.full(6, 512.0)),
    "a stride behind the end": lambda f: say(f, "stride", np.int64(8192)),
    "a stride that wraps around": lambda f: say(f, "stride", np.int64(2**62)),
    "a stride backwards": lambda f: say(f, "stride", np.int64(-512)),
    "a stride that is none": lambda f: say(f, "stride", np.bytes_(b"512")),
    "offset 0": lambda f: say(f, "offset", np.int64(0)),
    "no length": lambda f: f["members/ppm"].attrs.__delitem__("length"),
    "fewer rows": lambda f: replace(f, "key", np.array([b"a"])),
    "another shard": lambda f: replace(f, "shard", np.ones(6, np.int32)),
    "a pickle member": lambda f: f["members"].move("ppm", "pkl"),
    "keys as objects": lambda f: replace(f, "key", ["x"] * 6),
    "a soft link": lambda f: f.__setitem__("columns/label2", h5py.SoftLink("/key")),
    "an external link": lambda f: f.__setitem__(
        "columns/label2", h5py.ExternalLink("/etc/passwd", "/")
    ),
    "no members": lambda f: f.__delitem__("members"),
    "members as data": lambda f: replace(f, "members", np.zeros(3)),
}


@pytest.mark.parametrize("change", HOSTILE_INDICES.values(), ids=HOSTILE_INDICES)
def test_a_hostile_index_is_refused(bundle: Path, change: Callable[[h5py.File], None]) -> None:
    edit_index(bundle, change)
    assert INDEX in named(bundle)
    with pytest.raises(BundleError):
        drain(bundle)


def test_places_as_arrays_are_those_in_two_numbers(bundle: Path) -> None:
    """Bundles have them so where samples differ in size, and all had them once."""
    before, offsets = drain(bundle), open_bundle(bundle).index.rows.offsets
    assert all(isinstance(one, Even) for one in offsets.values())
    edit_index(bundle, as_arrays)
    assert verify(bundle) == () and drain(bundle) == before
    arrays = open_bundle(bundle).index.rows.offsets
    for name, even in offsets.items():
        array = arrays[name]
        assert isinstance(array, np.ndarray) and isinstance(even, Even)
        assert array.tolist() == even[:].tolist() == [even[row] for row in range(6)]
        assert array[[5, 0, 3]].tolist() == even[[5, 0, 3]].tolist()
        assert array[1:5].tolist() == even[1:5].tolist() == even.take(np.arange(1, 5)).tolist()


def test_what_an_index_cannot_hold_is_not_allocated(bundle: Path) -> None:
    """A petabyte of keys that no byte of the file stands for."""

    def claim(file: h5py.File) -> None:
        del file["columns/label"]
        file.create_dataset("columns/label", (6,), "S900000000", chunks=(1,), compression="gzip")

    edit_index(bundle, claim)
    assert INDEX in named(bundle)
    with pytest.raises(BundleError, match="of which the file has no bytes"):
        drain(bundle)


def test_absurd_counts_allocate_nothing(bundle: Path) -> None:
    def grow(file: h5py.File) -> None:
        del file["key"]
        file.create_dataset("key", shape=(10**15,), dtype="S16", chunks=(1024,))

    edit_index(bundle, grow)
    assert INDEX in named(bundle)
    with pytest.raises(BundleError, match="has shape"):
        drain(bundle)


def test_data_kept_in_another_file_is_refused(bundle: Path) -> None:
    def outside(file: h5py.File) -> None:
        file.create_dataset("columns/x", (6,), "i8", external=[("/etc/passwd", 0, 48)])

    edit_index(bundle, outside)
    assert INDEX in named(bundle)
    with pytest.raises(BundleError, match="in another file"):
        drain(bundle)
