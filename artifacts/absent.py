"""Shards that are absent by intention, of a bundle of which only a part is here.

Such a folder has the manifest and the index of the whole bundle, and says in a file of its own
which shards it lacks; whatever else is missing is damage.
"""

import json
from collections.abc import Collection
from pathlib import Path

from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import ABSENT, MAX_BYTES, Manifest

_NAMED = 3  # shards, at most


def read_absent(folder: Path, manifest: Manifest) -> frozenset[str]:
    """The shards that a bundle's folder lacks by intention; none where the bundle is whole.

    Raises:
        BundleError: what the folder says of them makes no sense.
    """
    path = folder / ABSENT
    try:
        if path.is_symlink() or path.stat().st_size > MAX_BYTES:
            raise BundleError(f"{path} is no list of shards")
        names = json.loads(path.read_text("ascii"))["absent"]
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"{path} is no list of shards ({error!r})") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BundleError(f"{path} is no list of shards")
    if foreign := {*names} - {shard.name for shard in manifest.shards}:
        raise BundleError(f"{path} names {min(foreign)!r}, which is no shard of the bundle")
    return frozenset(names)


def absent_text(names: Collection[str]) -> str:
    """What such a folder says of the shards that it lacks."""
    return json.dumps({"absent": sorted(names)}, indent=1) + "\n"


def listed(names: Collection[str]) -> str:
    """The first names, and how many more there are.

    >>> listed(["a.tar", "b.tar", "c.tar", "d.tar"])
    'a.tar, b.tar, c.tar and 1 more'
    """
    first = sorted(names)[:_NAMED]
    more = len(names) - len(first)
    return f"{', '.join(first)}{f' and {more:,} more' if more else ''}"
