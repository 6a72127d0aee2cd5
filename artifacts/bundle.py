"""A bundle, wherever it is: opening it finds all that can be found without reading the shards."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.absent import listed, read_absent
from quire.artifacts.address import Address, place_of
from quire.artifacts.digest import sha256
from quire.artifacts.errors import BundleError
from quire.artifacts.http_folder import WholeOnly
from quire.artifacts.index import Index, read_index
from quire.artifacts.manifest import (
    INDEX,
    MANIFEST,
    MAX_BYTES,
    OTHERS,
    SUMS,
    File,
    Manifest,
    parse_sums,
    sums,
)
from quire.artifacts.pieces import damaged
from quire.artifacts.shards import Shard, sample_starts


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: where it lies, its manifest and its index."""

    place: Path | Address
    manifest: Manifest
    index: Index
    absent: frozenset[str] = frozenset()
    """Shards that are not here by intention: only a part of the bundle was fetched."""

    def __str__(self) -> str:
        """Its place, as anybody may see it."""
        return str(self.place)

    @property
    def remote(self) -> bool:
        """Whether it lies at an address."""
        return isinstance(self.place, Address)

    def table(self, name: str, content: str) -> Path:
        """A table's file, once its bytes are known to be the manifest's; fetched where it must be.

        Raises:
            BundleError: there is none, so it is no bundle of `content`; or it is damaged.
        """
        known = self.manifest.files.get(name)
        if known is None:
            raise BundleError(f"{self} has no {name}: it is no bundle of {content}")
        if isinstance(self.place, Address):
            return self.place.fetch(name, known)
        check_digest(self.place, known)
        return self.place / name

    def check_there(self, rows: NDArray[np.int64]) -> None:
        """Refuse samples whose shards are absent. (B,).

        Raises:
            BundleError: there are such; it names the shards.
        """
        if not self.absent:
            return
        shards = self.manifest.shards
        wanted = {shards[number].name for number in np.unique(self.index.shard[rows]).tolist()}
        if missing := wanted & self.absent:
            raise BundleError(
                f"{self} is a part of a bundle, and lacks {listed(missing)}:"
                " select what is there, or `quire pull` the rest into it"
            )

    def read(self, row: int) -> Mapping[str, bytes]:
        """The files of one sample by extension; at an address, of what was checked by digest.

        Raises:
            BundleError: they cannot be had from there, are absent, or are damaged.
        """
        self.check_there(np.array([row]))
        number = int(self.index.shard[row])
        shard = self.manifest.shards[number]
        if isinstance(self.place, Address):
            if self.index.pieces is not None:
                start = int(sample_starts(self.index.rows, np.array([row]))[0])
                (piece,) = self.index.pieces.between(number, start, start + 1)
                body = bytearray(piece.length)
                try:
                    check = partial(damaged, [piece], piece.start, body)
                    self.place.read_part(shard.name, piece.start, memoryview(body), check)
                    return self._members(row, BytesIO(body), piece.start)
                except WholeOnly:
                    pass
            path = self.place.fetch(shard.name, shard)
        else:
            path = self.place / shard.name
        with path.open("rb") as file:
            return self._members(row, file, 0)

    def _members(self, row: int, file: IO[bytes], begin: int) -> Mapping[str, bytes]:
        """The files of a sample from bytes of its shard, which begin at `begin`."""
        rows, sample = self.index.rows, {}
        for extension in rows.offsets:
            file.seek(int(rows.offsets[extension][row]) - begin)
            sample[extension] = file.read(int(rows.lengths[extension][row]))
        return sample


def open_bundle(bundle: str | os.PathLike[str] | Address) -> Bundle:
    """Open a bundle, in a folder or at an address.

    Manifest and index are checked by digest, and in a folder the other files by their size.

    Raises:
        BundleError: there is no complete bundle, or it is damaged.
    """
    place = place_of(bundle)
    manifest = read_manifest(place)
    known = manifest.files[INDEX]
    if isinstance(place, Address):
        return Bundle(place, manifest, read_index(place.read(INDEX, known), manifest))
    absent = read_absent(place, manifest)
    for name, file in manifest.files.items():
        if name not in absent:
            check_size(place, name, file.bytes)
    data = (place / INDEX).read_bytes()
    if hashlib.sha256(data).hexdigest() != known.sha256:
        raise BundleError(f"{place / INDEX} is damaged: its digest is not the manifest's")
    return Bundle(place, manifest, read_index(data, manifest), absent)


def open_whole(bundle: str | os.PathLike[str]) -> tuple[Path, Bundle]:
    """Open a bundle to hand all of it on: its folder, in which nothing is but its files.

    Tables, card and SHA256SUMS are checked by digest, shards by their size.

    Raises:
        BundleError: it is at an address, incomplete, damaged, or only a part of a bundle.
    """
    folder = place_of(bundle)
    if isinstance(folder, Address):
        raise BundleError(f"{folder} is no folder: pull the bundle first")
    opened = open_bundle(folder)
    check_listing(folder, opened.manifest)
    check_records(folder, opened.manifest)
    if opened.absent:
        raise BundleError(
            f"{opened} is a part of a bundle, and lacks {listed(opened.absent)}: pull the rest"
        )
    return folder, opened


def read_manifest(bundle: str | os.PathLike[str] | Address) -> Manifest:
    """The manifest of a bundle, when it is the one that SHA256SUMS knows.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    place = place_of(bundle)
    try:
        if isinstance(place, Address):
            text, listed = (place.read(name) for name in (MANIFEST, SUMS))
        else:
            text, listed = _manifest_in(place), (place / SUMS).read_bytes()
        known = parse_sums(listed.decode("ascii")).get(MANIFEST)
        manifest = Manifest.from_json(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{place}: {MANIFEST} and {SUMS} cannot be read ({error})") from error
    if known != hashlib.sha256(text).hexdigest():
        raise BundleError(f"{place}: {MANIFEST} and {SUMS} disagree; `quire verify` says more")
    return manifest


def manifest_at(place: str | os.PathLike[str]) -> Manifest:
    """A manifest, from its own file, or from a bundle wherever that is.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    path = place_of(place)
    if isinstance(path, Address) or path.is_dir():
        return read_manifest(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BundleError(f"{path} is larger than any manifest")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is no manifest ({error})") from error
    try:
        return Manifest.from_json(text)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error


def _manifest_in(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not path.is_file():
        what = "is not complete: build it again to go on" if folder.is_dir() else "does not exist"
        raise BundleError(f"{folder} {what} (no {MANIFEST})")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(f"{path} is larger than any manifest")
    return path.read_bytes()


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
    known = {*manifest.files, *OTHERS}
    for name in sorted(entry.name for entry in folder.iterdir()):
        if name not in known:
            raise BundleError(f"{folder / name} is not part of the bundle")


def check_records(folder: Path, manifest: Manifest) -> None:
    """Refuse tables, a card or a SHA256SUMS whose bytes are not the manifest's."""
    for file in (*manifest.tables, manifest.card):
        check_digest(folder, file)
    if (folder / SUMS).read_text("ascii") != sums(manifest, sha256(folder / MANIFEST)):
        raise BundleError(f"{folder / SUMS} does not say what the manifest says")
