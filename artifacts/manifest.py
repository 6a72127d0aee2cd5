"""The manifest: what a bundle is, in a file that is written last.

A bundle has a manifest if and only if it is complete. Nothing in it tells when, where, by whom or
by how many workers the bundle was made, so two builds of one recipe are equal by `diff -r`.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quire.artifacts.errors import BundleError
from quire.artifacts.shards import BLOCK, Shard

FORMAT = 2  # 1 had no digests of pieces
MANIFEST = "manifest.json"
INDEX = "index.h5"
CARD = "README.md"
SUMS = "SHA256SUMS"
SIGNATURES = "manifest.json.sig"  # of the manifest, by whoever vouches for it
ABSENT = "absent.json"  # where only a part of the bundle is
OTHERS = frozenset({MANIFEST, SUMS, SIGNATURES, ABSENT})  # which the manifest does not name
NO_SOURCE = "none"  # the kind of source of what is made from none
MAX_BYTES = 1 << 28  # of a manifest that we are ready to parse

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class File:
    """A file of the bundle other than a shard."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sample of the source that is not in the bundle, and why."""

    index: int
    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Everything that decides a bundle's bytes; a folder belongs to one."""

    recipe: Mapping[str, Any]  # its kind and every field
    source: Mapping[str, Any]  # kind, split, samples, class names, fingerprint
    inputs: Mapping[str, str]  # fingerprints of further files that the recipe reads
    versions: Mapping[str, str]  # of the libraries whose output ends up in the bytes

    @property
    def words(self) -> tuple[str, ...]:
        """What names the bundle: the recipe's kind, and source and split where it has a source."""
        kind, source = str(self.recipe["kind"]), self.source
        if source["kind"] == NO_SOURCE:
            return (kind,)
        return kind, str(source["kind"]), str(source["split"])

    def as_read(self) -> "Identity":
        """The same as it comes back from a file, where tuples are lists."""
        return Identity(**json.loads(json.dumps(asdict(self))))

    def difference(self, other: "Identity") -> str | None:
        """The first field in which two identities differ, with both values; None when none does.

        >>> ours = Identity(recipe={"seed": 0}, source={}, inputs={}, versions={})
        >>> ours.difference(Identity(recipe={"seed": 1}, source={}, inputs={}, versions={}))
        'recipe seed: 0 here, 1 there'
        """
        for part, ours in asdict(self).items():
            theirs = getattr(other, part)
            for field in sorted({*ours, *theirs}):
                if ours.get(field) != theirs.get(field):
                    return f"{part} {field}: {ours.get(field)!r} here, {theirs.get(field)!r} there"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a complete bundle holds."""

    identity: Identity
    shards: tuple[Shard, ...]
    tables: tuple[File, ...]  # the index among them
    card: File
    left_out: tuple[LeftOut, ...] = ()
    format: int = FORMAT

    @property
    def samples(self) -> int:
        """How many samples the shards hold."""
        return sum(shard.samples for shard in self.shards)

    @property
    def files(self) -> dict[str, Shard | File]:
        """Every file that has a digest here, by name."""
        files: tuple[Shard | File, ...] = (*self.shards, *self.tables, self.card)
        return {file.name: file for file in files}

    @property
    def sha256(self) -> str:
        """The digest of its file."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def difference(self, other: "Manifest") -> str | None:
        """The first field or file in which two bundles differ; None when none does."""
        if how := self.identity.difference(other.identity):
            return how
        ours, theirs = self.files, other.files
        names = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
        if names:
            return f"{names[0]} has other bytes here than there"
        return None if self == other else "other samples are left out"

    def to_json(self) -> str:
        """The same manifest always gives the same text."""
        record = {
            "shards": [*map(_flat, self.shards)],
            "tables": [*map(_flat, self.tables)],
            "card": _flat(self.card),
            "left_out": [*map(_flat, self.left_out)],
            "format": self.format,
            **_flat(self.identity),
        }
        return json.dumps(record, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """Read what `to_json` wrote, and refuse whatever it could not have written.

        Raises:
            BundleError: another format, names that are not plain file names, impossible counts.
        """
        try:
            record = json.loads(text)
            found = record["format"]
            if type(found) is not int or not 1 <= found <= FORMAT:
                raise BundleError(f"the bundle's format is {found!r}; this reader knows {FORMAT}")
            manifest = cls(
                identity=Identity(**{part: record.pop(part) for part in Identity.__slots__}),
                shards=tuple(Shard(**shard) for shard in record.pop("shards")),
                tables=tuple(File(**table) for table in record.pop("tables")),
                card=File(**record.pop("card")),
                left_out=tuple(LeftOut(**sample) for sample in record.pop("left_out")),
                **record,
            )
            _check(manifest)
            if manifest.to_json() != text:
                raise BundleError(f"{MANIFEST} has another form than a manifest has")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise BundleError(f"{MANIFEST} is not a manifest ({error!r})") from error
        return manifest


def _flat(record: Shard | File | LeftOut | Identity) -> dict[str, Any]:
    """The fields of a record of plain values; `asdict` would copy each, of each of many shards."""
    return {name: getattr(record, name) for name in record.__slots__}


def _check(manifest: Manifest) -> None:
    """Refuse a manifest that names files elsewhere or claims what cannot be."""
    files: tuple[Shard | File, ...] = (*manifest.shards, *manifest.tables, manifest.card)
    for file in files:
        if not _NAME.fullmatch(file.name) or len(file.name) > 255:
            raise BundleError(f"{MANIFEST} names a file {file.name!r}, which is not a plain name")
        if type(file.bytes) is not int or file.bytes < 0 or not _DIGEST.fullmatch(file.sha256):
            raise BundleError(f"{MANIFEST}: size or digest of {file.name} make no sense")
    for shard in manifest.shards:
        if type(shard.samples) is not int or not 0 <= shard.samples <= shard.bytes // BLOCK:
            raise BundleError(f"{MANIFEST}: {shard.name} cannot hold {shard.samples} samples")
    names = [file.name for file in files]
    if len({*names, *OTHERS}) != len(names) + len(OTHERS):
        raise BundleError(f"{MANIFEST} names a file twice")
    if INDEX not in {table.name for table in manifest.tables} or manifest.card.name != CARD:
        raise BundleError(f"{MANIFEST} lacks {INDEX} or {CARD}")
    identity = manifest.identity
    for part in (identity.recipe, identity.source, identity.inputs, identity.versions):
        if not isinstance(part, dict):
            raise BundleError(f"{MANIFEST}: a part of the identity is not a record")


def sums(manifest: Manifest, manifest_sha256: str) -> str:
    """The text of SHA256SUMS: what `sha256sum -c SHA256SUMS` checks, sorted by name."""
    digests = {name: file.sha256 for name, file in manifest.files.items()}
    digests[MANIFEST] = manifest_sha256
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def parse_sums(text: str) -> dict[str, str]:
    """The digests of a SHA256SUMS by file name; lines of another form are passed over.

    >>> parse_sums("00ff  a.tar\\n")
    {'a.tar': '00ff'}
    """
    pairs: Iterable[list[str]] = (line.split("  ", 1) for line in text.splitlines())
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
