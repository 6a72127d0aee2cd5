"""Salient objects: pairs of a photograph and a mask of what stands out in it.

SOD, ECSSD, PASCAL-S, DUTS and others come so: a folder of images and one of masks, whose files are
called alike but for their endings. A pixel is salient where its mask is above 128, as those measure
it who compare methods (PySODMetrics); nothing is VOID. Scenes are in the order of their names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quire.artifacts.address import Address
from quire.artifacts.errors import BundleError, SourceError
from quire.artifacts.manifest import LeftOut
from quire.artifacts.members import check_key
from quire.builders.draws import sample_rng
from quire.builders.sources import layout
from quire.builders.sources.pictures import (
    check_content,
    decode,
    decode_gray,
    extension_of,
    ordinary_jpeg,
)
from quire.builders.sources.scene import Annotation, Mask, Scene
from quire.builders.sources.source import SCENES, UNDIVIDED, Image
from quire.builders.sources.tree import Digesting, Tree, UnfitError, by_stem, named_digests
from quire.builders.sources.tree_kinds import tree_at

CLASS_NAMES = ("background", "salient")
TRAIN, TEST = "train", "test"

_IMAGES = ("Imgs", "imgs", "images", "Images", "image", "Image")
_MASKS = ("GT", "gt", "masks", "Masks", "mask", "Mask", "ground_truth_mask", "ground_truth")
_DUTS = {TRAIN: "DUTS-TR", TEST: "DUTS-TE"}  # whose folders end in -Image and -Mask
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
_ABOVE = 128  # a mask's value, above which a pixel is salient
_MOST_SCENES = 1_000_000


class _Pair(NamedTuple):
    """A scene's id, and the names of its image and its mask within the tree."""

    id: str
    image: str
    mask: str


@dataclass(frozen=True, slots=True)
class Saliency:
    """One split of a set of photographs with their salient objects."""

    split: str
    tree: Tree
    ids: tuple[str, ...]  # the images' names without their endings
    images: tuple[str, ...]  # their names within the tree, as those of the masks
    masks: tuple[str, ...]
    image_extension: str | None  # `jpg` or `png`, where all images are so
    step: str = SCENES

    @property
    def kind(self) -> str:
        """`saliency`."""
        return "saliency"

    @property
    def class_names(self) -> tuple[str, ...]:
        """`background` and `salient`."""
        return CLASS_NAMES

    @property
    def has_instances(self) -> bool:
        """False: masks do not tell objects apart."""
        return False

    @property
    def has_objects(self) -> bool:
        """False: nothing is said of objects."""
        return False

    def __len__(self) -> int:
        return len(self.images)

    def narrowed(self, step: str) -> "Saliency":
        """The same scenes, of which no more is read than one of STEPS."""
        return replace(self, step=step)

    def mask(self, index: int) -> Mask | LeftOut:
        """The mask of a scene, 0 and 1, or the reason why there is none."""
        layout.check_range(index, index + 1, len(self))
        try:
            gray = decode_gray(self.tree.read(self.masks[index]))
        except UnfitError as unfit:
            return LeftOut(index, layout.shown(self.masks[index]), str(unfit))
        return (gray > _ABOVE).astype(np.uint8)

    def annotation(self, index: int) -> Annotation | LeftOut:
        """The mask of a scene, or the reason why there is none."""
        mask = self.mask(index)
        return mask if isinstance(mask, LeftOut) else Annotation(mask)

    def scene(self, index: int) -> Scene | LeftOut:
        """A whole scene, or the reason why it cannot be read."""
        truth = self.annotation(index)
        if isinstance(truth, LeftOut):
            return truth
        try:
            encoded = self.tree.read(self.images[index])
            image = self._image(encoded)
            if image.shape[:2] != truth.mask.shape:
                sizes = [f"{shape[1]}x{shape[0]}" for shape in (image.shape, truth.mask.shape)]
                raise UnfitError(f"{sizes[0]}, but its mask is {sizes[1]}")
        except UnfitError as unfit:
            return LeftOut(index, layout.shown(self.images[index]), str(unfit))
        return Scene(image, encoded if self.image_extension else None, truth)

    @property
    def file_names(self) -> list[str]:
        """The names of all files of the step."""
        return [*self.masks, *(self.images if self.step == SCENES else ())]

    def sizes(self) -> list[int | None]:
        """How many bytes each file has; None for one that is not there."""
        return self.tree.sizes(self.file_names)

    def digest(self, name: str) -> str:
        """sha256 of a file."""
        return self.tree.digest(name)

    def digesting(self, digests: dict[str, str]) -> "Saliency":
        """The same source, which notes the digest of each file that it reads."""
        return replace(self, tree=Digesting(self.tree, digests))

    def fingerprint(self, digests: Mapping[str, str] | None = None) -> str:
        """sha256 over the ids in their order, and the names and bytes of all files of the step.

        A file that cannot be read counts with its name alone.
        """
        found = named_digests(self.tree, self.file_names, digests)
        return layout.combined([("?ids", sha256("\n".join(self.ids).encode()).hexdigest()), *found])

    def _image(self, encoded: bytes) -> Image:
        extension = self.image_extension
        if extension is not None:
            check_content(encoded, extension)
        image = ordinary_jpeg(encoded) if extension == "jpg" else None
        return decode(encoded) if image is None else image


