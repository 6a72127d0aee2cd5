"""The commands that carry a bundle to other people and tools: push, pull, sign, export."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional

from quire.artifacts.absent import listed
from quire.artifacts.address import place_of
from quire.artifacts.export.export import FORMATS, export
from quire.artifacts.index import Index
from quire.artifacts.manifest import Manifest
from quire.artifacts.sharing.pull import Derive, pull
from quire.artifacts.sharing.push import push
from quire.artifacts.signatures import sign
from quire.train.commands.bar import Bar
from quire.train.commands.outside import Making


def push_command(bar: Bar) -> Callable[..., int]:
    """The command that copies a bundle to an address."""

    def command(
        bundle: Positional[str], address: Positional[str], dry_run: FlagCreatePairsOff[bool] = False
    ) -> int:
        """Copy a bundle to an address; a push that was stopped goes on.

        Args:
            bundle: The bundle's folder.
            address: Where to: s3://bucket/name, gs://…, hf://datasets/you/name, file:///…, or
                another that fsspec can write to. Keys and tokens are those of your environment.
            dry_run: Say what would be sent, and stop.
        """
        with bar("bytes") as report:
            transfer = push(bundle, address, dry_run=dry_run, report=report)
        print(f"{place_of(address)}: {'would send' if dry_run else 'sent'} {transfer}")
        return 0

    return command


@dataclass(frozen=True, kw_only=True)
class Deriving(Making):
    """How shards are made here, with --derive; nothing of it changes a byte."""

    derive: str | None = None
    """Your own copy of the source as KIND:PATH, from which to make the shards instead of fetching
    them; what comes out otherwise is fetched. `quire show ADDRESS` names the source."""


def pull_command(bar: Bar) -> Callable[..., int]:
    """The command that copies a bundle from an address."""

    def command(
        address: Positional[str],
        out: Path,
        deriving: OmitArgPrefixes[Deriving],
        select: tuple[str, ...] = (),
        dry_run: FlagCreatePairsOff[bool] = False,
    ) -> int:
        """Copy a bundle, or a part of it, into a folder; a pull that was stopped goes on.

        Args:
            address: The bundle's address, or another folder.
            out: The folder. What it has of the bundle already is not fetched again.
            select: Only shards with such samples: corruption=fog severity=1,3. A later pull of
                more completes the bundle.
            dry_run: Say what would be fetched, and stop.
            deriving: How shards are made here.
        """
        with bar("bytes") as report:
            pulled = pull(
                address,
                out,
                choose=_choice(select) if select else None,
                derive=None if deriving.derive is None else _derivation(bar, out, deriving),
                dry_run=dry_run,
                report=report,
            )
        if pulled.derived:
            print(f"{out}: made {len(pulled.derived):,} shards here")
        if pulled.otherwise:
            print(f"{out}: came out otherwise, and were fetched: {listed(pulled.otherwise)}")
        print(f"{out}: {'would fetch' if dry_run else 'fetched'} {pulled.transfer}")
        if pulled.absent:
            print(f"{out}: a part; absent by intention: {listed(pulled.absent)}")
        return 0

    return command


def _choice(texts: Sequence[str]) -> Callable[[Index], Collection[int]]:
    """Which shards hold samples of such values."""

    def choose(index: Index) -> Collection[int]:
        from quire.loaders.selection import chosen, parsed  # brings torch

        return {*index.shard[chosen(index, parsed(index, texts), None)].tolist()}

    return choose


def _derivation(bar: Bar, folder: Path, deriving: Deriving) -> Derive:
    """What makes shards here from one's own source."""

    def derive(manifest: Manifest, names: Collection[str], partials: Path) -> None:
        from quire.builders.like import shards_like

        with bar("shards") as report:
            shards_like(
                manifest,
                folder.absolute(),
                names,
                deriving.derive,
                partials=partials,
                outside=deriving.given,
                workers=deriving.processes,
                scheduler=deriving.scheduler,
                report=report,
            )

    return derive


def sign_command(bar: Bar) -> Callable[..., int]:
    """The command that signs a bundle."""

    def command(bundle: Positional[str], key: Path) -> int:
        """Sign a bundle's manifest, which has the digest of all else, by OpenSSH.

        Others check it by `quire verify BUNDLE --allowed-signers FILE`.

        Args:
            bundle: The bundle's folder.
            key: A private key, such as ~/.ssh/id_ed25519; or a public one whose private key an
                agent has.
        """
        sign(bundle, key)
        print(f"{place_of(bundle)}: signed with {key}")
        return 0

    return command


def export_command(bar: Bar) -> Callable[..., int]:
    """The command that writes a bundle for other tools."""

    def command(
        bundle: Positional[str],
        form: Annotated[Literal[tuple(FORMATS)], tyro.conf.arg(name="as")],  # type: ignore[valid-type]
        out: Path,
    ) -> int:
        """Write a bundle in the form of another tool; shards are hard links where there can be.

        Args:
            bundle: The bundle's folder.
            form: bagit: an archive's bag. croissant: metadata that mlcroissant reads. dali: index
                files of NVIDIA DALI. energon: a dataset of Megatron Energon. huggingface: a
                repository of the Hub. images: a file an image in class folders. numpy: arrays as
                CIFAR-10-C has them. parquet: tables with the images in them.
            out: The folder, which is not there yet.
        """
        export(bundle, form, out)
        print(f"{out}: {place_of(bundle)} as {form}")
        return 0

    return command
