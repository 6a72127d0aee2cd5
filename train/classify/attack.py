"""How many queries fool a trained classifier, by attacks that know of it nothing but its answers.

Of mini-batch similarity graphs (Mondal, Jain & Siddiqi 2021, section 4.4 and Table 4): 1,000 test
images, chosen at random, are classified; those that are right are attacked. A query is an image
alone with the context, the same training images for all of a run, so no query sees another. All is
computed in float32, on any device.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least, check_some_of
from quire.loaders.augment import to_float
from quire.loaders.stream import Stream, stream
from quire.models.cnn2graph import CNN2Graph
from quire.train.attacks.bandits import Bandits, bandits
from quire.train.attacks.queries import Found, Model, check_independent, look
from quire.train.attacks.simba import SimBA, simba
from quire.train.classify.anchors import anchors_of
from quire.train.classify.evaluate import Judge, context_of
from quire.train.classify.run import trained
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.options import Report, best_device, full_float32, key
from quire.train.engine.runs import EVALUATIONS, digest, to_record, write_record
from quire.train.report.corruption_cells import CLEAN, cells_of

Kind: TypeAlias = Literal["simba", "bandits"]
Attack: TypeAlias = Callable[["Queries", Model, "Block"], Found]

_QUESTION = "question.json"


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Attack a trained classifier by queries: SimBA, Bandits-TD or both."""

    attacks: tuple[Kind, ...] = get_args(Kind)
    """SimBA goes along random directions; Bandits-TD along a gradient that it guesses."""
    images: int = 1000
    """Test images, chosen at random by the seed; those that the model has right are attacked."""
    skip: int = 0
    """So many of the images that the seed chooses are left out, for another use of them."""
    simba: SimBA = field(default_factory=SimBA)
    bandits: Bandits = field(default_factory=Bandits)
    batch_size: int | None = None
    """Nodes of a graph: the image and its context; default: as many as in training."""
    at_once: int = 256
    """Images that are attacked together, and rows of every call of the model. It decides last
    digits of logits alone."""
    seed: int = 0
    """Chooses the test images, and the training images of the context."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        check_some_of(get_args(Kind), self, "attacks", error=RunError)
        check_at_least(1, self, "images", "at_once", error=RunError)
        check_at_least(2, self, "batch_size", error=RunError)
        check_at_least(0, self, "skip", error=RunError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What became of a test image."""

    attack: str
    row: int
    """In its bundle."""
    correct: bool
    """Before the attack; the others are not attacked."""
    fooled: bool
    queries: int
    l2: float
    linf: float


@dataclass(frozen=True, slots=True)
class Queried:
    """What an attack did to the images of a run; measures of none are NaN."""

    attack: str
    images: tuple[Image, ...]

    @property
    def attacked(self) -> int:
        """Images that were right at first."""
        return sum(image.correct for image in self.images)

    @property
    def fooled(self) -> tuple[Image, ...]:
        """Those among them that are not any more."""
        return tuple(image for image in self.images if image.fooled)

    @property
    def success(self) -> float:
        """How many of the attacked were fooled, in percent."""
        return 100 * len(self.fooled) / self.attacked

    def mean(self, name: str) -> float:
        """The mean over the fooled of `queries`, `l2` or `linf`."""
        numbers = [getattr(image, name) for image in self.fooled]
        return float(np.mean(numbers)) if numbers else float("nan")

    @property
    def median_queries(self) -> float:
        """Over the fooled; of an even number, the mean of the middle two."""
        return float(np.median([i.queries for i in self.fooled])) if self.fooled else float("nan")


@dataclass(frozen=True, eq=False)
class Block:
    """Images that are attacked together."""

    images: Tensor
    """(N, channels, H, W) float32 in [0, 1]."""
    labels: Tensor
    """(N,) int64."""
    rows: Tensor
    """(N,) int64, in the bundle."""


ATTACKS: Mapping[Kind, Attack] = {
    "simba": lambda how, model, block: simba(
        *(model, block.images, block.labels, block.rows), how=how.simba, at_once=how.at_once
    ),
    "bandits": lambda how, model, block: bandits(
        *(model, block.images, block.labels, block.rows), how=how.bandits, at_once=how.at_once
    ),
}


