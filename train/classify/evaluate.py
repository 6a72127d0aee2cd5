"""How well a trained classifier does on each cell of a bundle, in both settings of the paper.

Of mini-batch similarity graphs (Mondal, Jain & Siddiqi 2021, section 3.1); of other heads they are
the same, for an image is classified by itself. *Inductive*: the graph is over a mini-batch of test
images. *Transductive*: over one test image and B - 1 training images, and that one's prediction
alone counts. These training images, the context, are chosen once by a seed, are not augmented, are
the same for every test image, and are recorded. The model is in evaluation mode throughout, so
batch normalisation passes nothing from one image to another.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.errors import BundleError, RunError
from quire.artifacts.fields import check_at_least
from quire.loaders.augment import to_float
from quire.loaders.stream import Stream, stream
from quire.models.cnn2graph import CNN2Graph
from quire.models.cross_attention import ProxySet
from quire.train.classify.anchors import anchors_of
from quire.train.classify.run import Classify, Model, trained
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.options import Precision, Report, autocast, best_device, key
from quire.train.engine.runs import (
    EVALUATIONS,
    Run,
    digest,
    to_record,
    write_record,
)
from quire.train.engine.subset import rows_of
from quire.train.report.corruption_cells import CLEAN, Cell, Cells, cells_of, severities

_PART = 512  # images that are encoded at once
Setting: TypeAlias = Literal["inductive", "transductive"]
ALL: Cell = ("all", 0.0)  # the one cell of a bundle that has none


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Measure a trained classifier on every cell of a bundle."""

    settings: tuple[Setting, ...] = ("inductive", "transductive")
    """Where a test image's neighbours come from: its mini-batch, or the training images."""
    corruptions: tuple[str, ...] = ()
    """Only these corruptions (clean is one); default: all."""
    images: int | None = None
    """Measure on so many test images, chosen at random once and for all; default: all."""
    batch_size: int | None = None
    """Nodes of a graph; default: as many as in training."""
    seed: int = 0
    """Chooses the training images of the context, and which test images come together."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the run.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "images", "batch_size", error=RunError)
        if not self.settings:
            raise RunError("no setting is named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How many images of a cell were classified correctly."""

    setting: str
    corruption: str
    severity: float
    images: int
    correct: int

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.correct / self.images


