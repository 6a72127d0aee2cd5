"""COCO's instances as scenes.

Classes are COCO's categories in the order of their ids, counted through from 1, or those of VOC; 0
is the background. Where objects overlap the smaller one lies on top, by the pixels that it has (of
two that have the same, the later in the file), or both are VOID; crowds, whose objects nobody
counted, are VOID beneath all others. Instances are numbered in the order of the file. Scenes are in
the order of the images' ids.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from quire.artifacts.address import Address
from quire.artifacts.manifest import LeftOut
from quire.artifacts.masks import VOID
from quire.builders.sources import layout
from quire.builders.sources.coco_choice import Choice, Overlap
from quire.builders.sources.coco_json import (
    Instances,
    Marked,
    Picture,
    find_instances,
    load,
    loaded,
)
from quire.builders.sources.coco_regions import region
from quire.builders.sources.pictures import check_content, decode, extension_of
from quire.builders.sources.scene import Annotation, Mask, Scene
from quire.builders.sources.source import MASKS, SCENES, Image
from quire.builders.sources.tree import Digesting, Tree, UnfitError, named_digests
from quire.builders.sources.tree_kinds import tree_at

_ALL = Choice()


@dataclass(frozen=True, slots=True)
class Coco:
    """One split of COCO, or of what has its layout."""

    split: str
    tree: Tree
    file: str  # the annotations
    sha256: str  # of these
    images: Tree  # the folder that their file names are within
    class_names: tuple[str, ...]
    length: int
    image_extension: str | None
    choice: Choice = _ALL
    step: str = SCENES

    @property
    def kind(self) -> str:
        """`coco`."""
        return "coco"

    @property
    def ids(self) -> Sequence[str]:
        """The images' ids in twelve digits, which is what COCO's own files are called."""
        return [f"{picture.id:012d}" for picture in self._instances().pictures]

    @property
    def has_instances(self) -> bool:
        """True, where more than the class masks is read."""
        return self.step != MASKS

    @property
    def has_objects(self) -> bool:
        """False: COCO has no flags of objects."""
        return False

    def __len__(self) -> int:
        return self.length

    def narrowed(self, step: str) -> "Coco":
        """The same scenes, of which no more is read than one of STEPS."""
        return replace(self, step=step)

    def mask(self, index: int) -> Mask | LeftOut:
        """The class mask of a scene, or the reason why there is none."""
        truth = self._drawn(index)
        return truth if isinstance(truth, LeftOut) else truth.mask

    def annotation(self, index: int) -> Annotation | LeftOut:
        """Mask and instances of a scene, or the reason why there are none."""
        return self._drawn(index)

    def scene(self, index: int) -> Scene | LeftOut:
        """A whole scene, or the reason why it cannot be read."""
        truth = self._drawn(index)
        if isinstance(truth, LeftOut):
            return truth
        picture = self._instances().pictures[index]
        try:
            image, encoded = self._image(picture)
        except UnfitError as unfit:
            return LeftOut(index, layout.shown(picture.file), str(unfit))
        return Scene(image, encoded, truth)

    @property
    def file_names(self) -> list[str]:
        """The names of all images, where they are read; the annotations are known."""
        if self.step != SCENES:
            return []
        return [picture.file for picture in self._instances().pictures]

    def sizes(self) -> list[int | None]:
        """How many bytes each file has; None for one that is not there."""
        return self.images.sizes(self.file_names)

    def digest(self, name: str) -> str:
        """sha256 of an image."""
        return self.images.digest(name)

    def digesting(self, digests: dict[str, str]) -> "Coco":
        """The same source, which notes the digest of each image that it reads."""
        return replace(self, images=Digesting(self.images, digests))

    def fingerprint(self, digests: Mapping[str, str] | None = None) -> str:
        """sha256 over the annotations and, where they are read, the names and bytes of all images.

        An image that cannot be read counts with its name alone. What is not taken of the
        annotations counts too.
        """
        found = named_digests(self.images, self.file_names, digests)
        images = [(f"images/{name}", digest) for name, digest in found]
        options = [
            (f"?{name}", hashlib.sha256(value.encode()).hexdigest())
            for name, value in self.choice.record().items()
        ]
        return layout.combined([(PurePosixPath(self.file).name, self.sha256), *options, *images])

    def _instances(self) -> Instances:
        return loaded(self.tree, self.file, self.sha256, self.choice)

    def _image(self, picture: Picture) -> tuple[Image, bytes | None]:
        encoded = self.images.read(picture.file)
        image = decode(encoded)
        if image.shape[:2] != (picture.height, picture.width):
            found, told = f"{image.shape[1]}x{image.shape[0]}", f"{picture.width}x{picture.height}"
            raise UnfitError(f"{found}, but its annotation says {told}")
        if self.image_extension is None:
            return image, None
        check_content(encoded, self.image_extension)
        return image, encoded

    def _drawn(self, index: int) -> Annotation | LeftOut:
        layout.check_range(index, index + 1, len(self))
        instances = self._instances()
        picture = instances.pictures[index]
        try:
            return _draw(picture, instances.marked(picture), self.choice.overlap)
        except UnfitError as unfit:
            return LeftOut(index, layout.shown(picture.file), str(unfit))


def open_coco(place: Path | Address, split: str, choice: Choice = _ALL) -> Coco:
    """Open a split: `annotations/instances_<split>.json` with the images in `<split>/`.

    The split `all` is `annotations.json` with images where its file names say, below `place`.

    Raises:
        SourceError: no such files, or annotations that are not COCO's; an address that does not
            answer.
    """
    tree = tree_at(place)
    file, images = find_instances(tree, split)
    instances = load(tree, file, choice)
    return Coco(
        split=split,
        tree=tree,
        file=file,
        sha256=instances.sha256,
        images=tree.below(images),
        class_names=("background", *instances.class_names),
        length=len(instances.pictures),
        image_extension=extension_of(picture.file for picture in instances.pictures),
        choice=choice,
    )


def _draw(picture: Picture, marked: Sequence[Marked], overlap: Overlap) -> Annotation:
    """The masks of one image."""
    singles = sum(not one.crowd for one in marked)
    if singles >= VOID:
        raise UnfitError(f"{singles} objects; a mask has room for {VOID - 1}")
    regions = [region(one.segmentation, picture.height, picture.width) for one in marked]
    numbers = np.cumsum([not one.crowd for one in marked])
    mask, instances = np.zeros((2, picture.height, picture.width), np.uint8)
    from_below = sorted(
        range(len(marked)), key=lambda i: (not marked[i].crowd, -int(regions[i].sum()), i)
    )
    for i in from_below:
        crowd = marked[i].crowd
        mask[regions[i]] = VOID if crowd else marked[i].class_id
        instances[regions[i]] = VOID if crowd else numbers[i]
    if overlap == "void":
        covered = np.sum(regions, axis=0, dtype=np.uint16) if regions else np.uint16(0)
        mask[covered > 1] = instances[covered > 1] = VOID
    return Annotation(mask, instances)
