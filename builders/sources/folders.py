"""Images in class folders: `PATH/<class>/...`, or `PATH/<split>/<class>/...`.

A file is a sample when its name ends as an image's does (`SUFFIXES`, in capitals or not), however
deep below its class folder it lies; other files, and all names that begin with a dot, are no part
of the source. Classes, and the files of a class, are in the order of their names' code points,
which is the same on every machine.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.address import Address
from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources import layout
from quire.builders.sources.pictures import decode, shape_in_header
from quire.builders.sources.source import Block, Image
from quire.builders.sources.tree import Digesting, Tree, UnfitError, named_digests
from quire.builders.sources.tree_kinds import tree_at

ALL = "all"  # the split that takes a folder's subfolders for classes, not for splits
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_MAX_SIDE = 16_384
_HEADER = 1 << 16  # bytes in which an image says its size, as a rule


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The images below a folder, class after class: as a rule its subfolders are the classes."""

    split: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    tree: Tree  # no sample lies outside, not even by way of a link
    files: tuple[str, ...]  # within the tree, class after class
    ends: tuple[int, ...]  # how many files there are up to the end of each class
    size: tuple[int, int] | None  # (W, H) that every image is brought to
    kind: str = "folder"

    def __len__(self) -> int:
        return len(self.files)

    def read(self, start: int, stop: int) -> Block:
        """Those of the samples [start, stop) that can be decoded; the others are listed as bad.

        The images are one (N, H, W, 3) array if the source has an `image_shape` or they happen to
        be of one size, else a list of (H, W, 3) arrays.
        """
        layout.check_range(start, stop, len(self))
        images: list[Image] = []
        indices: list[int] = []
        bad = []
        files = self.files[start:stop]
        for index, image in enumerate(self.tree.map(self._image, files), start):
            if isinstance(image, UnfitError):
                bad.append(LeftOut(index, layout.shown(self.files[index]), str(image)))
            else:
                images.append(image)
                indices.append(index)
        labels = np.array([bisect_right(self.ends, index) for index in indices], np.int64)
        return Block(np.array(indices, np.int64), self._joined(images), labels, tuple(bad))

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample, by its folder. -> (N,)."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    @property
    def file_names(self) -> tuple[str, ...]:
        """The names of all samples, in their order."""
        return self.files

    def sizes(self) -> list[int | None]:
        """How many bytes each file has; None for one that is not there."""
        return self.tree.sizes(self.files)

    def digest(self, name: str) -> str:
        """sha256 of a file."""
        return self.tree.digest(name)

    def digesting(self, digests: dict[str, str]) -> "ClassFolders":
        """The same source, which notes the digest of each file that it reads."""
        return replace(self, tree=Digesting(self.tree, digests))

    def fingerprint(self, digests: Mapping[str, str] | None = None) -> str:
        """sha256 over the names and bytes of all samples, and the size that they are brought to.

        A file that cannot or must not be read counts with its name alone.
        """
        found = named_digests(self.tree, self.files, digests)
        if self.size:
            found.append(("?size={}x{}".format(*self.size), ""))
        return layout.combined(found)

    def _image(self, name: str) -> Image | UnfitError:
        try:
            image = decode(self.tree.read(name), self.size)
            if self.image_shape not in (None, image.shape):
                raise UnfitError(f"its shape is {image.shape}; at the opening it was another")
        except UnfitError as unfit:
            return unfit
        return image

    def _joined(self, images: list[Image]) -> Image | list[Image]:
        shapes = {self.image_shape} if self.image_shape else {image.shape for image in images}
        if len(shapes) != 1:
            return images
        return np.array(images, np.uint8).reshape(-1, *shapes.pop())


