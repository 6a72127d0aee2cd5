"""Recipe `segmix`: scenes blended by categorical clustering, SegMix's Binding-CC.

Every scene of every cluster (see `quire.builders.recipes.segmix_pairs`) is blended with a random
one of each other cluster, after either has been scaled, cropped and mirrored in its own way. A
bundle has one of two forms; for the same fields they are the same blends.

materialised: a sample is a blend: the image (`jpg`, or `png` without loss), `mask.png` of the
dominant scene, `phantom.png` of the other and a `json` record of what they were.
virtual: a sample is a scene: its image as it lies and `mask.png`, each once. Blends are made when
they are read, see `quire.loaders.segmix`.

Either has the table of all blends, segmix.h5.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, TypeAlias

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from quire.artifacts.blend import PARTS, blended
from quire.artifacts.crop import FILL, cropped, cropped_mask
from quire.artifacts.errors import RecipeError
from quire.artifacts.fields import check_at_least
from quire.artifacts.manifest import LeftOut
from quire.artifacts.masks import mask_file
from quire.artifacts.members import RAW_IMAGE, raw_images, record_file
from quire.artifacts.segmix_table import CROP, SEGMIX, crop_row, write_blends
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import Run, WriteTable
from quire.builders.recipes.segmix_pairs import (
    Blend,
    Clusters,
    Pairs,
    Ranges,
    blends_of,
    clusters_of,
    pairs_of,
)
from quire.builders.sources.scene import Scene, SegmentationSource
from quire.builders.sources.source import SCENES

_RUN = 16  # samples in memory at once
_KEPT = 24  # decoded scenes that are kept: blends of one dominant scene follow one another
_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # a tenth larger than the default, in a third of the time

Form: TypeAlias = Literal["materialised", "virtual"]
Part: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlendTask(ShardTask):
    """A shard of blends, or of scenes with the blends of which they are the dominant ones.

    It carries what the masks of the whole split were needed for, some kilobytes, so that no worker
    looks at them again.
    """

    pairs: Pairs
    scenes: NDArray[np.int64]  # numbers in the split; none where blends are stored
    clusters: NDArray[np.int64]  # (K,), the scenes of each
    in_all: int  # blends, were there no limit
    bad: tuple[LeftOut, ...] = ()  # masks that nobody could read, told of once


@dataclass(frozen=True, kw_only=True)
class SegMix:
    """Scenes blended by category: each with one of every class that it was not taken for.

    The categorical clustering of SegMix (Islam et al. 2021), by which its variant Binding-CC is
    trained: delta of a scene and 1 - delta of another, with the masks of both.
    """

    kind: ClassVar[str] = "segmix"
    reads: ClassVar[tuple[str, ...]] = (SCENES,)
    libraries: ClassVar[tuple[str, ...]] = (
        *("opencv-python-headless", "pillow", "pycocotools", "simplejpeg"),
    )

    split: str = "train_aug"
    """Split of the source to read."""
    form: Form = "materialised"
    """materialised: every blend is stored; virtual: every scene once, and a table of the blends,
    which are made when they are read. Both are the same blends."""
    partners_per_cluster: int = 1
    """Blends of a scene with each other cluster; the first of them are the same however many."""
    limit: int | None = None
    """Blends at most, chosen at random once and for all: fewer are a part of more. Default: all."""
    delta: tuple[float, float] = (0.7, 1.0)
    """Range from which the dominant scene's weight is drawn, uniformly, in 1024ths."""
    crop: int = 513
    """Pixels of the square that is cut out of every scene."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Range of the factor by which a scene is scaled before it is cut."""
    longest: int | None = None
    """Bring a scene's longer side to so many pixels before that; default: take it as it is."""
    flip: bool = True
    """Mirror every second scene."""
    fill: tuple[int, int, int] = FILL
    """The colour beside a scene, where it is smaller than the square; its mask is void there."""
    quality: int | None = 95
    """Quality of JPEG in which blends are stored; None: PNG, without loss. Nothing in the virtual
    form, which stores scenes as they lie."""
    seed: int = 0
    """Seed of partners, weights, views, and of what a limit leaves."""
    samples_per_shard: int = 500
    """Samples in a shard, at most."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the source.

        Raises:
            RecipeError: a field is out of range.
        """
        check_at_least(
            1,
            self,
            *("partners_per_cluster", "limit", "crop", "longest", "samples_per_shard"),
            error=RecipeError,
        )
        if not 0 <= self.delta[0] <= self.delta[1] <= 1:
            raise RecipeError(f"delta is {self.delta}; it must be a range within 0 and 1")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise RecipeError(f"scale is {self.scale}; it must be a range of positive numbers")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise RecipeError(f"quality is {self.quality}; it must be in 1 to 100, or None")
        if not all(0 <= level <= 255 for level in self.fill) or self.seed < 0:
            raise RecipeError("fill must be levels of 0 to 255, and seed at least 0")

    def resolve(self, source: SegmentationSource) -> "SegMix":
        """The same recipe; a virtual bundle has no quality."""
        return replace(self, quality=None) if self.form == "virtual" else self

    def fingerprints(self) -> Mapping[str, str]:
        """None."""
        return {}

    def plan(self, source: SegmentationSource) -> tuple[ShardTask, ...]:
        """The blends, or the scenes that they are made of, cut into shards.

        Reads every mask of the split, once: who is blended with whom depends on them all.

        Raises:
            RecipeError: no scene can be blended with another.
        """
        clusters = clusters_of(source)
        pairs, in_all = pairs_of(
            clusters,
            seed=self.seed,
            partners_per_cluster=self.partners_per_cluster,
            limit=self.limit,
        )
        if not len(pairs):
            reason = f"; {len(clusters.bad):,} masks cannot be read" if clusters.bad else ""
            raise RecipeError(
                f"{source.kind} {source.split} has no scenes of two classes to be blended{reason}"
            )
        scenes = np.zeros(0, np.int64)
        if self.form == "virtual":
            scenes = np.union1d(pairs.dominant, pairs.partner).astype(np.int64)
        return tuple(self._tasks(clusters, pairs, scenes, in_all))

    def _tasks(
        self, clusters: Clusters, pairs: Pairs, scenes: NDArray[np.int64], in_all: int
    ) -> Iterator[BlendTask]:
        samples = len(scenes) or len(pairs)
        for number, (start, stop) in enumerate(cut(samples, self.samples_per_shard)):
            first, last = start, stop
            if len(scenes):  # the blends whose dominant scenes are in this shard
                ends = (scenes[start], scenes[stop - 1] + 1)
                first, last = np.searchsorted(pairs.dominant, ends).tolist()
            yield BlendTask(
                name=f"{self.split}-{number:06d}.tar",
                part=f"{'scenes of ' * bool(len(scenes))}{len(pairs):,} of {in_all:,} blends",
                start=start,
                stop=stop,
                bytes=None,
                pairs=pairs.part(first, last),
                scenes=scenes[start:stop].copy(),
                clusters=clusters.counts,
                in_all=in_all,
                bad=clusters.bad if number == 0 else (),
            )

    def samples(self, source: SegmentationSource, task: ShardTask) -> Iterator[Run]:
        """The blends or scenes of one shard in runs; those of unreadable scenes are left out."""
        assert isinstance(task, BlendTask)
        about = {
            "clusters": task.clusters[None],
            "blends": np.array([task.in_all]),
            "class_names": np.array(["\n".join(source.class_names).encode()]),
        }
        yield Run(Samples([], {}), task.bad, about)
        yield from self._scenes(source, task) if len(task.scenes) else self._blends(source, task)

    def tables(self) -> Mapping[str, WriteTable]:
        """`segmix.h5`."""
        return {SEGMIX: write_blends}

    def _drawn(self, source: SegmentationSource, pairs: Pairs) -> Iterator[Blend]:
        ranges = Ranges(
            delta=self.delta,
            scale=self.scale,
            crop=self.crop,
            flip=self.flip,
            longest=self.longest,
        )
        classes = len(source.class_names)
        return blends_of(pairs, seed=self.seed, num_classes=classes, ranges=ranges)

    def _blends(self, source: SegmentationSource, task: BlendTask) -> Iterator[Run]:
        """Blends with their pixels."""
        look = lru_cache(_KEPT)(source.scene)
        ids = source.ids
        drawn = list(self._drawn(source, task.pairs))
        for start, stop in cut(len(drawn), _RUN):
            made: list[Blend] = []
            files: list[dict[str, bytes]] = []
            bad: dict[LeftOut, None] = {}
            for one in drawn[start:stop]:
                dominant, partner = look(one.dominant), look(one.partner)
                if isinstance(dominant, Scene) and isinstance(partner, Scene):
                    made.append(one)
                    files.append(self._files(one, dominant, partner))
                    files[-1]["json"] = record_file(_record(one, ids, source.class_names))
                bad |= {scene: None for scene in (dominant, partner) if isinstance(scene, LeftOut)}
            rows = _rows(made, ids)
            columns = {n: rows[n].astype(np.int64) for n in rows if rows[n].dtype == np.int32}
            columns = {n: array for n, array in columns.items() if array.ndim == 1}
            members = {name: [one[name] for one in files] for name in (files or [{}])[0]}
            keys = [key.decode() for key in rows["key"].tolist()]
            yield Run(Samples(keys, members, columns), tuple(bad), rows)

    def _files(self, one: Blend, dominant: Scene, partner: Scene) -> dict[str, bytes]:
        """What is stored of a blend, by extension."""
        image = blended(
            cropped(dominant.image, one.crop, fill=self.fill),
            cropped(partner.image, one.partner_crop, fill=self.fill),
            one.parts,
        )
        return {
            **self._image_file(image),
            "mask.png": mask_file(cropped_mask(dominant.truth.mask, one.crop)),
            "phantom.png": mask_file(cropped_mask(partner.truth.mask, one.partner_crop)),
        }

    def _image_file(self, image: NDArray[np.uint8]) -> dict[str, bytes]:
        if self.quality is None:
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            return {"png": cv2.imencode(".png", bgr, _FAST)[1].tobytes()}
        return {"jpg": simplejpeg.encode_jpeg(image, self.quality, "RGB", "420")}

    def _scenes(self, source: SegmentationSource, task: BlendTask) -> Iterator[Run]:
        """Scenes as they lie, and the blends of the shard as rows."""
        ids = source.ids
        there: list[int] = []
        for start, stop in cut(len(task.scenes), _RUN):
            looked = {index: source.scene(index) for index in task.scenes[start:stop].tolist()}
            found = {i: scene for i, scene in looked.items() if isinstance(scene, Scene)}
            bad = [scene for scene in looked.values() if isinstance(scene, LeftOut)]
            extension = source.image_extension or RAW_IMAGE[3]
            members = {
                extension: [
                    scene.encoded or raw_images(scene.image[None]).tobytes()
                    for scene in found.values()
                ],
                "mask.png": [mask_file(scene.truth.mask) for scene in found.values()],
            }
            columns = {"source_index": np.array(list(found), np.int64)}
            yield Run(Samples([ids[i] for i in found], members, columns), bad)
            there += found
        rows = _rows(list(self._drawn(source, task.pairs)), ids)
        yield Run(Samples([], {}), part={**rows, "scene": np.array(there, np.int64)})


