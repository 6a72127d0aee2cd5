"""COCO's annotation files: where they lie, and what is in them, as far as scenes need it.

Such a file can have hundreds of megabytes. A source does not carry that to its workers: each reads
it once, and keeps the last one it read.
"""

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from quire.artifacts.errors import SourceError
from quire.artifacts.masks import VOID
from quire.builders.sources import layout
from quire.builders.sources.coco_choice import Choice
from quire.builders.sources.source import UNDIVIDED
from quire.builders.sources.tree import Tree, UnfitError

_MAX_SIDE = 1 << 14
_MAX_ID = 10**12
_MAX_BYTES = 1 << 32  # of a file; the largest of COCO's own has half a thousand million


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as the annotations name it."""

    id: int
    file: str  # below the folder of images
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Marked:
    """One annotation: an object or a crowd, its region still as the JSON has it."""

    class_id: int
    segmentation: Any
    crowd: bool


@dataclass(frozen=True, slots=True)
class Instances:
    """An annotation file, as far as it is taken."""

    sha256: str
    choice: Choice
    class_names: tuple[str, ...]  # of the classes 1, 2, ...
    pictures: Sequence[Picture]  # by id; those that are left out are not among them
    _marked: Mapping[int, Sequence[Marked]]  # by picture

    def marked(self, picture: Picture) -> Sequence[Marked]:
        """What is marked in a picture, in the order of the file."""
        return self._marked.get(picture.id, ())


_last: deque[Instances] = deque(maxlen=1)  # the one that was read last in this process


def find_instances(tree: Tree, split: str) -> tuple[str, str]:
    """The annotations of a split, and the folder of its images.

    Raises:
        SourceError: there are no annotations.
    """
    name = "annotations.json" if split == UNDIVIDED else f"annotations/instances_{split}.json"
    if "/" in split or not tree.is_file(name):
        beside = "annotations" if split != UNDIVIDED and tree.is_folder("annotations") else ""
        raise SourceError(
            f"coco: looked for {layout.shown(name)} in {tree.place()}; found {tree.found(beside)}"
            + (f" in {beside}" if beside else "")
        )
    return name, "" if split == UNDIVIDED else split


def load(tree: Tree, name: str, choice: Choice) -> Instances:
    """Read an annotation file.

    Raises:
        SourceError: it is not COCO's, or cannot be read.
    """
    try:
        data = tree.read(name, "a file of annotations", _MAX_BYTES)
    except UnfitError as unfit:
        raise SourceError(f"cannot read {layout.shown(tree.place(name))}: {unfit}") from unfit
    instances = _parsed(tree.place(name), data, choice)
    _last.append(instances)
    return instances


def loaded(tree: Tree, name: str, sha256: str, choice: Choice) -> Instances:
    """The annotation file that was read last, if that is the one, or else it is read.

    Raises:
        SourceError: it is another one now.
    """
    instances = next(iter(_last), None)
    if instances is None or (instances.sha256, instances.choice) != (sha256, choice):
        instances = load(tree, name, choice)
    if instances.sha256 != sha256:
        raise SourceError(f"{tree.place(name)} has changed since it was opened")
    return instances


def _parsed(file: str, data: bytes, choice: Choice) -> Instances:
    try:
        record = json.loads(data)
        names = {_whole(c["id"], _MAX_ID): _text(c["name"]) for c in record["categories"]}
        pictures = sorted(map(_picture, record["images"]), key=lambda picture: picture.id)
        class_names, class_ids = choice.numbered(names)
        known = {picture.id for picture in pictures}
        marked: dict[int, list[Marked]] = defaultdict(list)
        areas: dict[int, float] = defaultdict(float)
        for one in record["annotations"]:
            if (image := _whole(one["image_id"], _MAX_ID)) not in known:
                raise ValueError(f"an annotation of image {image}, which there is not")
            if (category := one["category_id"]) not in names:
                raise ValueError(f"an annotation of category {category}, which there is not")
            crowd = bool(_whole(one.get("iscrowd", 0), 1))
            if category in class_ids:
                marked[image].append(Marked(class_ids[category], one["segmentation"], crowd))
                areas[image] += _area(one) if choice.least else 0
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise SourceError(
            f"{layout.shown(file)} is not COCO's instances: {layout.shown(reason)}"
        ) from error
    if not pictures or len(known) != len(pictures):
        raise SourceError(f"{file} has no images, or two of one id")
    if len(class_names) >= VOID:
        raise SourceError(f"{file} has {len(names)} categories; a mask has room for {VOID - 1}")
    if choice.least:
        pictures = [picture for picture in pictures if areas[picture.id] > choice.least]
        if not pictures:
            raise SourceError(f"{file} has no image with objects of over {choice.least:,} pixels")
    digest = hashlib.sha256(data).hexdigest()
    return Instances(digest, choice, class_names, pictures, marked)


def _area(annotation: Mapping[str, Any]) -> float:
    """The pixels of an object, as the file has them."""
    area = annotation["area"]
    if type(area) not in (int, float) or not 0 <= area <= _MAX_SIDE**2:
        raise ValueError(f"{area!r} where an area is expected")
    return float(area)


def _picture(record: Mapping[str, Any]) -> Picture:
    name = _text(record["file_name"])
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
        raise ValueError(f"a file name {name!r} that leads out of the folder of images")
    width, height = (_whole(record[side], _MAX_SIDE) for side in ("width", "height"))
    if not width * height:
        raise ValueError(f"an image of {width}x{height} pixels")
    return Picture(_whole(record["id"], _MAX_ID - 1), name, width, height)


def _whole(value: Any, highest: int) -> int:
    if type(value) is not int or not 0 <= value <= highest:
        raise ValueError(f"{value!r} where a number of 0 to {highest} is expected")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{value!r} where a name is expected")
    return value