def evaluate(
    folder: Path,
    data: str,
    *,
    how: Evaluate | None = None,
    context: str | None = None,
    anchors: str | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> list[Measured]:
    """Measure a finished run on a bundle; what was measured before is read, not measured again.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address.
        context: the bundle that the run was trained on; default: where it was then.
        anchors: the bundle of anchors that the run had, if any; default: where it was then.
        device: a GPU where there is one, unless it is named.
        report: called with the images that are done, and their number.

    Raises:
        RunError: the run is not finished, the bundle has other classes or channels than the run, or
            the context or the anchors are not what it was trained on.
        BundleError: a bundle is damaged, or lacks what is asked for.
    """
    data = Location(data)
    how = how or Evaluate()
    run, config, model = trained(folder)
    whole = stream(data)
    check_same_kind(run, whole, data)
    size = how.batch_size or config.batch_size
    question = {**to_record(how), "batch_size": size, "bundle": whole.state_dict()["bundle"]}
    path = folder / EVALUATIONS / f"{digest(question)}.json"
    if path.exists():
        return [Measured(**record) for record in json.loads(path.read_text("utf-8"))["measured"]]
    where = best_device(device)
    known = anchors_of(run, anchors, where).images if isinstance(model, CNN2Graph) else None
    judge = Judge(model, config.precision, where, known)
    keys: list[str] = []
    if "transductive" in how.settings and config.head == "graph":
        if size < 2:
            raise RunError("a transductive graph needs two nodes; batch_size is 1")
        chosen = context_of(run, config, context or run.data, size - 1, how.seed)
        keys = chosen.keys(torch.from_numpy(chosen.rows))
        judge.see(next(iter(chosen))["image"])
    measured = _measure(judge, whole, data, how, size, report)
    found = {"question": question, "context": keys, "measured": list(map(asdict, measured))}
    write_record(path, found)
    return measured


class Judge:
    """A model that classifies batches of images in either setting."""

    def __init__(
        self,
        model: Model,
        precision: Precision,
        device: torch.device,
        anchors: Tensor | None = None,
    ) -> None:
        """`anchors` (A, channels, H, W) uint8 are for CNN2Graph: they are embedded here, once."""
        self.model = model.eval().to(device).to(memory_format=torch.channels_last)
        self.precision: Precision = precision
        self.device = device
        self.context = torch.empty(0, 0, device=device)  # (M, F)
        self.proxy_set: ProxySet | None = None
        if isinstance(model, CNN2Graph) and anchors is not None:
            with torch.inference_mode(), autocast(precision, device):
                self.proxy_set = model.head.prepare(self.embedded(anchors))

    def features(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) uint8 -> (B, F)."""
        images = to_float(images.to(self.device))
        return self.model.features(images.contiguous(memory_format=torch.channels_last))

    def embedded(self, images: Tensor) -> Tensor:
        """However many images, without gradients. (N, channels, H, W) uint8 -> (N, F)."""
        with torch.inference_mode(), autocast(self.precision, self.device):
            return torch.cat([self.features(part) for part in images.split(_PART)])

    def see(self, images: Tensor) -> None:
        """Take training images as the context from now on. (M, channels, H, W) uint8."""
        self.context = self.embedded(images)

    def correct(self, batch: dict[str, Any], settings: Sequence[Setting]) -> dict[Setting, Tensor]:
        """How many of a batch are classified correctly: () int64 for each setting."""
        labels = batch["label"].to(self.device)
        with torch.inference_mode(), autocast(self.precision, self.device):
            features = self.features(batch["image"])
            logits = {setting: self.logits(features, setting) for setting in settings}
        return {setting: (own.argmax(1) == labels).sum() for setting, own in logits.items()}

    def logits(self, features: Tensor, setting: Setting) -> Tensor:
        """(B, F) -> (B, C)."""
        if isinstance(self.model, CNN2Graph):
            assert self.proxy_set is not None, "it was given no anchors"
            return self.model.head.forward(features, self.proxy_set)
        if setting == "inductive":
            return self.model.head.forward(features)
        return self.model.head.transductive(features, self.context)


def test_accuracy(judge: Judge, data: str, batch_size: int) -> float:
    """How many of a bundle's clean images are classified correctly, inductive, in percent."""
    whole = stream(data)
    clean: tuple[str, ...] = (CLEAN,) if cells_of(whole.index) else ()
    how = Evaluate(settings=("inductive",), corruptions=clean)
    (found,) = _measure(judge, whole, data, how, batch_size, None)
    return found.accuracy


def _measure(
    judge: Judge, whole: Stream, data: str, how: Evaluate, size: int, report: Report | None
) -> list[Measured]:
    """Every cell in turn; the same images come together in each."""
    cells = rows_of_cells(whole, how)
    total, done = sum(map(len, cells.values())), 0
    measured = []
    for (corruption, severity), rows in cells.items():
        batches = stream(
            data,
            rows=rows.tolist(),
            batch_size=size,
            shuffle=True,
            seed=how.seed,
            device=judge.device,
        )
        correct: dict[Setting, list[Tensor]] = {setting: [] for setting in how.settings}
        for batch in batches:
            for setting, count in judge.correct(batch, how.settings).items():
                correct[setting].append(count)
            done += len(batch["row"])
            if report:
                report(done, total)
        measured += [
            Measured(
                setting=setting,
                corruption=corruption,
                severity=severity,
                images=len(rows),
                correct=int(torch.stack(counts).sum()),
            )
            for setting, counts in correct.items()
        ]
    return measured


def rows_of_cells(whole: Stream, how: Evaluate) -> Cells:
    """The rows to measure on in each cell; a bundle without cells is one.

    Raises:
        RunError: there is no such corruption, or nothing tells which image a sample shows.
    """
    cells = cells_of(whole.index) or {ALL: whole.rows}
    if unknown := set(how.corruptions) - {corruption for corruption, _ in cells}:
        there = ", ".join(severities(cells))
        raise RunError(f"the bundle has no corruption {min(unknown)!r}; there are: {there}")
    if how.corruptions:
        cells = {cell: rows for cell, rows in cells.items() if cell[0] in how.corruptions}
    if how.images is None:
        return cells
    kept = rows_of(whole, how.images)
    return {cell: np.intersect1d(rows, kept) for cell, rows in cells.items()}


def context_of(run: Run, config: Classify, data: str, size: int, seed: int) -> Stream:
    """Training images of the run, chosen at random: one batch. -> `size` images, or all.

    Raises:
        RunError: the bundle is not there, or not the one that the run was trained on.
    """
    data = Location(data)
    try:
        trained_on = stream(data)
    except (BundleError, OSError) as error:
        raise RunError(f"the training images are wanted ({error}): name their bundle") from error
    if trained_on.state_dict()["bundle"] != run.bundle:
        raise RunError(f"{data} is not the bundle that the run was trained on")
    rows = trained_on.rows if config.images is None else rows_of(trained_on, config.images)
    rng = np.random.default_rng(key(seed, "context"))
    some = np.sort(rng.permutation(rows)[:size])
    return stream(data, rows=some.tolist(), batch_size=len(some))
