"""Copy a bundle to an address, where it is complete or not there."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from quire.artifacts.address import address_of
from quire.artifacts.bundle import check_digest, open_whole, read_manifest
from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import MANIFEST, SIGNATURES, SUMS, Manifest
from quire.artifacts.sharing.hub import HubTarget
from quire.artifacts.sharing.notes import Notes
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
    folder, opened = open_whole(bundle)
    manifest, target = opened.manifest, _target(address)
    notes = Notes(target, WORK)
    sizes = target.sizes()
    _check_free(target, notes, sizes, manifest)
    files = manifest.files.values()
    transfer = Transfer(
        tuple(file for file in files if sizes.get(file.name) != file.bytes),
        tuple(file for file in files if sizes.get(file.name) == file.bytes),
    )
    if dry_run:
        return transfer
    if transfer.moved or MANIFEST not in sizes:
        notes.begin(
            manifest.sha256,
            manifest.identity,
            lambda: _check_free(target, notes, target.sizes(), manifest),
        )

        def move(files: Sequence[AnyFile], count: Count) -> None:
            for file in files:
                check_digest(folder, file)
            target.put([folder / file.name for file in files], count)

        jobs = [partial(move, files) for files in target.groups(transfer.moved)]
        carry_out(transfer, jobs, report, at_a_time=target.at_a_time)
        target.check_arrived(files)
        for name in (SUMS, MANIFEST):
            target.write(name, (folder / name).read_bytes())
        target.remove(WORK)
    _push_signatures(target, folder / SIGNATURES, sizes)
    return transfer


def _target(address: str) -> Target:
    place = address_of(address)
    return HubTarget(place) if place.text.startswith("hf://") else Target(place)


def _check_free(target: Target, notes: Notes, sizes: Mapping[str, int], manifest: Manifest) -> None:
    """Refuse an address that holds anything but this bundle, or what was pushed of it.

    Raises:
        BundleError: it says in which field another bundle differs.
    """
    if MANIFEST in sizes:
        there = read_manifest(target.address)
        if there.sha256 != manifest.sha256:
            how = manifest.difference(there)
            raise BundleError(f"{target.address} holds another bundle; {how}")
    if how := notes.difference(manifest.sha256, manifest.identity):
        raise BundleError(
            f"another bundle is pushed to {target.address}, or was in part; {how}"
            f" (remove {WORK} there if that push is over)"
        )
    known = {*manifest.files, MANIFEST, SUMS, SIGNATURES}
    foreign = {name for name in sizes if name not in known and not name.startswith(".")}
    if foreign or (sizes.keys() & known and MANIFEST not in sizes and not notes.any()):
        found = min(foreign or sizes)
        raise BundleError(
            f"{target.address} holds {found!r}, and no push of this bundle: name another address"
        )


def _push_signatures(target: Target, path: Path, sizes: Mapping[str, int]) -> None:
    """Signatures may come later than the bundle."""
    if not path.is_file():
        return
    data = path.read_bytes()
    if SIGNATURES not in sizes or target.read(SIGNATURES) != data:
        target.write(SIGNATURES, data)
