"""Copy a bundle to an address, where it is complete or not there."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from quire.artifacts.absent import listed
from quire.artifacts.address import Address, MissingFile, place_of
from quire.artifacts.bundle import (
    check_digest,
    check_listing,
    check_records,
    open_bundle,
    read_manifest,
)
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import MANIFEST, SIGNATURES, SUMS, Identity, Manifest
from quire.artifacts.sharing.hub import HubTarget
from quire.artifacts.sharing.target import WORK, Target
from quire.artifacts.sharing.transfers import AnyFile, Count, Report, Transfer, carry_out


def push(
    bundle: str | os.PathLike[str],
    address: str,
    *,
    dry_run: bool = False,
    report: Report | None = None,
) -> Transfer:
    """Copy a bundle from its folder to an address; one that was stopped goes on.

    Each file is held against its digest before it goes. The manifest is written last: until then
    there is no bundle at the address. What lies there with the right size is not sent again, for
    every push notes first of which bundle it is, and refuses an address with another.

    Args:
        bundle: its folder.
        address: any that fsspec can write to, without a bundle or with this one.
        dry_run: only tell what would be sent.
        report: called with the bytes that are there, and how many there will be.

    Raises:
        BundleError: the bundle is damaged, or only a part; the address holds another, or something
            else, or cannot be written to.
    """
    place, target = place_of(bundle), _target(address)
    if isinstance(place, Address):
        raise BundleError(f"{place} is no folder: pull the bundle first")
    opened = open_bundle(place)
    check_listing(place, opened.manifest)
    check_records(place, opened.manifest)
    if opened.absent:
        raise BundleError(
            f"{opened} is a part of a bundle, and lacks {listed(opened.absent)}: pull the rest"
        )
    sizes = target.sizes()
    _check_free(target, sizes, opened.manifest)
    files = opened.manifest.files.values()
    transfer = Transfer(
        tuple(file for file in files if sizes.get(file.name) != file.bytes),
        tuple(file for file in files if sizes.get(file.name) == file.bytes),
    )
    if dry_run:
        return transfer
    if transfer.moved or MANIFEST not in sizes:
        _begin(target, opened.manifest)

        def move(files: Sequence[AnyFile], count: Count) -> None:
            for file in files:
                check_digest(place, file)
            target.put([place / file.name for file in files], count)

        jobs = [partial(move, files) for files in target.groups(transfer.moved)]
        carry_out(transfer, jobs, report, at_a_time=target.at_a_time)
        _check_sizes(target, opened.manifest)
        for name in (SUMS, MANIFEST):
            target.write(name, (place / name).read_bytes())
        target.remove(WORK)
    _push_signatures(target, place / SIGNATURES, sizes)
    return transfer


def _target(address: str) -> Target:
    place = place_of(address)
    if isinstance(place, Path):
        place = Address(f"file://{place.absolute()}")
    return HubTarget(place) if place.text.startswith("hf://") else Target(place)


def _check_free(target: Target, sizes: dict[str, int], manifest: Manifest) -> None:
    """Refuse an address that holds anything but this bundle, or what was pushed of it.

    Raises:
        BundleError: it says in which field another bundle differs.
    """
    if MANIFEST in sizes:
        there = read_manifest(target.address)
        if there.sha256 != manifest.sha256:
            how = manifest.difference(there)
            raise BundleError(f"{target.address} holds another bundle; {how}")
    pushed = {name for name in target.sizes(WORK) if name.endswith(".json")}
    for name in sorted(pushed - {_note(manifest)}):
        how = _difference(manifest, target, name) or "its bytes are others"
        raise BundleError(
            f"another bundle is pushed to {target.address}, or was in part; {how}"
            f" (remove {WORK} there if that push is over)"
        )
    known = {*manifest.files, MANIFEST, SUMS, SIGNATURES}
    foreign = {name for name in sizes if name not in known and not name.startswith(".")}
    if foreign or (sizes.keys() & known and MANIFEST not in sizes and not pushed):
        found = min(foreign or sizes)
        raise BundleError(
            f"{target.address} holds {found!r}, and no push of this bundle: name another address"
        )


def _difference(manifest: Manifest, target: Target, note: str) -> str | None:
    """How a bundle differs of which another push tells, as far as it is still there."""
    try:
        there = Identity(**json.loads(target.read(f"{WORK}/{note}")))
    except (MissingFile, ValueError, TypeError):
        return None
    return manifest.identity.difference(there)


def _note(manifest: Manifest) -> str:
    """The name of the note that a bundle is pushed."""
    return f"{manifest.sha256[:16]}.json"


def _begin(target: Target, manifest: Manifest) -> None:
    """Note which bundle is pushed; of two that begin at once, at least one sees the other's."""
    note = f"{WORK}/{_note(manifest)}"
    target.write(note, json.dumps(asdict(manifest.identity)).encode())
    try:
        _check_free(target, target.sizes(), manifest)
    except BundleError:
        target.remove(note)
        raise


def _check_sizes(target: Target, manifest: Manifest) -> None:
    """Refuse to write a manifest of files that are not all there."""
    sizes = target.sizes()
    for name, file in manifest.files.items():
        if sizes.get(name) != file.bytes:
            found = f"has {sizes[name]} bytes" if name in sizes else "is missing"
            raise BundleError(f"{target.address}/{name} {found} after it was written")


def _push_signatures(target: Target, path: Path, sizes: dict[str, int]) -> None:
    """Signatures may come later than the bundle."""
    if not path.is_file():
        return
    data = path.read_bytes()
    if SIGNATURES not in sizes or target.read(SIGNATURES) != data:
        target.write(SIGNATURES, data)
