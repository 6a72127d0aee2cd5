"""Which scenes SegMix blends by categorical clustering, and how: arithmetic and draws, no pixels.

The cluster of a class is all scenes whose mask has it, so a scene is in several. Blends are in the
order of their dominant scenes in the split; of one scene they go cluster by cluster of its own,
within that cluster by cluster of the partners, and then by number. What is drawn for a blend hangs
on the seed and on these four alone (scene, cluster, partner's cluster, number): neither on how many
blends are asked for nor on who else is in a shard.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.blend import PARTS
from quire.artifacts.crop import Crop, random_crop
from quire.artifacts.manifest import LeftOut
from quire.builders.draws import sample_rng
from quire.builders.sources.scene import SegmentationSource, classes_in

_PARTNERS, _VIEWS = "segmix/partners", "segmix/views"  # purposes of the draws


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Which classes each of N scenes has, K with the background, which is never there."""

    present: NDArray[np.bool_]  # (N, K)
    sizes: NDArray[np.int32]  # (N, 2): height and width
    bad: tuple[LeftOut, ...] = ()  # scenes whose masks cannot be read; they are in no cluster

    @property
    def counts(self) -> NDArray[np.int64]:
        """The scenes of each cluster. -> (K,)."""
        counts: NDArray[np.int64] = self.present.sum(axis=0)
        return counts


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Who is blended with whom, in order; a row a blend."""

    dominant: NDArray[np.int32]  # (M,), scenes by their number in the split
    partner: NDArray[np.int32]  # (M,), likewise
    cluster: NDArray[np.int32]  # (M,), the class by which the dominant scene was taken
    partner_cluster: NDArray[np.int32]  # (M,)
    number: NDArray[np.int32]  # (M,), among the partners from one cluster
    size: NDArray[np.int32]  # (M, 2), height and width of the dominant scene
    partner_size: NDArray[np.int32]  # (M, 2)

    def __len__(self) -> int:
        return len(self.dominant)

    def part(self, start: int, stop: int) -> "Pairs":
        """The rows [start, stop)."""
        # copies, for views would take the whole arrays with them to a worker
        return Pairs(*(getattr(self, name)[start:stop].copy() for name in self.__slots__))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """What the weights and the views of blends are drawn from."""

    delta: tuple[float, float]
    scale: tuple[float, float]
    crop: int  # pixels of a side
    flip: bool
    longest: int | None = None  # pixels that a scene's longer side is brought to first


@dataclass(frozen=True, slots=True, kw_only=True)
class Blend:
    """One blend, as it was drawn; scenes are numbers in the split."""

    dominant: int
    partner: int
    cluster: int
    partner_cluster: int
    number: int
    parts: int  # of PARTS, how much is of the dominant scene
    crop: Crop
    partner_crop: Crop


def clusters_of(source: SegmentationSource) -> Clusters:
    """Look at every mask of a split; images are not read."""
    num_classes = len(source.class_names)
    present = np.zeros((len(source), num_classes), np.bool_)
    sizes = np.zeros((len(source), 2), np.int32)
    bad = []
    for index in range(len(source)):
        mask = source.mask(index)
        if isinstance(mask, LeftOut):
            bad.append(mask)
        else:
            present[index] = classes_in(mask, num_classes) > 0
            sizes[index] = mask.shape
    present[:, 0] = False
    return Clusters(present, sizes, tuple(bad))


def pairs_of(
    clusters: Clusters, *, seed: int, partners_per_cluster: int, limit: int | None
) -> tuple[Pairs, int]:
    """The blends to be made, and how many there are without a limit.

    Each partner is any scene of its cluster but the dominant one itself, and every one is as
    likely; there is none where the cluster has no other. Which blends a limit leaves is random, but
    always the same: fewer are a part of more.
    """
    present, counts = clusters.present, clusters.counts
    members = np.nonzero(present.T)[1]  # cluster after cluster
    firsts = np.cumsum(counts) - counts  # of each, in `members`
    before = np.cumsum(present, axis=0, dtype=np.int32) - present  # scenes of a cluster before one
    found = [np.zeros((5, 0), np.int32)]
    ranks: list[NDArray[np.float64]] = [np.zeros(0)]
    for scene in np.flatnonzero(present.any(axis=1)).tolist():
        numbers = sample_rng(seed, _PARTNERS, scene).random(
            (partners_per_cluster, len(counts), len(counts), 2)
        )
        others = counts - present[scene]  # that may be its partners
        own, other, number = _combined(present[scene], others, partners_per_cluster)
        chosen, rank = numbers[number, own, other].T
        place = (chosen * others[other]).astype(np.int64)
        place += present[scene, other] & (place >= before[scene, other])  # steps over itself
        rows = [np.full_like(own, scene), members[firsts[other] + place], own, other, number]
        found.append(np.stack(rows).astype(np.int32))
        ranks.append(rank)
    pairs = np.concatenate(found, axis=1)
    in_all = pairs.shape[1]
    if limit is not None and limit < in_all:
        pairs = pairs[:, np.sort(np.argsort(np.concatenate(ranks), kind="stable")[:limit])]
    dominant, partner, own, other, number = pairs
    sizes = clusters.sizes
    return Pairs(dominant, partner, own, other, number, sizes[dominant], sizes[partner]), in_all


def _combined(
    present: NDArray[np.bool_], others: NDArray[np.int64], rounds: int
) -> tuple[NDArray[np.int64], ...]:
    """Every own cluster of a scene, with every other that has partners, and each of their numbers.

    (K,), (K,) -> three arrays of as many, in this order.
    """
    wanted = present[:, None] & (others > 0)
    np.fill_diagonal(wanted, False)
    return np.nonzero(np.repeat(wanted[..., None], rounds, axis=2))


def blends_of(pairs: Pairs, *, seed: int, num_classes: int, ranges: Ranges) -> Iterator[Blend]:
    """Draw how each pair is blended: the weight, then a view of either scene."""
    drawn_for, numbers = -1, np.zeros(0)
    rounds = int(pairs.number.max(initial=0)) + 1
    columns = (getattr(pairs, name).tolist() for name in Pairs.__slots__)
    for dominant, partner, cluster, other, number, size, partner_size in zip(*columns, strict=True):
        if dominant != drawn_for:
            rng = sample_rng(seed, _VIEWS, dominant)
            drawn_for, numbers = dominant, rng.random((rounds, *2 * (num_classes,), 9))
        own = numbers[number, cluster, other].tolist()
        low, high = ranges.delta
        yield Blend(
            dominant=dominant,
            partner=partner,
            cluster=cluster,
            partner_cluster=other,
            number=number,
            parts=round(PARTS * (low + (high - low) * own[0])),
            crop=_crop(size, own[1:5], ranges),
            partner_crop=_crop(partner_size, own[5:9], ranges),
        )


def _crop(size: list[int], numbers: list[float], ranges: Ranges) -> Crop:
    height, width = size
    crop = random_crop(
        height, width, numbers, size=ranges.crop, scale=ranges.scale, longest=ranges.longest
    )
    return crop if ranges.flip else replace(crop, mirrored=False)
