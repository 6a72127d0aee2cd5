"""segmix.h5: which scenes are blended, and how; a row a blend, in the order of the bundle.

M blends over K classes, of which 0 is the background; scenes are numbers in the split.

key                 (M,) fixed-length ASCII, unique
source_index        (M,) int32: the dominant scene
partner_index       (M,) int32: the phantom, which is another scene
cluster             (M,) int32: the class by which the dominant scene was taken
partner_cluster     (M,) int32: the class by which the phantom was taken, never the same
parts               (M,) int32: delta, how much of the blend is the dominant scene, in 1024ths
crop                (M, 6) int32: of the dominant scene, see CROP and `quire.artifacts.crop`
partner_crop        (M, 6) int32: the view of the phantom
clusters            (K,) int64: the scenes that have each class

The file's attributes: `class_names`, joined by newlines, and `blends`, how many there would be
without a limit: the sum over all clusters of their scenes, times the other clusters, times the
partners from each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.blend import PARTS
from quire.artifacts.bundle import Bundle
from quire.artifacts.crop import Crop
from quire.artifacts.errors import BundleError

SEGMIX = "segmix.h5"
CROP = ("height", "width", "top", "left", "size", "mirrored")

_MOST = 1 << 16  # pixels of a scaled scene's side
_LARGEST = 1 << 13  # of a square's
_NUMBERS = ("source_index", "partner_index", "cluster", "partner_cluster", "parts")
_SAID = {
    "key": "of the blend",
    "source_index": "number in the split of the dominant scene",
    "partner_index": "number in the split of the phantom",
    "cluster": "class by which the dominant scene was taken",
    "partner_cluster": "class by which the phantom was taken",
    "parts": f"of {PARTS}: how much of the blend is the dominant scene",
    "crop": f"the view of the dominant scene: {', '.join(CROP)}; in pixels once it is scaled",
    "partner_crop": "the view of the phantom, likewise",
}

Ints: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Blends:
    """The blends of a bundle; the module says what each is."""

    class_names: tuple[str, ...]
    in_all: int
    clusters: NDArray[np.int64]  # (K,)
    keys: NDArray[np.bytes_]  # (M,)
    source_index: Ints  # (M,)
    partner_index: Ints  # (M,)
    cluster: Ints  # (M,)
    partner_cluster: Ints  # (M,)
    parts: Ints  # (M,)
    crop: Ints  # (M, 6)
    partner_crop: Ints  # (M, 6)

    def __len__(self) -> int:
        return len(self.keys)


def crop_row(crop: Crop) -> list[int]:
    """A crop as six numbers."""
    return [int(getattr(crop, name)) for name in CROP]


def row_crop(row: Sequence[int]) -> Crop:
    """The crop of six numbers."""
    height, width, top, left, size, mirrored = row
    return Crop(height=height, width=width, top=top, left=left, size=size, mirrored=bool(mirrored))


def write_blends(file: h5py.File, parts: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write the table from the parts of the shards, of which there is one at least.

    A part has some rows of every array, and once `clusters`, `blends` and `class_names`. Where
    parts also name a `scene`, the scenes that the bundle has, blends with others are dropped. All
    rows are in memory: less than a hundred bytes each.
    """
    found = list(parts)
    rows = {name: np.concatenate([part[name] for part in found]) for name in _SAID}
    if "scene" in found[0]:
        there = np.concatenate([part["scene"] for part in found])
        kept = np.isin(rows["partner_index"], there) & np.isin(rows["source_index"], there)
        rows = {name: array[kept] for name, array in rows.items()}
    for name, definition in _SAID.items():
        tables.put(file, name, rows[name], definition=definition)
    tables.put(file, "clusters", found[0]["clusters"][0], definition="scenes that have each class")
    file.attrs["class_names"] = np.bytes_(found[0]["class_names"][0])
    file.attrs["blends"] = np.int64(found[0]["blends"][0])


def read_blends(bundle: Bundle) -> Blends:
    """Read the blends of a bundle.

    Raises:
        BundleError: there are none, or they are damaged or cannot be what they say.
    """
    with tables.open_table(bundle.table(SEGMIX, "blends")) as file:
        names, in_all = file.attrs.get("class_names"), file.attrs.get("blends")
        if not isinstance(names, bytes) or not isinstance(in_all, np.int64):
            raise BundleError(f"{SEGMIX} does not name its classes, or count its blends")
        class_names = tuple(names.decode("utf-8", "replace").split("\n"))
        keys = tables.get(file, "key")
        count = len(keys) if keys.ndim == 1 and keys.dtype.kind == "S" else -1
        found = Blends(
            class_names=class_names,
            in_all=int(in_all),
            clusters=_whole(file, "clusters", (len(class_names),), np.int64),
            keys=keys,
            **{name: _whole(file, name, (count,), np.int32) for name in _NUMBERS},
            crop=_whole(file, "crop", (count, len(CROP)), np.int32),
            partner_crop=_whole(file, "partner_crop", (count, len(CROP)), np.int32),
        )
    _check(found)
    return found


def _whole(file: h5py.File, name: str, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    array = tables.get(file, name, shape=shape)
    if array.dtype != kind:
        raise BundleError(f"{SEGMIX}: {name} is {array.dtype}, not {np.dtype(kind)}")
    return array


def _check(found: Blends) -> None:
    """Refuse what no recipe makes, before anything is computed with it."""
    classes = len(found.class_names)
    crops = np.concatenate([found.crop, found.partner_crop]).T
    height, width, top, left, size, mirrored = crops
    wrong = {
        "a key occurs twice": len(np.unique(found.keys)) != len(found),
        "parts are beyond their whole": _outside(found.parts, 0, PARTS),
        "a cluster is of no class": (
            _outside(found.cluster, 1, classes - 1)
            or _outside(found.partner_cluster, 1, classes - 1)
        ),
        "a scene is blended with itself": (found.source_index == found.partner_index).any(),
        "a view is larger than any": (
            _outside(height, 1, _MOST) or _outside(width, 1, _MOST) or _outside(size, 1, _LARGEST)
        ),
        "views differ in size": len(np.unique(size)) > 1,
        "a view shows nothing of its scene": (
            ((top <= -size) | (top >= height) | (left <= -size) | (left >= width)).any()
        ),
        "a view is neither mirrored nor not": _outside(mirrored, 0, 1),
    }
    for reason, is_wrong in wrong.items():
        if is_wrong:
            raise BundleError(f"{SEGMIX}: {reason}")


def _outside(numbers: Ints, low: int, high: int) -> bool:
    return bool(((numbers < low) | (numbers > high)).any())
