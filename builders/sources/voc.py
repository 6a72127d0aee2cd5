"""Pascal VOC 2012's segmentations, as a VOCdevkit has them.

Which masks a split has: `train`, `val` and `trainval` those in SegmentationClass or, where there is
no such folder, in SegmentationClassAug; `train_aug` and `all` those in SegmentationClassAug.
`train_aug` can also come from the Semantic Boundaries Dataset: then the images of VOC's own
training split keep VOC's masks, the others have SBD's. Instances (SegmentationObject) are VOC's
own, so `train_aug` and `all` have none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from quire.artifacts.manifest import LeftOut
from quire.artifacts.masks import VOID
from quire.builders.sources import layout
from quire.builders.sources.pictures import decode, decode_ids, ordinary_jpeg
from quire.builders.sources.sbd import MAX_BYTES as MAX_MAT
from quire.builders.sources.sbd import read_mat
from quire.builders.sources.scene import STEPS, Annotation, Mask, Scene, SceneObject
from quire.builders.sources.source import ANNOTATIONS, SCENES, Image
from quire.builders.sources.tree import Digesting, Tree, UnfitError, named_digests
from quire.builders.sources.voc_objects import MAX_BYTES as MAX_XML
from quire.builders.sources.voc_objects import read_objects

CLASS_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat"),
    *("chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant"),
    *("sheep", "sofa", "train", "tvmonitor"),
)
IMAGES, OBJECTS, INSTANCES = "JPEGImages", "Annotations", "SegmentationObject"

_FROM_SBD = "cls/"  # before the names of SBD's masks
_JPEG = b"\xff\xd8"  # how every JPEG begins


@dataclass(frozen=True, slots=True)
class Voc:
    """One split of VOC2012; 21 classes, the background among them."""

    split: str
    ids: tuple[str, ...]
    root: Tree  # the folder VOC2012
    masks: str  # its folder of class masks
    has_instances: bool
    has_objects: bool
    sbd: Tree | None = None  # the folder that holds `cls`
    from_sbd: frozenset[str] = frozenset()  # the ids whose masks are there
    step: str = SCENES

    @property
    def kind(self) -> str:
        """`voc2012`."""
        return "voc2012"

    @property
    def class_names(self) -> tuple[str, ...]:
        """VOC's own, in VOC's order."""
        return CLASS_NAMES

    @property
    def image_extension(self) -> str:
        """`jpg`."""
        return "jpg"

    def __len__(self) -> int:
        return len(self.ids)

    def narrowed(self, step: str) -> "Voc":
        """The same scenes, of which no more is read than one of STEPS."""
        fewer = STEPS.index(step) < STEPS.index(ANNOTATIONS)
        return replace(
            self,
            step=step,
            has_instances=self.has_instances and not fewer,
            has_objects=self.has_objects and not fewer,
        )

    def mask(self, index: int) -> Mask | LeftOut:
        """The class mask of a scene, or the reason why it cannot be read."""
        layout.check_range(index, index + 1, len(self))
        name = self._mask_name(self.ids[index])
        try:
            return self._class_mask(self.ids[index])
        except UnfitError as unfit:
            return LeftOut(index, name, str(unfit))

    def annotation(self, index: int) -> Annotation | LeftOut:
        """Mask, instances and objects of a scene, or the reason why they cannot be read."""
        mask = self.mask(index)
        if isinstance(mask, LeftOut):
            return mask
        name = ""
        instances: Mask | None = None
        objects: tuple[SceneObject, ...] | None = None
        try:
            if self.has_instances:
                name = f"{INSTANCES}/{self.ids[index]}.png"
                instances = _fitting(decode_ids(self.root.read(name)), mask)
            if self.has_objects:
                name = f"{OBJECTS}/{self.ids[index]}.xml"
                objects = read_objects(self.root.read(name, "an annotation", MAX_XML), CLASS_NAMES)
        except UnfitError as unfit:
            return LeftOut(index, name, str(unfit))
        return Annotation(mask, instances, objects)

    def scene(self, index: int) -> Scene | LeftOut:
        """A whole scene, or the reason why it cannot be read."""
        truth = self.annotation(index)
        if isinstance(truth, LeftOut):
            return truth
        name = f"{IMAGES}/{self.ids[index]}.jpg"
        try:
            encoded = self.root.read(name)
            image = _photograph(encoded)
            if image.shape[:2] != truth.mask.shape:
                raise UnfitError(f"{_size(image.shape)}, but its mask is {_size(truth.mask.shape)}")
        except UnfitError as unfit:
            return LeftOut(index, name, str(unfit))
        return Scene(image, encoded, truth)

    @property
    def file_names(self) -> list[str]:
        """The names of all files of the step; those from SBD begin with `cls/`."""
        folders = []
        if self.has_instances:
            folders.append((INSTANCES, "png"))
        if self.has_objects:
            folders.append((OBJECTS, "xml"))
        if self.step == SCENES:
            folders.append((IMAGES, "jpg"))
        others = [f"{folder}/{one}.{suffix}" for folder, suffix in folders for one in self.ids]
        return [*map(self._mask_name, self.ids), *others]

    def sizes(self) -> list[int | None]:
        """How many bytes each file has; None for one that is not there."""
        names = self.file_names
        masks, others = names[: len(self)], names[len(self) :]
        sizes = dict(zip(others, self.root.sizes(others), strict=True))
        for tree in (self.root, self.sbd):
            if tree is not None:
                here = [name for name in masks if self._tree(name) is tree]
                sizes |= zip(here, tree.sizes(here), strict=True)
        return [sizes[name] for name in names]

    def digest(self, name: str) -> str:
        """sha256 of a file."""
        return self._tree(name).digest(name)

    def digesting(self, digests: dict[str, str]) -> "Voc":
        """The same source, which notes the digest of each file that it reads."""
        sbd = self.sbd and Digesting(self.sbd, digests)
        return replace(self, root=Digesting(self.root, digests), sbd=sbd)

    def fingerprint(self, digests: Mapping[str, str] | None = None) -> str:
        """sha256 over the ids in their order, and the names and bytes of all files of the step.

        A file that cannot be read counts with its name alone.
        """
        found = named_digests(self.root, self.file_names, digests, self.digest)
        ids = sha256("\n".join(self.ids).encode()).hexdigest()
        return layout.combined([("?ids", ids), *found])

    def _tree(self, name: str) -> Tree:
        return self.sbd if self.sbd is not None and name.startswith(_FROM_SBD) else self.root

    def _mask_name(self, one: str) -> str:
        return f"{_FROM_SBD}{one}.mat" if one in self.from_sbd else f"{self.masks}/{one}.png"

    def _class_mask(self, one: str) -> Mask:
        name = self._mask_name(one)
        if one in self.from_sbd:
            mask = read_mat(self._tree(name).read(name, "a mask", MAX_MAT))
        else:
            mask = decode_ids(self.root.read(name))
        highest = int(mask.max(initial=0, where=mask != VOID))
        if highest >= len(CLASS_NAMES):
            raise UnfitError(f"an id is {highest}; ids are 0 to {len(CLASS_NAMES) - 1}, and {VOID}")
        return mask


def _photograph(encoded: bytes) -> Image:
    """The image in the bytes of what is called a JPEG."""
    image = ordinary_jpeg(encoded)
    if image is None:
        image = decode(encoded)
        if not encoded.startswith(_JPEG):
            raise UnfitError("its name is that of a JPEG, its content is not")
    return image


def _fitting(instances: Mask, mask: Mask) -> Mask:
    if instances.shape != mask.shape:
        raise UnfitError(f"{_size(instances.shape)}, but its class mask is {_size(mask.shape)}")
    return instances


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
