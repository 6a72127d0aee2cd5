"""subsets.h5: which scenes of a split make up the subsets that a paper measures on.

N scenes in the order of the source, S subsets with R rows in all.

id                     (N,) the scenes' own names
source_index           (N,) int64, their numbers in the split
classes                (N, K) uint8, 1 where the mask has the class, 0 the background
instances              (N,) int64, instances in the mask of them; -1 where there is none
objects                (N,) int64, objects in the annotation; -1 where there is none
flagged/<flag>         (N,) int64, how many of those are said to be occluded, truncated, or either
subsets/name           (S,)
subsets/figure         (S,) where the paper uses it
subsets/predicate      (S,) which scenes it has, in words
subsets/published      (S,) int64, how many the paper says there are; -1 where it does not, or not
                       of this split
subsets/missing        (S,) why the source does not tell which scenes these are; empty where it does
subsets/offsets        (S + 1,) int64: where each subset's rows begin
subsets/rows           (R,) int64, the subsets' scenes as rows of the arrays above, ascending

A subset that is `missing` has no rows, which is not to say that no scene is in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError

SUBSETS = "subsets.h5"
FLAGS = ("occluded", "truncated", "either")
MAX_SUBSETS = 1 << 10
NONE = -1  # where there is no number

_SAID = {
    "id": ("", "the scenes' own names"),
    "source_index": ("scenes", "numbers in the split"),
    "classes": ("1", "whether the mask has the class; column 0 is the background"),
    "instances": ("instances", "in the mask of them; -1 where there is none"),
    "objects": ("objects", "in the annotation; -1 where there is none"),
    "flagged/occluded": ("objects", "those of them that are said to be occluded; -1 as above"),
    "flagged/truncated": ("objects", "those of them that are said to be truncated; -1 as above"),
    "flagged/either": ("objects", "those of them that are said to be either or both; -1 as above"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Subset:
    """Some scenes of a split."""

    name: str
    figure: str
    predicate: str
    published: int  # NONE where the paper does not say
    missing: str  # why it is not known which scenes these are
    rows: NDArray[np.int64]  # (R,)


@dataclass(frozen=True, slots=True, eq=False)
class SubsetTable:
    """The scenes of a split, and subsets of them by name."""

    ids: tuple[str, ...]
    source_index: NDArray[np.int64]  # (N,)
    classes: NDArray[np.bool_]  # (N, K)
    subsets: Mapping[str, Subset]


def write_subsets(
    file: h5py.File, facts: Mapping[str, NDArray[Any]], subsets: Sequence[Subset]
) -> None:
    """Write what is known of each scene, and the subsets."""
    for name, rows in facts.items():
        unit, definition = _SAID[name]
        tables.put(file, name, rows, unit=unit, definition=definition)
    group = file.create_group("subsets")
    for name in ("name", "figure", "predicate", "missing"):
        texts = [getattr(subset, name).encode() for subset in subsets]
        tables.put(group, name, np.array(texts, np.bytes_))
    published = np.array([subset.published for subset in subsets], np.int64)
    tables.put(group, "published", published, unit="scenes")
    ends = np.cumsum([0, *(len(subset.rows) for subset in subsets)], dtype=np.int64)
    tables.put(group, "offsets", ends, unit="rows")
    rows = np.concatenate([np.empty(0, np.int64), *(subset.rows for subset in subsets)])
    tables.put(group, "rows", rows, unit="scenes")


def read_subsets(bundle: Bundle) -> SubsetTable:
    """Read the subsets of a bundle.

    Raises:
        BundleError: there are none, or they are damaged or cannot be what they say.
    """
    with tables.open_table(bundle.table(SUBSETS, "subsets")) as file:
        known = bundle.manifest.files[SUBSETS]
        names = _column(file, "id", None, known.bytes)
        count = len(names)
        source_index = _whole(file, "source_index", (count,))
        classes = _classes(file, count)
        subsets = _subsets(file, count, known.bytes)
    if len({*names.tolist()}) != count or (np.diff(source_index) <= 0).any():
        raise BundleError(f"{SUBSETS}: a scene comes twice, or out of order")
    return SubsetTable(_texts(names), source_index, classes, subsets)


def _column(group: h5py.Group, name: str, length: int | None, most: int) -> NDArray[np.bytes_]:
    """Texts, one a row. A table can be packed, but not a thousand times."""
    found = group.get(name)
    if not isinstance(found, h5py.Dataset) or found.ndim != 1 or found.nbytes > 1024 * most:
        raise BundleError(f"{SUBSETS}: {name} is missing, or larger than any")
    column = tables.get(group, name, shape=found.shape if length is None else (length,))
    if column.dtype.kind != "S":
        raise BundleError(f"{SUBSETS}: {name} is {column.dtype}, not texts")
    return column


def _texts(column: NDArray[np.bytes_]) -> tuple[str, ...]:
    texts = tuple(text.decode("utf-8", "replace") for text in column.tolist())
    if not all(text.isprintable() for text in texts):
        raise BundleError(f"{SUBSETS} has an unprintable text")
    return texts


def _whole(group: h5py.Group, name: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    numbers = tables.get(group, name, shape=shape)
    if numbers.dtype != np.int64:
        raise BundleError(f"{SUBSETS}: {name} is {numbers.dtype}, not whole numbers")
    return numbers


def _classes(file: h5py.File, count: int) -> NDArray[np.bool_]:
    found = file.get("classes")
    width = found.shape[1] if isinstance(found, h5py.Dataset) and found.ndim == 2 else 0
    if not 0 < width <= 255:
        raise BundleError(f"{SUBSETS}: classes has {width} columns; 1 to 255 are possible")
    classes = tables.get(file, "classes", shape=(count, width))
    if classes.dtype != np.uint8 or classes.max(initial=0) > 1:
        raise BundleError(f"{SUBSETS}: classes is not zeros and ones")
    return classes.astype(np.bool_)


def _subsets(file: h5py.File, count: int, most: int) -> dict[str, Subset]:
    group = tables.group_of(file, "subsets")
    names = _texts(_column(group, "name", None, most))
    if len(names) > MAX_SUBSETS or len(set(names)) != len(names):
        raise BundleError(f"{SUBSETS}: too many subsets, or two of one name")
    texts = [
        _texts(_column(group, name, len(names), most))
        for name in ("figure", "predicate", "missing")
    ]
    published = _whole(group, "published", (len(names),)).tolist()
    offsets = _whole(group, "offsets", (len(names) + 1,))
    if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] > count * len(names):
        raise BundleError(f"{SUBSETS}: offsets do not rise from 0 to what there can be")
    rows = _whole(group, "rows", (int(offsets[-1]),))
    found = {}
    for number, (name, figure, predicate, missing) in enumerate(zip(names, *texts, strict=True)):
        own = rows[offsets[number] : offsets[number + 1]]
        if len(own) and (own[0] < 0 or own[-1] >= count or (np.diff(own) <= 0).any() or missing):
            raise BundleError(f"{SUBSETS}: {name} has rows that it cannot have")
        found[name] = Subset(name, figure, predicate, published[number], missing, own)
    return found
