"""Batches to train segmentation on: scenes that are cropped, and blends that lie in a bundle.

A scene has an image (`jpg`, `png` or `ppm`) and `mask.png`, and is of any size. A bundle of blends
has images and masks of one size, that of the crops; `mask.png` is of the dominant scene and
`phantom.png` of the other, and the column `parts` says how much of a blend is the dominant one, in
parts of `quire.artifacts.blend.PARTS`. Ids are below the number of classes, or 255 where a pixel
has no class. Such a bundle may also store scenes and a table of how they are blended (recipe
`segmix`, form `virtual`): then the blends are made as they are read, the same to the last bit.

Scenes may have a mask in another bundle too, which a network predicted: `pseudo`, see
`quire.train.segmentation.pseudo`.

Both come as dicts of tensors on the device: image (b, 3, S, S) uint8, mask (b, S, S) uint8 and row
(b,) int64, of blends phantom (b, S, S) uint8 and parts (b,) int64, and pseudo (b, S, S) uint8 where
there are such masks. Whatever else yields such
dicts can be trained on likewise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from quire.artifacts.blend import PARTS
from quire.artifacts.errors import RunError
from quire.artifacts.masks import VOID
from quire.artifacts.processors import processors
from quire.loaders.crops import crop_images, crop_masks, random_crops
from quire.loaders.draws import Draws
from quire.loaders.prefetch import ToDevice, ahead
from quire.loaders.segmix import stream_pairs
from quire.loaders.stream import Stream
from quire.train.engine.mixture import Data, own
from quire.train.engine.options import Running
from quire.train.engine.ranks import Ranks
from quire.train.engine.subset import stream_of
from quire.train.segmentation.pseudo import PseudoLabels
from quire.train.segmentation.run import Segment

_DEPTH = 2  # batches that are cropped and copied ahead of their use
_IMAGES = {"jpg", "png", "ppm"}

Batch: TypeAlias = dict[str, Any]
Make: TypeAlias = Callable[[Batch, int], Batch]  # of what a stream gives in an epoch, on the CPU


class SceneBatches:
    """The batches of a stream, made ready ahead of their use; resumes where it was.

    Each `iter()` is an epoch, or what is left of one.
    """

    def __init__(self, stream: Stream, make: Make, device: torch.device) -> None:
        """`stream` gives tensors on the CPU."""
        self.stream = stream
        self._make = make
        self._device = device
        self._state = stream.state_dict()

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.stream)

    def __iter__(self) -> Iterator[Batch]:
        epoch, to_device = int(self._state["epoch"]), ToDevice(self._device)
        self.stream.load_state_dict(self._state)  # it may have gone further than it was used

        def started(item: tuple[Batch, dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
            batch, state = item
            return to_device.start(self._make(batch, epoch)), state

        read = ((batch, self.stream.state_dict()) for batch in self.stream)
        with closing(ahead(started, read, depth=_DEPTH)) as made:  # type: ignore[type-var]
            for batch, self._state in made:
                yield to_device.finish(batch)

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch is: a batch that was handed over counts as used."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where others were.

        Raises:
            ValueError: the state is of another bundle, selection, order or seed.
        """
        self.stream.load_state_dict(state)
        self._state = self.stream.state_dict()


def scenes_of(
    config: Segment,
    mixed: Data,
    seed: int,
    ranks: Ranks,
    running: Running,
    pseudo: PseudoLabels | None = None,
) -> SceneBatches:
    """The scenes of one rank, shuffled and cropped at random, by a seed.

    Raises:
        RunError: the bundle has no masks, or fewer scenes than a batch; or a scene has no pseudo
            labels. Later: ids are beyond the classes.
    """
    stream, data = _shuffled(config, mixed, seed, ranks, running, ("mask.png",), ()), own(mixed)
    if pseudo is not None:
        pseudo.check_has(stream.index.rows.keys[stream.rows].tolist(), data)
    classes = number_of_classes(stream, data)
    pool = ThreadPoolExecutor(processors())

    def make(batch: Batch, epoch: int) -> Batch:
        images = _coloured(batch["image"], data)
        draws = Draws(seed, epoch, batch["row"])
        crops = random_crops(
            images, draws=draws, size=config.crop, scale=config.scale, longest=config.longest
        )
        if not config.flip:
            crops = [replace(crop, mirrored=False) for crop in crops]
        masks = crop_masks(batch["mask"], crops, pool=pool)
        check_ids(masks, classes, stream, batch["row"])
        image = crop_images(images, crops, fill=config.fill, pool=pool)
        made = {"image": image, "mask": masks, "row": batch["row"]}
        if pseudo is not None:
            sizes = [(image.shape[1], image.shape[2]) for image in images]
            predicted = pseudo.masks(stream.keys(batch["row"]), sizes)
            made["pseudo"] = crop_masks(predicted, crops, pool=pool)
        return made

    return SceneBatches(stream, make, ranks.device)