def open_saliency(place: Path | Address, split: str, *, train: int | None = None) -> Saliency:
    """Open a split of photographs with masks of their salient objects.

    The split `all` is the pair of folders in `place`; another is the pair in the folder of its name
    there, or in DUTS-TR and DUTS-TE for train and test.

    Args:
        place: the folder, or the address, that holds them.
        split: which.
        train: divide the pair of folders in `place` at random, the same way each time: so many
            scenes are `train` and the others `test`.

    Raises:
        SourceError: no such folders, or several that could be meant; an unknown split; a scene
            without its image or its mask, or with two; a name that cannot be a key; too few scenes.
    """
    tree = tree_at(place)
    if train is None:
        pairs = _pairs(tree, _folder(tree, split), split)
    else:
        layout.check_split("saliency", split, (TRAIN, TEST))
        pairs = _divided(_pairs(tree, "", split), split, train, tree.place())
    return Saliency(
        split,
        tree,
        ids=tuple(pair.id for pair in pairs),
        images=tuple(pair.image for pair in pairs),
        masks=tuple(pair.mask for pair in pairs),
        image_extension=extension_of(pair.image for pair in pairs),
    )


def path_and_train(where: str) -> tuple[str, int | None]:
    """Take `?train=` off the end of a path.

    >>> path_and_train("SOD?train=80"), path_and_train("SOD")
    (('SOD', 80), ('SOD', None))

    Raises:
        SourceError: an option of another name, or no number of scenes.
    """
    path, _, option = where.rpartition("?")
    if "=" not in option or "/" in option or not path:
        return where, None
    match = re.fullmatch("train=([0-9]{1,7})", option)
    if match is None or not 1 <= int(match[1]) <= _MOST_SCENES:
        raise SourceError(f"saliency: the option {option!r} is not train=N with N from 1")
    return path, int(match[1])


def _folder(tree: Tree, split: str) -> str:
    """The folder within the tree that has a split's pair of folders."""
    if split == UNDIVIDED:
        return ""
    for name in (split, _DUTS.get(split, split)):
        if "/" not in name and not name.startswith(".") and tree.is_folder(name):
            return name
    raise SourceError(
        f"saliency: looked for the split {layout.shown(split)} in {tree.place()}; found"
        f" {tree.found()}; without folders of splits there is all, or train and test by ?train=N"
    )


def _pairs(tree: Tree, base: str, split: str) -> list[_Pair]:
    """The images and masks of a split, in the order of their names."""
    entries = tree.entries(base)
    folders = [name for name, is_folder in entries.items() if is_folder]
    images = [n for n in folders if n in _IMAGES or n.endswith("-Image")]
    masks = [n for n in folders if n in _MASKS or n.endswith("-Mask")]
    if len(images) != 1 or len(masks) != 1:
        raise SourceError(
            f"saliency: looked for a folder of images ({' '.join(_IMAGES)}) and one of masks"
            f" ({' '.join(_MASKS)}) in {tree.place(base)}; found {tree.found(base)}"
        )
    image, mask = (
        _by_key(tree, f"{base}/{name}" if base else name) for name in (images[0], masks[0])
    )
    for one, other, missing in ((image, mask, "mask"), (mask, image, "image")):
        if alone := sorted(set(one) - set(other)):
            names = layout.listed([one[key] for key in alone])
            raise SourceError(f"saliency: there is no {missing} of {names} in {tree.place(base)}")
    if not image:
        raise SourceError(f"saliency: {tree.place(base)} has no images of the split {split!r}")
    return [_Pair(key, image[key], mask[key]) for key in sorted(image)]


def _divided(pairs: list[_Pair], split: str, train: int, place: str) -> list[_Pair]:
    """The pairs of one half, in order."""
    if train >= len(pairs):
        raise SourceError(f"saliency: train is {train:,}, but {place} has {len(pairs):,} scenes")
    order = sample_rng(0, "saliency/split", 0).permutation(len(pairs))
    rows = np.sort(order[:train] if split == TRAIN else order[train:])
    return [pairs[row] for row in rows.tolist()]


def _by_key(tree: Tree, folder: str) -> dict[str, str]:
    """The names of a folder's images within the tree, by keys of a bundle."""
    found = by_stem(tree, folder, _SUFFIXES)
    for key in found:
        try:
            check_key(key)
        except BundleError as error:
            raise SourceError(f"saliency: {tree.place(folder)}: {error}") from error
    return {key: f"{folder}/{name}" for key, name in found.items()}
