"""Bundles that are opened to read their shards, wherever these are."""

import os
from pathlib import Path

from quire.artifacts.address import Address, place_of
from quire.artifacts.bundle import Bundle, check_listing, check_records, open_bundle
from quire.loaders.order import Rows
from quire.loaders.reading.cache import cache_of
from quire.loaders.reading.folder import Folder
from quire.loaders.reading.held import Shards
from quire.loaders.reading.remote import remote_shards


def open_to_read(bundle: str | os.PathLike[str], *, verify: bool) -> Bundle:
    """An opened bundle, in whose folder nothing is but its files; their digests only on demand.

    Raises:
        BundleError: it is incomplete, damaged or hostile.
    """
    place = place_of(bundle)
    opened = open_bundle(place)
    if isinstance(place, Path):
        check_listing(place, opened.manifest)
        if verify:
            check_records(place, opened.manifest)
    return opened


def shards_of(
    bundle: Bundle,
    rows: Rows,
    *,
    verify: bool,
    in_order: bool,
    cache: str | os.PathLike[str] | None = None,
    cache_bytes: int | None = None,
) -> Shards:
    """What reads the shards of a bundle.

    Args:
        bundle: that they are of.
        rows: that will be read.
        verify: check every shard's digest when it is first needed; at an address it always is.
        in_order: samples are read as they follow one another.
        cache: a folder that keeps what comes from an address, or else that of the environment.
        cache_bytes: how much it keeps.

    Raises:
        BundleError: an address does not give what it should, or the cache cannot be written; or
            shards are absent that hold such rows.
    """
    bundle.check_there(rows)
    if isinstance(bundle.place, Address):
        kept = cache_of(cache, cache_bytes, os.environ)
        return remote_shards(bundle.place, bundle.manifest, bundle.index, rows, kept)
    return Folder(bundle.place, bundle.manifest, bundle.index, verify=verify, in_order=in_order)
