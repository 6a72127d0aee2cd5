"""The files of a bundle's folder and of its samples, for whatever writes them in another form."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError
from quire.artifacts.members import IMAGES
from quire.artifacts.shards import Shard


def link(path: Path, to: Path) -> None:
    """The same file under another name: a hard link, or a copy where there can be none."""
    try:
        os.link(path, to)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, to)


def folder_of(bundle: Bundle) -> Path:
    """Where a bundle lies that is in a folder."""
    if not isinstance(bundle.place, Path):
        raise BundleError(f"{bundle} is no folder")
    return bundle.place


def link_shards(bundle: Bundle, out: Path) -> None:
    """All shards of a bundle under their names in another folder."""
    for shard in bundle.manifest.shards:
        link(folder_of(bundle) / shard.name, out / shard.name)


def extensions(bundle: Bundle) -> Sequence[str]:
    """Those of the files of each sample: an image before its masks.

    Raises:
        BundleError: the samples have no files.
    """
    found = sorted(bundle.index.rows.offsets, key=lambda e: (_kind(e) not in IMAGES, "." in e, e))
    if not found or not bundle.manifest.shards:
        raise BundleError(f"{bundle} has no samples, only tables")
    return found


def _kind(extension: str) -> str:
    return extension.rpartition(".")[2]


def image_extension(bundle: Bundle) -> str:
    """That of the image of each sample.

    Raises:
        BundleError: the samples have no images.
    """
    for extension in extensions(bundle):
        if _kind(extension) in IMAGES:
            return extension
    raise BundleError(f"{bundle} has no images")


def rows_of(bundle: Bundle) -> Iterator[tuple[Shard, range]]:
    """Each shard, and the rows of the index that are its samples."""
    first = 0
    for shard in bundle.manifest.shards:
        yield shard, range(first, first + shard.samples)
        first += shard.samples


def samples(
    bundle: Bundle, shard: Shard, rows: range
) -> Iterator[tuple[int, str, Mapping[str, memoryview]]]:
    """The samples of one shard: row in the index, key, and files by extension.

    Raises:
        BundleError: a file is not where the index says.
    """
    index = bundle.index.rows
    tar = np.memmap(folder_of(bundle) / shard.name, np.uint8, mode="r").data
    for row in rows:
        files = {}
        for extension in index.offsets:
            start, length = int(index.offsets[extension][row]), int(index.lengths[extension][row])
            files[extension] = tar[start : start + length]
            if len(files[extension]) != length:
                raise BundleError(f"{shard.name} ends before its sample {row}")
        yield row, index.keys[row].decode(), files


def texts(bundle: Bundle, column: str) -> Sequence[str] | None:
    """A column of texts or numbers as text; None where there is none."""
    values = bundle.index.rows.columns.get(column)
    if values is None:
        return None
    return [v.decode() if isinstance(v, bytes) else f"{v:g}" for v in values.tolist()]


def class_names(bundle: Bundle) -> Sequence[str]:
    """The names of the classes; none where the source named none."""
    return tuple(bundle.manifest.identity.source["class_names"])


def folder_name(text: str) -> str:
    """A text as the name of a folder, which leads nowhere else.

    >>> folder_name("night snake"), folder_name("../x"), folder_name("..")
    ('night snake', '..%2Fx', '%2E%2E')
    """
    quoted = quote(text, safe=" ,()'&+!@")
    return quoted if quoted.strip(".") else "%2E" * len(quoted)
