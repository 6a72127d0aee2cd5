"""Images in class folders: `PATH/<class>/...`, or `PATH/<split>/<class>/...`.

A file is a sample when its name ends as an image's does (`SUFFIXES`, in capitals or not), however
deep below its class folder it lies; other files, and all names that begin with a dot, are no part
of the source. Classes, and the files of a class, are in the order of their names' code points,
which is the same on every machine.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.digest import sha256
from quire.artifacts.errors import SourceError
from quire.artifacts.manifest import LeftOut
from quire.builders.sources import layout
from quire.builders.sources.pictures import UnfitError, decode, shape_in_header
from quire.builders.sources.source import Block, Image

ALL = "all"  # the split that takes a folder's subfolders for classes, not for splits
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

_MAX_SIDE = 16_384


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """The images below a folder, the folder's subfolders being the classes."""

    split: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None
    root: Path  # real and absolute: no sample lies outside, not even by way of a link
    files: tuple[str, ...]  # within the root, class after class
    ends: tuple[int, ...]  # how many files there are up to the end of each class
    size: tuple[int, int] | None  # (W, H) that every image is brought to

    @property
    def kind(self) -> str:
        """`folder`."""
        return "folder"

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
        for index in range(start, stop):
            try:
                images.append(self._image(self.files[index]))
                indices.append(index)
            except UnfitError as unfit:
                bad.append(LeftOut(index, layout.shown(self.files[index]), str(unfit)))
        labels = np.array([bisect_right(self.ends, index) for index in indices], np.int64)
        return Block(np.array(indices, np.int64), self._joined(images), labels, tuple(bad))

    def read_labels(self) -> NDArray[np.int64]:
        """The label of every sample, by its folder. -> (N,)."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=0))

    def fingerprint(self) -> str:
        """sha256 over the names and bytes of all samples, and the size that they are brought to.

        A file that cannot or must not be read counts with its name alone.
        """
        digests = [(name, _digest(self.root, name)) for name in self.files]
        if self.size:
            digests.append(("?size={}x{}".format(*self.size), ""))
        return layout.combined(digests)

    def _image(self, name: str) -> Image:
        image = decode(_inside(self.root, name), self.size)
        if self.image_shape not in (None, image.shape):
            raise UnfitError(f"its shape is {image.shape}; at the opening it was another")
        return image

    def _joined(self, images: list[Image]) -> Image | list[Image]:
        shapes = {self.image_shape} if self.image_shape else {image.shape for image in images}
        if len(shapes) != 1:
            return images
        return np.array(images, np.uint8).reshape(-1, *shapes.pop())


def open_folders(path: Path, split: str, *, size: tuple[int, int] | None = None) -> ClassFolders:
    """Open `path/<split>/<class>/...`, or with the split `all` also `path/<class>/...`.

    `size` is the (W, H) that every image is cropped and scaled to. Without one, every file's header
    is read to see whether all have one size, up to the first that differs.

    Raises:
        SourceError: no such folder or split, no classes, a class without images, a linked folder.
    """
    if not os.path.isdir(path):
        raise SourceError(
            f"folder: looked for class folders with images in {path}; found {layout.found(path)}"
        )
    root = Path(os.path.realpath(path))
    base = _base(root, split)
    names = _subfolders(root / base)
    if not names:
        raise SourceError(
            f"folder: looked for class folders with images in {root / base};"
            f" found {layout.found(root / base)}"
        )
    by_class = [_class_files(root, base, name) for name in names]
    files = tuple(file for members in by_class for file in members)
    ends = tuple(accumulate(map(len, by_class)))
    shape = (size[1], size[0], 3) if size else _common_shape(root, files)
    return ClassFolders(split, tuple(names), shape, root, files, ends, size)


def path_and_size(where: str) -> tuple[str, tuple[int, int] | None]:
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
            f"folder: the option {options!r} is not size=N or size=WxH with sides up to {_MAX_SIDE}"
        )
    return path, (sides[0], sides[-1])


def _base(root: Path, split: str) -> str:
    """Where the class folders lie: "train/", or "" for the root itself."""
    folders = _subfolders(root)
    if split in folders:
        _refuse_link(root / split)
        return f"{split}/"
    if split == ALL:
        return ""
    raise SourceError(
        f"folder: there is no split {split!r} in {root}: its folders are {layout.listed(folders)}"
        f" (the split {ALL!r} takes these for classes)"
    )


def _subfolders(folder: Path) -> list[str]:
    with layout.reading(folder), os.scandir(folder) as entries:
        return sorted(e.name for e in entries if _is_folder(e) and not e.name.startswith("."))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # asking the entry itself to follow a link that leads to itself raises
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _class_files(root: Path, base: str, name: str) -> list[str]:
    """The names within the root of one class's images, in order."""
    if not name.isprintable():
        raise SourceError(f"folder: the class folder {layout.shown(name)} has an unprintable name")
    files = sorted(_images_below(root, base + name))
    if not files:
        raise SourceError(
            f"folder: the class folder {root / base / name} has no images ({' '.join(SUFFIXES)});"
            f" found {layout.found(root / base / name)}"
        )
    return files


def _images_below(root: Path, folder: str) -> Iterator[str]:
    pending = [folder]
    while pending:
        here = pending.pop()
        _refuse_link(root / here)
        with layout.reading(root / here), os.scandir(root / here) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    pending.append(f"{here}/{entry.name}")
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                    yield f"{here}/{entry.name}"


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise SourceError(f"folder: {folder} is a link, and links to folders are not followed")


def _common_shape(root: Path, files: Iterable[str]) -> tuple[int, int, int] | None:
    """(H, W, 3) if all headers that can be read say the same."""
    common = None
    for name in files:
        try:
            shape = shape_in_header(_inside(root, name))
        except UnfitError:
            continue
        if common not in (None, shape):
            return None
        common = shape
    return common


def _inside(root: Path, name: str) -> Path:
    """The real path of a sample, which must be a file within the root.

    Raises:
        UnfitError: it is not.
    """
    file = Path(os.path.realpath(root / name))
    if not file.is_relative_to(root):
        raise UnfitError("a link that leads outside the folder")
    if not os.path.isfile(file):
        raise UnfitError("not a file" if os.path.exists(file) else "no such file")
    return file


def _digest(root: Path, name: str) -> str:
    try:
        return sha256(_inside(root, name))
    except (UnfitError, OSError):
        return "-"
