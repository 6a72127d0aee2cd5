"""cooccurrence.h5: how often classes share a scene.

K classes, of which 0 is the background; a class's row is its id, and row and column 0 of the two
matrices are zero, as are their diagonals.

images              (K, K) int64: masks with pixels of both classes; symmetric
pixels              (K, K) int64: Equation 2 of the SegMix paper as it is printed: pixels of class i
                    in masks that also have class j; not symmetric
images_per_class    (K,) int64: masks with pixels of the class, in place of images' diagonal
pixels_per_class    (K,) int64: pixels of the class, in place of pixels' diagonal

The file's attributes: `class_names`, joined by newlines, and `masks`, how many were counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError

COOCCURRENCE = "cooccurrence.h5"
MAX_CLASSES = 255  # what a mask has ids for

Counts: TypeAlias = NDArray[np.int64]

_SAID = {
    "images": ("masks", "masks with pixels of both classes; symmetric, zero on the diagonal"),
    "pixels": ("pixels", "of class i in masks that also have class j; zero on the diagonal"),
    "images_per_class": ("masks", "masks with pixels of the class"),
    "pixels_per_class": ("pixels", "pixels of the class"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrence:
    """Counts over some masks; the module says what each is."""

    class_names: tuple[str, ...]
    masks: int
    images: Counts  # (K, K)
    pixels: Counts  # (K, K)
    images_per_class: Counts  # (K,)
    pixels_per_class: Counts  # (K,)


def part(class_names: Sequence[str], counts: Counts) -> dict[str, NDArray[Any]]:
    """What some masks give to the table. (n, K) pixels of each class -> arrays of one row.

    Parts add up: the sum of the rows of all parts is that over all masks.
    """
    present = (counts > 0).astype(np.int64)
    sums = {
        "masks": np.array(len(counts)),
        "images": present.T @ present,
        "pixels": counts.T @ present,
    }
    rows = {name: array[None] for name, array in sums.items()}
    return {**rows, "class_names": np.array(["\n".join(class_names).encode()])}


def write_cooccurrence(file: h5py.File, parts: Iterable[Mapping[str, NDArray[Any]]]) -> None:
    """Write the table from its parts, of which there is one at least; they are added up in turn."""
    totals: dict[str, NDArray[Any]] = {}
    class_names = b""
    for one in parts:
        class_names = one["class_names"][0]
        for name in ("masks", "images", "pixels"):
            totals[name] = totals.get(name, 0) + one[name].sum(axis=0)
    for name in ("images", "pixels"):
        matrix = totals[name]
        totals[f"{name}_per_class"] = matrix.diagonal().copy()
        np.fill_diagonal(matrix, 0)
        matrix[0] = matrix[:, 0] = 0
    for name, (unit, definition) in _SAID.items():
        tables.put(file, name, totals[name], unit=unit, definition=definition)
    file.attrs["class_names"] = np.bytes_(class_names)
    file.attrs["masks"] = np.int64(totals["masks"])


def read_cooccurrence(bundle: Bundle) -> Cooccurrence:
    """Read the counts of a bundle.

    Raises:
        BundleError: there are none, or they are damaged or cannot be what they say.
    """
    with tables.open_table(bundle.table(COOCCURRENCE, "co-occurrence")) as file:
        names = _class_names(file)
        size = len(names)
        found = Cooccurrence(
            class_names=names,
            masks=_masks(file),
            images=_counts(file, "images", (size, size)),
            pixels=_counts(file, "pixels", (size, size)),
            images_per_class=_counts(file, "images_per_class", (size,)),
            pixels_per_class=_counts(file, "pixels_per_class", (size,)),
        )
    _check(found)
    return found


def _class_names(file: h5py.File) -> tuple[str, ...]:
    text = file.attrs.get("class_names")
    if not isinstance(text, bytes):
        raise BundleError(f"{COOCCURRENCE} does not name its classes")
    names = tuple(text.decode("utf-8", "replace").split("\n"))
    if len(names) > MAX_CLASSES or not all(name.isprintable() for name in names):
        raise BundleError(f"{COOCCURRENCE} has too many classes, or unprintable ones")
    return names


def _masks(file: h5py.File) -> int:
    masks = file.attrs.get("masks")
    if not isinstance(masks, np.int64) or masks < 0:
        raise BundleError(f"{COOCCURRENCE} does not say how many masks were counted")
    return int(masks)


def _counts(file: h5py.File, name: str, shape: tuple[int, ...]) -> Counts:
    counts = tables.get(file, name, shape=shape)
    if counts.dtype != np.int64 or counts.min(initial=0) < 0:
        raise BundleError(f"{COOCCURRENCE}: {name} is not counts")
    return counts


def _check(found: Cooccurrence) -> None:
    """Refuse what no masks can give."""
    single, images = found.images_per_class, found.images
    pairs = np.minimum.outer(single, single)
    wrong = {
        "images is not symmetric": (images != images.T).any(),
        "a pair is in more masks than one of its classes": (images > pairs).any(),
        "a class is in more masks than there are": single.max(initial=0) > found.masks,
        "pixels of a pair are more than those of the class": (
            found.pixels > found.pixels_per_class[:, None]
        ).any(),
        "pixels and images disagree on which classes meet": (
            (found.pixels > 0) != (images > 0)
        ).any(),
        "a diagonal, or what is said of the background, is not zero": any(
            matrix.diagonal().any() or matrix[0].any() or matrix[:, 0].any()
            for matrix in (images, found.pixels)
        ),
    }
    for reason, is_wrong in wrong.items():
        if is_wrong:
            raise BundleError(f"{COOCCURRENCE}: {reason}")