def attack(
    folder: Path,
    data: str,
    *,
    how: Queries | None = None,
    context: str | None = None,
    anchors: str | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> list[Queried]:
    """Attack a finished run on a bundle, block by block; what was found before is read.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address. Of one with corruptions, its clean images.
        how: which attacks, and on what.
        context: the bundle that the run was trained on; default: where it was then.
        anchors: the bundle of anchors that the run had, if any; default: where it was then.
        device: a GPU where there is one, unless it is named.
        report: called with the images that are done, and their number.

    Raises:
        RunError: the run is not finished; the bundle has other classes or channels, or fewer
            images; the context or the anchors are not what it was trained on; the model has no
            image right, answers with NaN, or lets images depend on each other. What was found
            before stays.
        BundleError: a bundle is damaged.
    """
    data = Location(data)
    how = how or Queries()
    run, config, model = trained(folder)
    whole = stream(data)
    check_same_kind(run, whole, data)
    rows = _rows(whole, data, how)
    size = how.batch_size or config.batch_size
    where = best_device(device)
    known = anchors_of(run, anchors, where).images if isinstance(model, CNN2Graph) else None
    judge = Judge(model, "float32", where, known)
    keys: list[str] = []
    with full_float32():
        if config.head == "graph":
            chosen = context_of(run, config, context or run.data, size - 1, how.seed)
            keys = chosen.keys(torch.from_numpy(chosen.rows))
            judge.see(next(iter(chosen))["image"])
        about = {"bundle": whole.state_dict()["bundle"], "batch_size": size, "context": keys}
        target = _Target(judge, data, rows, about, folder / EVALUATIONS)
        found = _attacked(target, how, report)
    return [Queried(kind, tuple(images)) for kind, images in found.items()]


@dataclass(frozen=True, eq=False)
class _Target:
    """A model that is asked, and about what."""

    judge: Judge
    data: str
    rows: NDArray[np.int64]
    about: Mapping[str, Any]  # what decides the answers beside `Queries`
    evaluations: Path

    def __call__(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) in [0, 1] -> (N, C)."""
        with torch.inference_mode():
            features = self.judge.model.features(
                images.contiguous(memory_format=torch.channels_last)
            )
            return self.judge.logits(features, "transductive")

    def blocks(self, size: int) -> list[NDArray[np.int64]]:
        """The rows of the images that are attacked together."""
        return [self.rows[start : start + size] for start in range(0, len(self.rows), size)]

    def block(self, rows: NDArray[np.int64]) -> Block:
        """These images."""
        device = self.judge.device
        order = np.argsort(rows)
        batch = next(iter(stream(self.data, rows=rows[order].tolist(), batch_size=len(rows))))
        back = torch.from_numpy(np.argsort(order))
        images, labels = to_float(batch["image"])[back], batch["label"][back]
        return Block(images.to(device), labels.to(device), torch.from_numpy(rows).to(device))


def _attacked(target: _Target, how: Queries, report: Report | None) -> dict[Kind, list[Image]]:
    """All blocks of all attacks, as far as they are not known."""
    found: dict[Kind, list[Image]] = {kind: [] for kind in how.attacks}
    blocks = target.blocks(how.at_once)
    done, total = 0, len(how.attacks) * len(target.rows)
    checked = False
    for kind in how.attacks:
        question = _question(target, how, kind)
        place = target.evaluations / digest(question)
        for number, rows in enumerate(blocks):
            path = place / f"{number:04d}.json"
            if not path.exists():
                if not checked:
                    _check(target, how, blocks)
                    checked = True
                write_record(place / _QUESTION, question)
                outcome = ATTACKS[kind](how, target, target.block(rows))
                write_record(path, {"images": _records(outcome)})
            lines = json.loads(path.read_text("utf-8"))["images"]
            named = zip(rows.tolist(), lines, strict=True)
            found[kind] += [Image(attack=kind, row=row, **line) for row, line in named]
            done += len(rows)
            if report:
                report(done, total)
    return found


def _check(target: _Target, how: Queries, blocks: Sequence[NDArray[np.int64]]) -> None:
    """Refuse a model that cannot be attacked, before any of its images is.

    Raises:
        RunError: no image is right, or one depends on another.
    """
    for number, rows in enumerate(blocks):
        block = target.block(rows)
        if number == 0:
            check_independent(target, block.images, at_once=how.at_once)
        _, right = look(target, block.images, block.labels, at_once=how.at_once)
        if right.any():
            return
    raise RunError(f"none of {len(target.rows):,} images is classified correctly: none is attacked")


def _question(target: _Target, how: Queries, kind: Kind) -> dict[str, Any]:
    """What decides the answers, beside the run."""
    record = to_record(how)
    common = {name: record[name] for name in ("images", "skip", "at_once", "seed")}
    return {"method": "classify", "what": kind, **target.about, **common, kind: record[kind]}


def _records(found: Found) -> list[dict[str, Any]]:
    """A line for each image."""
    names = [one.name for one in dataclasses.fields(Image) if one.name not in ("attack", "row")]
    columns = [getattr(found, name).tolist() for name in names]
    return [dict(zip(names, numbers, strict=True)) for numbers in zip(*columns, strict=True)]


def _rows(whole: Stream, data: str, how: Queries) -> NDArray[np.int64]:
    """The rows of the images, in a random order. -> (images,).

    Raises:
        RunError: there are not as many.
    """
    cells = cells_of(whole.index).items()
    rows = next((rows for (name, _), rows in cells if name == CLEAN), whole.rows)
    if len(rows) < (wanted := how.skip + how.images):
        raise RunError(f"{data} has {len(rows):,} clean images; {wanted:,} were asked for")
    rng = np.random.default_rng(key(how.seed, "attacked"))
    return rng.permutation(rows)[how.skip : wanted].astype(np.int64)