def blends_of(
    config: Segment, mixed: Data, seed: int, ranks: Ranks, running: Running
) -> SceneBatches:
    """The blends of one rank, shuffled by a seed: as they were built, or made of stored scenes.

    Raises:
        RunError: the bundle is not one of blends, or has fewer than a batch. Later: they are not
            of the size of the crops, or ids are beyond the classes.
    """
    data = own(mixed)
    if _is_virtual(data):
        if not isinstance(mixed, str):
            raise RunError(f"{data} has blends that are made as they are read: they are not mixed")
        stream = _pairs(config, data, _options(config, ranks, running, seed))
    else:
        masks = ("mask.png", "phantom.png")
        stream = _shuffled(config, mixed, seed, ranks, running, masks, ("parts",))
    classes = number_of_classes(stream, data)
    parts = stream.index.rows.columns["parts"]
    if parts.dtype.kind not in "iu" or parts.min() < 0 or parts.max() > PARTS:
        raise RunError(f"{data} has parts that are not whole numbers of 0 to {PARTS}")

    def make(batch: Batch, epoch: int) -> Batch:
        for name in ("image", "mask", "phantom"):
            one = batch[name]
            found = tuple(one.shape[-2:]) if isinstance(one, Tensor) else None
            if found != (config.crop, config.crop):
                raise RunError(
                    f"{data} has a {name} of {found or 'some'} pixels, not {config.crop}"
                )
        _coloured(batch["image"], data)
        for name in ("mask", "phantom"):
            check_ids(batch[name], classes, stream, batch["row"])
        kept = {name: batch[name] for name in ("image", "mask", "phantom", "row")}
        return {**kept, "parts": batch["parts"].to(torch.int64)}

    return SceneBatches(stream, make, ranks.device)


def number_of_classes(stream: Stream, data: str) -> int:
    """How many classes the masks of a bundle have ids for, with the background.

    Raises:
        RunError: the bundle names none, or more than there are ids.
    """
    names = stream.manifest.identity.source.get("class_names") or ()
    if not 1 < len(names) <= VOID:
        raise RunError(f"{data} names {len(names)} classes; masks have ids for 2 to {VOID}")
    return len(names)


def check_ids(masks: Tensor, classes: int, stream: Stream, rows: Tensor) -> None:
    """Refuse a mask with an id that is no class. (B, H, W) uint8 on the CPU, (B,).

    Raises:
        RunError: there is one; the message names its sample.
    """
    wrong = ((masks >= classes) & (masks != VOID)).flatten(1).any(dim=1)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        key = stream.keys(rows[first : first + 1])[0]
        raise RunError(f"the mask of {key} has an id beyond its {classes} classes")


def check_members(stream: Stream, data: str, masks: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse a bundle that lacks images, masks or columns.

    Raises:
        RunError: one is lacking; the message names it.
    """
    members, there = stream.index.rows.offsets, stream.index.rows.columns
    for name in masks:
        if name not in members:
            raise RunError(f"{data} has no {name}: it is no bundle of {_kind(masks)}")
    for name in columns:
        if name not in there:
            raise RunError(f"{data} has no column {name}: it is no bundle of {_kind(masks)}")
    if len(_IMAGES & set(members)) != 1:
        raise RunError(f"{data} has no images in colour, or several for a sample")


def _kind(masks: Sequence[str]) -> str:
    return "blends" if "phantom.png" in masks else "scenes"


def _shuffled(
    config: Segment,
    mixed: Data,
    seed: int,
    ranks: Ranks,
    running: Running,
    masks: Sequence[str],
    columns: Sequence[str],
) -> Stream:
    """Full batches of a bundle, or of several, on the CPU."""
    options = _options(config, ranks, running, seed)
    for place in [mixed] if isinstance(mixed, str) else [place for place, _ in mixed]:
        check_members(stream_of(place, None, columns=()), place, masks, columns)
    found = stream_of(mixed, config.images, columns=columns, **options)
    return _full(found, config, own(mixed))


def _options(config: Segment, ranks: Ranks, running: Running, seed: int) -> dict[str, Any]:
    """How any bundle is read."""
    if config.batch_size % ranks.size or config.batch_size < 2 * ranks.size:
        raise RunError(
            f"a batch of {config.batch_size} cannot be shared by {ranks.size} processes, two for"
            " each at least"
        )
    return {
        "batch_size": config.batch_size // ranks.size,
        "rank": ranks.rank,
        "world_size": ranks.size,
        "workers": running.workers,
        "shuffle": True,
        "seed": seed,
        "drop_last": True,
    }


def _is_virtual(data: str) -> bool:
    """Whether a bundle stores scenes, and a table of how they are blended."""
    recipe = stream_of(data, None, columns=()).manifest.identity.recipe
    return recipe.get("kind") == "segmix" and recipe.get("form") == "virtual"


def _pairs(config: Segment, data: str, options: Mapping[str, Any]) -> Stream:
    """Full batches of blends that are made as they are read."""
    if config.images is not None:
        raise RunError(f"{data} has blends of scenes; images chooses among scenes by themselves")
    return _full(stream_pairs(data, **options), config, data)


def _full(stream: Stream, config: Segment, data: str) -> Stream:
    if not len(stream):
        raise RunError(f"{data} gives {len(stream.rows)} samples; a batch has {config.batch_size}")
    return stream


def _coloured(images: Any, data: str) -> Any:
    """Images, each (3, H, W)."""
    for image in images:
        if len(image) != 3:
            raise RunError(f"{data} has an image of {len(image)} channels; scenes have three")
    return images
