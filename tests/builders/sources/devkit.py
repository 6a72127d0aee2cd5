"""A VOCdevkit of a few scenes, written into a folder, and SBD beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import io, sparse

Mask = NDArray[np.uint8]

SIZE = (6, 8)  # (H, W)
OBJECT = """
<object><name>{name}</name><pose>Left</pose>{flags}<bndbox><xmin>1</xmin></bndbox>
<part><name>head</name><occluded>1</occluded></part></object>"""


def mask_of(*classes: int, size: tuple[int, int] = SIZE) -> Mask:
    """A mask with a column of each class, from the left; the rest is background."""
    mask = np.zeros(size, np.uint8)
    mask[:, : len(classes)] = classes
    return mask


def write_ids(file: Path, ids: Mask) -> None:
    """A palette PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(ids)
    picture.putpalette(np.arange(768, dtype=np.uint8).tobytes())
    picture.save(file)


def write_image(file: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> None:
    """A JPEG of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")


def write_objects(file: Path, *objects: tuple[str, str]) -> None:
    """An annotation with objects: a name, and flags as they stand in the XML."""
    file.parent.mkdir(parents=True, exist_ok=True)
    inside = "".join(OBJECT.format(name=name, flags=flags) for name, flags in objects)
    file.write_text(f"<annotation><filename>x.jpg</filename>{inside}</annotation>")


def flags(**given: int) -> str:
    """Flags as XML."""
    return "".join(f"<{name}>{value}</{name}>" for name, value in given.items())


def write_lists(root: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """ImageSets/Segmentation."""
    folder = root / "ImageSets/Segmentation"
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text("".join(f"{one}\n" for one in ids))


def write_scenes(
    root: Path, masks: Mapping[str, Mask], folder: str = "SegmentationClass", *, images: bool = True
) -> None:
    """Masks and images by id."""
    for seed, (one, mask) in enumerate(masks.items()):
        write_ids(root / folder / f"{one}.png", mask)
        if images:
            height, width = mask.shape
            write_image(root / "JPEGImages" / f"{one}.jpg", (height, width), seed)


def write_devkit(path: Path) -> Path:
    """Two scenes to train on, two more in train_aug, two to measure on. -> its folder VOC2012."""
    root = path / "VOCdevkit/VOC2012"
    official = {
        "2007_000001": mask_of(15, 13, 255),
        "2007_000002": mask_of(8),
        "2007_000003": mask_of(15, 13),
        "2007_000004": mask_of(5, 8, 15),
    }
    extra = {"2008_000001": mask_of(5, 8, 8), "2008_000002": mask_of(20)}
    write_scenes(root, official)
    write_scenes(root, {**official, **extra}, "SegmentationClassAug")
    for one, mask in official.items():
        write_ids(root / "SegmentationObject" / f"{one}.png", np.where(mask > 0, mask, 0))
    for one in (*official, *extra):
        objects = [("person", flags(occluded=1, truncated=0, difficult=0)), ("dog", "")]
        write_objects(root / "Annotations" / f"{one}.xml", *objects)
    train, val = [*official][:2], [*official][2:]
    lists = {"train": train, "val": val, "trainval": [*official], "train_aug": [*train, *extra]}
    write_lists(root, lists)
    return root


def write_mat(file: Path, mask: NDArray[Any], *, compressed: bool = True) -> None:
    """A mask as SBD has it: a structure with sparse boundaries, the mask, and its classes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    boundaries = np.empty((20, 1), object)
    for row in range(20):
        boundaries[row, 0] = sparse.csc_matrix(mask == row + 1)
    present = np.unique(mask[mask > 0]).astype(np.uint8)[:, None]
    about = {"Boundaries": boundaries, "Segmentation": mask, "CategoriesPresent": present}
    io.savemat(file, {"GTcls": about}, do_compression=compressed)
