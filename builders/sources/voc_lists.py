"""Where a VOCdevkit keeps what, and which scenes a split of it has."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from quire.artifacts.address import Address
from quire.artifacts.errors import BundleError, SourceError
from quire.artifacts.members import check_key
from quire.builders.sources import layout
from quire.builders.sources.sbd import find_sbd, sbd_ids
from quire.builders.sources.source import UNDIVIDED
from quire.builders.sources.tree import Tree, UnfitError, stem
from quire.builders.sources.tree_kinds import tree_at
from quire.builders.sources.voc import INSTANCES, OBJECTS, Voc

SPLITS = ("train", "val", "trainval", "train_aug", UNDIVIDED)

_PLACES = ("", "VOC2012", "VOCdevkit/VOC2012")  # of the devkit, below the folder that is given
_LISTS = "ImageSets/Segmentation"
_NAMES = {"train_aug": ("train_aug.txt", "trainaug.txt")}  # other splits are called as they are
_OFFICIAL, _AUGMENTED = "SegmentationClass", "SegmentationClassAug"
_MAX_IDS = 1 << 20


def open_voc(place: Path | Address, split: str, *, sbd: Path | Address | None = None) -> Voc:
    """Open a split of VOC2012, or of what has its layout.

    The scenes are those of the split's list, in its order. Without a list, `trainval` is `train`
    and `val`, and `train_aug` is every mask in SegmentationClassAug that is not in `val`; from SBD
    it is every mask of SBD and of `train` that is not in `val`, in the order of their names. `all`
    is every mask that there is.

    Args:
        place: VOC2012, VOCdevkit, or a folder that holds one.
        split: one of SPLITS.
        sbd: where the masks of `train_aug` are from; without one, SBD is looked for in `place` if
            there is no SegmentationClassAug.

    Raises:
        SourceError: no such layout, an unknown split, no list where one is needed, or a list that
            names no scenes, names that no file should have, or one twice; an address that does not
            answer.
    """
    layout.check_split("voc2012", split, SPLITS)
    given = tree_at(place)
    root = _root(given)
    augmented = split in ("train_aug", UNDIVIDED)
    if sbd is not None and split != "train_aug":
        raise SourceError(f"voc2012: SBD's masks are for the split train_aug, not for {split}")
    there = {name for name, is_folder in root.entries().items() if is_folder}
    if split == "train_aug":
        found = _sbd(given, sbd, _AUGMENTED in there)
        if found is not None:
            return _open_sbd(root, found)
    preferred = (_AUGMENTED, _OFFICIAL) if augmented else (_OFFICIAL, _AUGMENTED)
    masks = next((name for name in preferred if name in there), preferred[0])
    if split == "train_aug" and masks != _AUGMENTED:
        raise SourceError(
            f"voc2012: train_aug needs {_AUGMENTED} in {root.place()}, or SBD's benchmark_RELEASE"
            f" beside it; found {root.found()}"
        )
    ids = _masks_in(root, masks) if split == UNDIVIDED else _ids(root, split)
    instances = _OFFICIAL in there and not augmented and INSTANCES in there
    return Voc(split, ids, root, masks, instances, OBJECTS in there)


def _root(tree: Tree) -> Tree:
    """The folder VOC2012: the first place that has masks or lists."""
    for place in _PLACES:
        root = tree.below(place)
        if any(root.is_folder(name) for name in (_OFFICIAL, _AUGMENTED, _LISTS)):
            return root
    raise SourceError(
        f"voc2012: looked for {_OFFICIAL}, {_AUGMENTED} or {_LISTS} in {tree.place()}, VOC2012 and"
        f" VOCdevkit/VOC2012 in it; found {tree.found()}"
    )


def _sbd(tree: Tree, given: Path | Address | None, augmented: bool) -> Tree | None:
    """The folder of SBD that `train_aug` is from, if it is from there."""
    if given is None:
        return None if augmented else find_sbd(tree)
    named = tree_at(given)
    if (found := find_sbd(named)) is None:
        raise SourceError(
            f"voc2012: looked for cls, dataset/cls or benchmark_RELEASE/dataset/cls in"
            f" {named.place()}; found {named.found()}"
        )
    return found


def _open_sbd(root: Tree, sbd: Tree) -> Voc:
    official = _read_list(root, "train")
    if official is None:
        raise _no_list(root, "train")
    ids = _read_list(root, "train_aug")
    if ids is None:
        held_out = _read_list(root, "val")
        if held_out is None:
            raise _no_list(root, "val", "train_aug")
        ids = _checked((sbd_ids(sbd) | set(official)) - set(held_out), sbd.place("cls"))
    from_sbd = frozenset(ids) - frozenset(official)
    has_objects = root.is_folder(OBJECTS)
    return Voc("train_aug", ids, root, _OFFICIAL, False, has_objects, sbd, from_sbd)


def _ids(root: Tree, split: str) -> tuple[str, ...]:
    """The ids of a split by its list, or as they follow from other lists."""
    ids = _read_list(root, split)
    if ids is not None:
        return ids
    train, val = _read_list(root, "train"), _read_list(root, "val")
    if split == "trainval" and train is not None and val is not None:
        return _checked({*train, *val}, root.place(_LISTS))
    if split == "train_aug" and val is not None:
        return _checked(set(_masks_in(root, _AUGMENTED)) - set(val), root.place(_AUGMENTED))
    raise _no_list(root, split)


def _no_list(root: Tree, *splits: str) -> SourceError:
    names = " or ".join(name for split in splits for name in _list_names(split))
    return SourceError(
        f"voc2012: looked for {names} in {root.place(_LISTS)}; found {root.found(_LISTS)}"
    )


def _list_names(split: str) -> Sequence[str]:
    return _NAMES.get(split, (f"{split}.txt",))


def _read_list(root: Tree, split: str) -> tuple[str, ...] | None:
    """The ids of a list, one a line; a line may also be `/JPEGImages/ID.jpg /.../ID.png`."""
    for name in _list_names(split):
        file = f"{_LISTS}/{name}"
        if not root.is_file(file):
            continue
        try:
            lines = root.read(file, "a list").decode("utf-8", "replace").split("\n")
        except UnfitError as unfit:
            raise SourceError(f"cannot read {layout.shown(root.place(file))}: {unfit}") from unfit
        words = [line.split()[0] for line in lines if line.strip()]
        return _checked([_id(word) for word in words], root.place(file), ordered=True)
    return None


def _id(word: str) -> str:
    """The scene of a line of a list.

    >>> _id("2007_000032"), _id("/JPEGImages/2007_000032.jpg")
    ('2007_000032', '2007_000032')
    """
    return stem(word) if word.startswith("/") else word


def _masks_in(root: Tree, folder: str) -> tuple[str, ...]:
    names = [name for name in root.entries(folder) if not name.startswith(".")]
    ids = {stem(name) for name in names if name.endswith(".png")}
    return _checked(ids, root.place(folder))


def _checked(
    ids: Sequence[str] | set[str], place: str, *, ordered: bool = False
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
