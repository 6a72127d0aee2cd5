"""CelebA's aligned faces (Liu et al. 2015), as the archives unpack.

`img_align_celeba/` has 202,599 JPEGs of 178x218 pixels, and `list_eval_partition.txt` beside it
says of each file which split it is in: 0 train, 1 valid, 2 test. All are of one class. A file that
is listed and not there is a sample that cannot be read.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from quire.artifacts.address import Address
from quire.artifacts.errors import SourceError
from quire.builders.sources import layout
from quire.builders.sources.folders import ALL, ClassFolders, common_shape
from quire.builders.sources.tree import Tree, UnfitError
from quire.builders.sources.tree_kinds import tree_at

SPLITS = ("train", "valid", "test", ALL)
_IMAGES, _LIST = "img_align_celeba", "list_eval_partition.txt"
_FOLDER = "celeba"  # as torchvision calls what holds both
_CLASS = "face"
_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s+([012])")


def open_celeba(
    place: Path | Address, split: str, *, size: tuple[int, int] | None = None
) -> ClassFolders:
    """Open the faces of a split, or of `all`, in a folder or in `celeba` within it.

    `size` is the (W, H) that each is brought to: its middle, for a square.

    Raises:
        SourceError: an unknown split; no such folder or list; a line of the list that is none, or a
            file that it names twice; an address that does not answer.
    """
    layout.check_split("celeba", split, SPLITS)
    whole = tree_at(place, confined=True)
    tree = next((t for t in (whole, whole.below(_FOLDER)) if t.is_file(_LIST)), None)
    if tree is None or not tree.is_folder(_IMAGES):
        where = (tree or whole).place()
        raise SourceError(
            f"celeba: looked for {_IMAGES} and {_LIST} in {where}; found {(tree or whole).found()}"
        )
    files = tuple(f"{_IMAGES}/{name}" for name, part in _listed(tree) if split in (ALL, part))
    if not files:
        raise SourceError(f"celeba: {tree.place(_LIST)} has no images of the split {split!r}")
    shape = (size[1], size[0], 3) if size else common_shape(tree, files)
    return ClassFolders(split, (_CLASS,), shape, tree, files, (len(files),), size, kind="celeba")


def _listed(tree: Tree) -> Iterator[tuple[str, str]]:
    """Name and split of each image, in the list's order."""
    place = tree.place(_LIST)
    try:
        lines = tree.read(_LIST, "a list").decode("utf-8", "replace").splitlines()
    except UnfitError as unfit:
        raise SourceError(f"{place} cannot be read: {unfit}") from unfit
    names = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields = _LINE.fullmatch(line.strip())
        if fields is None:
            raise SourceError(f"{place}: line {number} is no file name and 0, 1 or 2")
        name, part = fields.groups()
        if name in names:
            raise SourceError(f"{place}: line {number} names {name} a second time")
        names.add(name)
        yield name, SPLITS[int(part)]
