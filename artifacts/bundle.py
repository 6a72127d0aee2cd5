"""A bundle in its folder: opening it finds all that can be found without reading the shards."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError
from quire.artifacts.index import Index, read_index
from quire.artifacts.manifest import (
    INDEX,
    MANIFEST,
    MAX_BYTES,
    SUMS,
    File,
    Manifest,
    parse_sums,
    sums,
)
from quire.artifacts.shards import Shard


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: its folder, manifest and index."""

    folder: Path
    manifest: Manifest
    index: Index

    def path(self, name: str) -> Path:
        """Where a file of the bundle lies."""
        return self.folder / name

    def read(self, row: int) -> Mapping[str, bytes]:
        """The files of one sample by extension."""
        rows = self.index.rows
        shard = self.manifest.shards[self.index.shard[row]]
        with self.path(shard.name).open("rb") as file:
            sample = {}
            for extension in rows.offsets:
                file.seek(int(rows.offsets[extension][row]))
                sample[extension] = file.read(int(rows.lengths[extension][row]))
        return sample


def open_bundle(folder: Path) -> Bundle:
    """Open a bundle; manifest and index are checked by digest, the other files by their size.

    Raises:
        BundleError: the folder holds no complete bundle, or one that is damaged.
    """
    manifest = read_manifest(folder)
    for file in manifest.files.values():
        check_size(folder, file.name, file.bytes)
    check_digest(folder, manifest.files[INDEX])
    return Bundle(folder, manifest, read_index(folder / INDEX, manifest))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder, when it is the one that SHA256SUMS knows.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        what = "is not complete: build it again to go on" if folder.is_dir() else "does not exist"
        raise BundleError(f"{folder} {what} (no {MANIFEST})")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(f"{path} is larger than any manifest")
    try:
        known = parse_sums((folder / SUMS).read_text("ascii")).get(MANIFEST)
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{folder}: {MANIFEST} and {SUMS} cannot be read ({error})") from error
    manifest = Manifest.from_json(text)
    if known != sha256(path):
        raise BundleError(f"{folder}: {MANIFEST} and {SUMS} disagree; `quire verify` says more")
    return manifest


def check_size(folder: Path, name: str, size: int) -> None:
    """Refuse a file that is missing, a link, or not as long as the manifest says."""
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path} is missing")
    if (found := path.stat().st_size) != size:
        raise BundleError(f"{path} has {found} bytes; the manifest says {size}")


def check_digest(folder: Path, file: Shard | File) -> None:
    """Refuse a file whose bytes are not the manifest's."""
    if sha256(folder / file.name) != file.sha256:
        raise BundleError(f"{folder / file.name} is damaged: its digest is not the manifest's")


def check_listing(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder that holds anything but the bundle's files."""
    known = {*manifest.files, MANIFEST, SUMS}
    for name in sorted(entry.name for entry in folder.iterdir()):
        if name not in known:
            raise BundleError(f"{folder / name} is not part of the bundle")


def check_records(folder: Path, manifest: Manifest) -> None:
    """Refuse tables, a card or a SHA256SUMS whose bytes are not the manifest's."""
    for file in (*manifest.tables, manifest.card):
        check_digest(folder, file)
    if (folder / SUMS).read_text("ascii") != sums(manifest, sha256(folder / MANIFEST)):
        raise BundleError(f"{folder / SUMS} does not say what the manifest says")