def open_folders(
    place: Path | Address, split: str, *, size: tuple[int, int] | None = None
) -> ClassFolders:
    """Open `place/<split>/<class>/...`, or with the split `all` also `place/<class>/...`.

    `size` is the (W, H) that every image is cropped and scaled to. Without one, every file's header
    is read to see whether all have one size, up to the first that differs.

    Raises:
        SourceError: no such folder or split, no classes, a class without images, a linked folder;
            an address that does not answer.
    """
    tree = tree_at(place, confined=True)
    if not tree.is_folder():
        raise SourceError(
            f"folder: looked for class folders with images in {tree.place()}; found {tree.found()}"
        )
    base = _base(tree, split)
    names = _subfolders(tree, base)
    if not names:
        raise SourceError(
            f"folder: looked for class folders with images in {tree.place(base)};"
            f" found {tree.found(base)}"
        )
    folders = [f"{base}/{name}" if base else name for name in names]
    by_class = [*tree.map(partial(_class_files, tree), folders)]
    files = tuple(file for members in by_class for file in members)
    ends = tuple(accumulate(map(len, by_class)))
    shape = (size[1], size[0], 3) if size else common_shape(tree, files)
    return ClassFolders(split, tuple(names), shape, tree, files, ends, size)


def path_and_size(where: str, *, kind: str = "folder") -> tuple[str, tuple[int, int] | None]:
    """Take `?size=` off the end of a path: one number for a square, or WxH.

    >>> path_and_size("photos?size=64"), path_and_size("photos?size=64x48"), path_and_size("why?")
    (('photos', (64, 64)), ('photos', (64, 48)), ('why?', None))

    Raises:
        SourceError: an option of another name, or a size that is none.
    """
    path, _, options = where.rpartition("?")
    if "=" not in options or "/" in options or not path:
        return where, None
    match = re.fullmatch(r"size=([0-9]{1,5})(?:x([0-9]{1,5}))?", options)
    sides = [int(side) for side in match.groups() if side] if match else []
    if not sides or not all(1 <= side <= _MAX_SIDE for side in sides):
        raise SourceError(
            f"{kind}: the option {options!r} is not size=N or size=WxH with sides up to {_MAX_SIDE}"
        )
    return path, (sides[0], sides[-1])


def _base(tree: Tree, split: str) -> str:
    """The folder of the class folders: that of the split, or "" for the tree itself."""
    folders = _subfolders(tree, "")
    if split in folders:
        return split
    if split == ALL:
        return ""
    raise SourceError(
        f"folder: there is no split {split!r} in {tree.place()}: its folders are"
        f" {layout.listed(folders)} (the split {ALL!r} takes these for classes)"
    )


def _subfolders(tree: Tree, folder: str) -> list[str]:
    entries = tree.entries(folder).items()
    return sorted(name for name, is_folder in entries if is_folder and not name.startswith("."))


def _class_files(tree: Tree, folder: str) -> list[str]:
    """The names within the tree of one class's images, in order."""
    name = folder.rpartition("/")[2]
    if not name.isprintable():
        raise SourceError(f"folder: the class folder {layout.shown(name)} has an unprintable name")
    files = sorted(_images_below(tree, folder))
    if not files:
        raise SourceError(
            f"folder: the class folder {tree.place(folder)} has no images ({' '.join(SUFFIXES)});"
            f" found {tree.found(folder)}"
        )
    return files


def _images_below(tree: Tree, folder: str) -> Iterator[str]:
    pending = [folder]
    while pending:
        here = pending.pop()
        for name, is_folder in tree.entries(here).items():
            if name.startswith("."):
                continue
            if is_folder:
                pending.append(f"{here}/{name}")
            elif os.path.splitext(name)[1].lower() in SUFFIXES:
                yield f"{here}/{name}"


def common_shape(tree: Tree, files: Iterable[str]) -> tuple[int, int, int] | None:
    """(H, W, 3) if all headers that can be read say the same."""
    common = None
    for shape in tree.map(partial(_shape, tree), files):
        if shape is None:
            continue
        if common not in (None, shape):
            return None
        common = shape
    return common


def _shape(tree: Tree, name: str) -> tuple[int, int, int] | None:
    """(H, W, 3) by a file's header, which may be at its end; None where it says nothing."""
    try:
        try:
            return shape_in_header(tree.start(name, _HEADER))
        except UnfitError:
            return shape_in_header(tree.read(name))
    except UnfitError:
        return None
