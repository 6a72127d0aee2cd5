"""Which scenes make up the subsets of SegMix's Tables 3 and 4 and Figure 5.

The paper gives its subsets in a few words. What these mean here is in each subset's predicate; the
counts on VOC's val split bear it out where they could be compared. One number of the paper cannot
be right: 45 scenes of person and car, which is what it also has for car alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quire.artifacts.subset_table import NONE, Subset

Occlusion: TypeAlias = Literal["occluded", "truncated", "either"]
Chosen: TypeAlias = NDArray[np.bool_]  # (N,)

PUBLISHED: Mapping[str, int] = {
    **{"1-occ": 1_128, "all-occ": 538, "1-obj": 695, "2-obj": 318, "3-obj": 167, "4-obj": 99},
    **{"2-unique": 375, "3-unique": 121, "4-unique": 23},
    **{"person+horse": 32, "person+motorbike": 34, "person+bicycle": 30, "person+bottle": 20},
    **{"person+car": 45, "only-horse": 44, "only-motorbike": 23, "only-bicycle": 29},
    **{"only-bottle": 35, "only-car": 45},
}
_NO_OBJECTS = "the source has no annotations of objects"
_NO_INSTANCES = "the source has no masks of instances"
_NO_COUNTS = "no bundle of co-occurrence was given"
_FLAGGED = {"either": "occluded or truncated"}


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """What is known of the scenes of a split; arrays are as in quire.artifacts.subset_table."""

    class_names: Sequence[str]
    classes: NDArray[np.uint8]  # (N, K)
    instances: NDArray[np.int64]  # (N,)
    objects: NDArray[np.int64]  # (N,)
    flagged: Mapping[str, NDArray[np.int64]]  # (N,) each


@dataclass(frozen=True, slots=True)
class _Rule:
    """A subset before it is known whether the source tells which scenes are in it."""

    name: str
    figure: str
    predicate: str
    missing: str
    chosen: Chosen


def subsets(
    facts: Facts,
    *,
    occlusion: Occlusion,
    companion: str,
    partners: Sequence[str],
    thresholds: Sequence[int],
    counts: NDArray[np.int64] | None,
    published: bool,
) -> list[Subset]:
    """All subsets of a split, with the paper's numbers where it is the paper's.

    `counts` are the (K, K) images of pairs of classes that thresholds are about.
    """
    rules = [
        *_by_occlusion(facts, occlusion),
        *_by_number(facts),
        *_by_cooccurring(facts, companion, partners),
        *_by_rarity(facts, thresholds, counts),
    ]
    return [
        Subset(
            name=rule.name,
            figure=rule.figure,
            predicate=rule.predicate,
            published=PUBLISHED.get(rule.name, NONE) if published else NONE,
            missing=rule.missing,
            rows=np.flatnonzero(rule.chosen & (not rule.missing)),
        )
        for rule in rules
    ]


def _by_occlusion(facts: Facts, occlusion: Occlusion) -> Iterator[_Rule]:
    flagged, objects = facts.flagged[occlusion], facts.objects
    what = f"said to be {_FLAGGED.get(occlusion, occlusion)}"
    missing = _NO_OBJECTS if (objects == NONE).all() else ""
    yield _Rule("1-occ", "Table 3", f"at least one object is {what}", missing, flagged > 0)
    everything = (objects > 0) & (flagged == objects)
    yield _Rule("all-occ", "Table 3", f"all objects, at least one, are {what}", missing, everything)


def _by_number(facts: Facts) -> Iterator[_Rule]:
    missing = _NO_INSTANCES if (facts.instances == NONE).all() else ""
    for number in (1, 2, 3, 4):
        predicate = f"exactly {number} in the mask of instances"
        yield _Rule(f"{number}-obj", "Table 3", predicate, missing, facts.instances == number)
    unique = facts.classes[:, 1:].sum(axis=1)
    for number in (2, 3, 4):
        predicate = f"exactly {number} classes besides the background"
        yield _Rule(f"{number}-unique", "Table 3", predicate, "", unique == number)


def _by_cooccurring(facts: Facts, companion: str, partners: Sequence[str]) -> Iterator[_Rule]:
    for partner in partners:
        name, predicate = f"{companion}+{partner}", f"the classes are {companion} and {partner}"
        yield _exactly(facts, name, f"{predicate}, and no other", (companion, partner))
    for partner in partners:
        yield _exactly(facts, f"only-{partner}", f"the only class is {partner}", (partner,))


def _exactly(facts: Facts, name: str, predicate: str, wanted: Sequence[str]) -> _Rule:
    unknown = [one for one in wanted if one not in facts.class_names[1:]]
    missing = f"the source has no class {unknown[0]}" if unknown else ""
    there = np.array([one in wanted for one in facts.class_names[1:]], np.bool_)
    chosen = (facts.classes[:, 1:].astype(np.bool_) == there).all(axis=1)
    return _Rule(name, "Table 4", predicate, missing, chosen)


def _by_rarity(
    facts: Facts, thresholds: Sequence[int], counts: NDArray[np.int64] | None
) -> Iterator[_Rule]:
    there = facts.classes.astype(np.int64)
    for threshold in thresholds:
        rare = np.zeros((there.shape[1],) * 2, np.int64)
        if counts is not None:
            rare = np.triu(counts < threshold, 1).astype(np.int64)
            rare[0] = 0  # the background is no class
        chosen: Chosen = ((there @ rare) * there).sum(axis=1) > 0
        predicate = f"two classes that are together in fewer than {threshold} masks, or in none"
        missing = _NO_COUNTS if counts is None else ""
        yield _Rule(f"below-{threshold}", "Figure 5", predicate, missing, chosen)


def joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The rows of all parts, in order."""
    return {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
