"""A bundle in the form that another tool wants: `quire export`."""

import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from quire.artifacts.bundle import Bundle, open_whole
from quire.artifacts.errors import BundleError
from quire.artifacts.export import (
    arrays,
    bagit,
    class_folders,
    croissant,
    dali,
    energon,
    huggingface,
    parquet,
)

Write = Callable[[Bundle, Path], None]
"""Writes a bundle of a folder into an empty folder."""

FORMATS: Mapping[str, Write] = {
    "bagit": bagit.write,
    "croissant": croissant.write,
    "dali": dali.write,
    "energon": energon.write,
    "huggingface": huggingface.write,
    "images": class_folders.write,
    "numpy": arrays.write,
    "parquet": parquet.write,
}


def export(bundle: str | os.PathLike[str], form: str, out: Path) -> None:
    """Write a bundle in the form of another tool, into a folder that appears when it is complete.

    Shards are hard links where the file system allows it, and copies where not.

    Args:
        bundle: its folder.
        form: one of `FORMATS`.
        out: a folder that is not there yet, or is empty.

    Raises:
        BundleError: the bundle is damaged, only a part, or has nothing that this form can hold;
            there is no such form; or `out` is not empty.
    """
    if form not in FORMATS:
        raise BundleError(f"there is no form {form!r}; there are: {', '.join(FORMATS)}")
    _, opened = open_whole(bundle)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is not empty: name another folder")
    partial = out.absolute().parent / f".{out.name}.{uuid.uuid4().hex}.partial"
    partial.mkdir(parents=True)
    try:
        FORMATS[form](opened, partial)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
