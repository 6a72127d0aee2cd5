"""Where a VOCdevkit keeps what, and which scenes a split of it has."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from quire.artifacts.errors import BundleError, SourceError
from quire.artifacts.members import check_key
from quire.builders.sources import layout
from quire.builders.sources.sbd import find_sbd, sbd_ids
from quire.builders.sources.source import UNDIVIDED
from quire.builders.sources.voc import INSTANCES, OBJECTS, Voc

SPLITS = ("train", "val", "trainval", "train_aug", UNDIVIDED)

_PLACES = (".", "VOC2012", "VOCdevkit/VOC2012")  # of the devkit, below the folder that is given
_LISTS = "ImageSets/Segmentation"
_NAMES = {"train_aug": ("train_aug.txt", "trainaug.txt")}  # other splits are called as they are
_OFFICIAL, _AUGMENTED = "SegmentationClass", "SegmentationClassAug"
_MAX_IDS = 1 << 20


def open_voc(path: Path, split: str, *, sbd: Path | None = None) -> Voc:
    """Open a split of VOC2012, or of what has its layout.

    The scenes are those of the split's list, in its order. Without a list, `trainval` is `train`
    and `val`, and `train_aug` is every mask in SegmentationClassAug that is not in `val`; from SBD
    it is every mask of SBD and of `train` that is not in `val`, in the order of their names. `all`
    is every mask that there is.

    Args:
        path: VOC2012, VOCdevkit, or a folder that holds one.
        split: one of SPLITS.
        sbd: where the masks of `train_aug` are from; without one, SBD is looked for in `path` if
            there is no SegmentationClassAug.

    Raises:
        SourceError: no such layout, an unknown split, no list where one is needed, or a list that
            names no scenes, names that no file should have, or one twice.
    """
    layout.check_split("voc2012", split, SPLITS)
    root = _root(path, split)
    augmented = split in ("train_aug", UNDIVIDED)
    if sbd is not None and split != "train_aug":
        raise SourceError(f"voc2012: SBD's masks are for the split train_aug, not for {split}")
    if split == "train_aug":
        found = _sbd(path, sbd, (root / _AUGMENTED).is_dir())
        if found is not None:
            return _open_sbd(root, found)
    official = (root / _OFFICIAL).is_dir()
    preferred = (_AUGMENTED, _OFFICIAL) if augmented else (_OFFICIAL, _AUGMENTED)
    masks = next((name for name in preferred if (root / name).is_dir()), preferred[0])
    if split == "train_aug" and masks != _AUGMENTED:
        raise SourceError(
            f"voc2012: train_aug needs {_AUGMENTED} in {root}, or SBD's benchmark_RELEASE beside"
            f" it; found {layout.found(root)}"
        )
    ids = _masks_in(root / masks) if split == UNDIVIDED else _ids(root, split)
    instances = official and not augmented and (root / INSTANCES).is_dir()
    return Voc(split, ids, root, masks, instances, (root / OBJECTS).is_dir())


def _root(path: Path, split: str) -> Path:
    """The folder VOC2012: the first place that has masks or lists."""
    for place in _PLACES:
        root = path if place == "." else path / place
        with layout.reading(path):
            if any((root / name).is_dir() for name in (_OFFICIAL, _AUGMENTED, _LISTS)):
                return root
    raise SourceError(
        f"voc2012: looked for {_OFFICIAL}, {_AUGMENTED} or {_LISTS} in {path}, VOC2012 and"
        f" VOCdevkit/VOC2012 in it; found {layout.found(path)}"
    )


def _sbd(path: Path, given: Path | None, augmented: bool) -> Path | None:
    """The folder of SBD that `train_aug` is from, if it is from there."""
    if given is None:
        return None if augmented else find_sbd(path)
    if (found := find_sbd(given)) is None:
        raise SourceError(
            f"voc2012: looked for cls, dataset/cls or benchmark_RELEASE/dataset/cls in {given};"
            f" found {layout.found(given)}"
        )
    return found


def _open_sbd(root: Path, sbd: Path) -> Voc:
    official = _read_list(root, "train")
    if official is None:
        raise _no_list(root, "train")
    ids = _read_list(root, "train_aug")
    if ids is None:
        held_out = _read_list(root, "val")
        if held_out is None:
            raise _no_list(root, "val", "train_aug")
        ids = _checked((sbd_ids(sbd) | set(official)) - set(held_out), sbd / "cls")
    from_sbd = frozenset(ids) - frozenset(official)
    has_objects = (root / OBJECTS).is_dir()
    return Voc("train_aug", ids, root, _OFFICIAL, False, has_objects, sbd, from_sbd)


def _ids(root: Path, split: str) -> tuple[str, ...]:
    """The ids of a split by its list, or as they follow from other lists."""
    ids = _read_list(root, split)
    if ids is not None:
        return ids
    train, val = _read_list(root, "train"), _read_list(root, "val")
    if split == "trainval" and train is not None and val is not None:
        return _checked({*train, *val}, root / _LISTS)
    if split == "train_aug" and val is not None:
        return _checked(set(_masks_in(root / _AUGMENTED)) - set(val), root / _AUGMENTED)
    raise _no_list(root, split)


def _no_list(root: Path, *splits: str) -> SourceError:
    names = " or ".join(name for split in splits for name in _list_names(split))
    return SourceError(
        f"voc2012: looked for {names} in {root / _LISTS}; found {layout.found(root / _LISTS)}"
    )


def _list_names(split: str) -> Sequence[str]:
    return _NAMES.get(split, (f"{split}.txt",))


def _read_list(root: Path, split: str) -> tuple[str, ...] | None:
    """The ids of a list, one a line; a line may also be `/JPEGImages/ID.jpg /.../ID.png`."""
    for name in _list_names(split):
        file = root / _LISTS / name
        with layout.reading(file):
            if not file.is_file():
                continue
            lines = file.read_bytes().decode("utf-8", "replace").split("\n")
        words = [line.split()[0] for line in lines if line.strip()]
        return _checked([_id(word) for word in words], file, ordered=True)
    return None


def _id(word: str) -> str:
    """The scene of a line of a list.

    >>> _id("2007_000032"), _id("/JPEGImages/2007_000032.jpg")
    ('2007_000032', '2007_000032')
    """
    return Path(word).stem if word.startswith("/") else word


def _masks_in(folder: Path) -> tuple[str, ...]:
    with layout.reading(folder):
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return _checked({Path(name).stem for name in names if name.endswith(".png")}, folder)


def _checked(
    ids: Sequence[str] | set[str], place: Path, *, ordered: bool = False
) -> tuple[str, ...]:
    """Ids as keys of samples: unique, and without anything that leads elsewhere."""
    if not ids or len(ids) > _MAX_IDS:
        raise SourceError(f"voc2012: {place} names {len(ids) or 'no'} scenes")
    for one in ids:
        try:
            check_key(one)
        except BundleError as error:
            named = f"{place} names {layout.shown(one[:40])!r}"
            raise SourceError(f"voc2012: {named}, which is not a scene's name") from error
    if len(set(ids)) != len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise SourceError(f"voc2012: {place} names {twice} twice")
    return tuple(ids) if ordered else tuple(sorted(ids))
