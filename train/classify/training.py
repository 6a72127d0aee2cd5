"""Training of image classifiers from a bundle, with whatever head; the head says what for.

Every draw is keyed by the seed and by what it is for, so a run that was stopped goes on to the
same losses, and no generator's state is kept.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.loaders.draws import Draws
from quire.loaders.stream import Stream
from quire.train.classify.anchors import Anchors, with_anchors
from quire.train.classify.augmentation import augmented
from quire.train.classify.objectives import Objective, objective_of
from quire.train.classify.run import Classify, Model, build_model, described, learning_rate
from quire.train.engine import checkpoint, loop
from quire.train.engine.mixture import Data, located, own, with_others
from quire.train.engine.options import Report, Running, autocast, key
from quire.train.engine.pretrained import load_pretrained
from quire.train.engine.ranks import Ranks, claimed, gathered, joined
from quire.train.engine.runs import MODEL
from quire.train.engine.subset import stream_of


def train(
    config: Classify,
    data: Data,
    out: Path,
    *,
    anchors: str | None = None,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files.

    Args:
        data: the bundle to train on, a folder or an address; or several and their shares.
        out: the run's folder (see `quire.train.engine.runs`).
        anchors: the bundle of images that a cnn2graph head compares all others with.
        report: called with the steps done and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on, or not with
            these anchors; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    data, place = located(data), own(data)
    running = running or Running()
    with joined(running.device) as ranks:
        batches = batches_of(config, data, ranks, running)
        config, run = described(config, place, batches)
        run, known = with_anchors(config, with_others(run, data), place, anchors, ranks.device)
        with claimed(out, run, ranks) as finished:
            if finished:
                return False
            torch.manual_seed(key(config.seed, "weights"))
            model = build_model(config, run).to(ranks.device).to(memory_format=torch.channels_last)
            if config.weights is not None:
                load_pretrained(model.encoder, config.weights)
            training = Training.new(config, model, batches, ranks, known)
            if running.compile:
                model.encoder.compile()
            files = out if ranks.first else None
            part = loop.Part(out=files, checkpoints=out, stream=batches, total=training.total)
            loop.run(training, part, running, report)
            if ranks.first:
                checkpoint.save_weights(out / MODEL, model)
                checkpoint.clear(out)
    return True


def batches_of(config: Classify, data: Data, ranks: Ranks, running: Running) -> Stream:
    """The shuffled batches of one rank, of all images or of those chosen.

    Raises:
        RunError: the ranks cannot share a batch, or nothing tells which image a sample shows.
    """
    if config.batch_size % ranks.size:
        raise RunError(f"a batch of {config.batch_size} cannot be shared by {ranks.size} processes")
    return stream_of(
        data,
        config.images,
        batch_size=config.batch_size // ranks.size,
        rank=ranks.rank,
        world_size=ranks.size,
        workers=running.workers,
        device=ranks.device,
        shuffle=True,
        seed=config.seed,
    )


@dataclass
class Training:
    """A run on its way: the model, what changes it, and how far it is."""

    nothing: ClassVar[Mapping[str, float]] = {"correct": 0, "images": 0}

    config: Classify
    model: Model
    objective: Objective
    optimizer: torch.optim.Optimizer
    batches: Stream
    step: int = 0  # steps done

    @classmethod
    def new(
        cls,
        config: Classify,
        model: Model,
        batches: Stream,
        ranks: Ranks,
        anchors: Anchors | None = None,
    ) -> "Training":
        """At the first step."""
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        objective = objective_of(config, model.train(), ranks, anchors)
        return cls(config, model, objective, optimizer, batches)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * len(self.batches)

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 0."""
        return self.step // len(self.batches)

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left, epoch after epoch."""
        while self.step < self.total:
            yield from self.batches

    def update(self, batch: dict[str, Any]) -> loop.Step:
        """One step; the images of all ranks are counted, and those classified correctly."""
        config, images = self.config, self.augmented(batch)
        labels, rows = gathered(torch.stack([batch["label"], batch["row"]], dim=1)).unbind(dim=1)
        rate = learning_rate(config, self.step / self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(key(config.seed, "step", self.step))  # for what the head drops
        with autocast(config.precision, images.device):
            outcome = self.objective(images, labels, self.epoch)
        self.optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        self.optimizer.step()
        self.step += 1
        correct = (outcome.logits.argmax(dim=1) == labels).sum()
        return loop.Step(
            outcome.loss,
            rows,
            counts={"correct": correct, "images": len(labels)},
            numbers={**outcome.terms, "lr": rate},
        )

    def augmented(self, batch: dict[str, Any]) -> Tensor:
        """(b, channels, H, W) uint8 -> the same in [0, 1], changed at random."""
        draws = Draws(self.config.seed, self.epoch, batch["row"])
        return augmented(self.config, batch["image"], draws)

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of an epoch."""
        accuracy = 100 * int(counts["correct"]) / counts["images"]
        return {"epoch": self.epoch, "train_accuracy": accuracy}