def _rows(blends: Sequence[Blend], ids: Sequence[str]) -> Part:
    """Some blends as rows of the table."""
    numbers = {
        "source_index": [one.dominant for one in blends],
        "partner_index": [one.partner for one in blends],
        "cluster": [one.cluster for one in blends],
        "partner_cluster": [one.partner_cluster for one in blends],
        "parts": [one.parts for one in blends],
    }
    views = {
        "crop": [crop_row(one.crop) for one in blends],
        "partner_crop": [crop_row(one.partner_crop) for one in blends],
    }
    keys = [_key(one, ids) for one in blends]
    return {
        "key": np.array(keys, np.bytes_),
        **{name: np.array(values, np.int32) for name, values in numbers.items()},
        **{n: np.array(v, np.int32).reshape(-1, len(CROP)) for n, v in views.items()},
    }


def _key(one: Blend, ids: Sequence[str]) -> str:
    return f"{ids[one.dominant]}-{one.cluster:02d}-{one.partner_cluster:02d}-{one.number}"


def _record(one: Blend, ids: Sequence[str], class_names: Sequence[str]) -> dict[str, Any]:
    """What a blend was made of, for whoever has the sample alone."""
    return {
        "image": ids[one.dominant],
        "class": class_names[one.cluster],
        "crop": asdict(one.crop),
        "partner": ids[one.partner],
        "partner_class": class_names[one.partner_cluster],
        "partner_crop": asdict(one.partner_crop),
        "parts": one.parts,
        "delta": one.parts / PARTS,
    }
