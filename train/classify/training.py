"""Training of image classifiers from a bundle, with whatever head; the head says what for.

Every draw is keyed by the seed and by what it is for, so a run that was stopped goes on to the
same losses, and no generator's state is kept.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import RunError
from loaders.draws import Draws
from loaders.stream import Stream
from train import checkpoint
from train.classify.anchors import Anchors, with_anchors
from train.classify.augmentation import augmented
from train.classify.objectives import Objective, Outcome, objective_of
from train.classify.run import Classify, Model, build_model, described, learning_rate
from train.failure import flush
from train.metrics import Clock, Log
from train.pretrained import load_pretrained
from train.ranks import Ranks, gathered, joined
from train.running import Report, Running, autocast, key
from train.runs import MODEL, claim
from train.subset import stream_of


def train(
    config: Classify,
    data: str,
    out: Path,
    *,
    anchors: str | None = None,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files.

    Args:
        data: the bundle to train on: a folder, or an address.
        out: the run's folder (see `train.runs`).
        anchors: the bundle of images that a cnn2graph head compares all others with.
        report: called with the steps done and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on, or not with
            these anchors; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    running = running or Running()
    with joined(running.device) as ranks, ExitStack() as held:
        batches = batches_of(config, data, ranks, running)
        config, run = described(config, data, batches)
        run, known = with_anchors(config, run, anchors, ranks.device)
        if ranks.first and held.enter_context(claim(out, run)):
            return False
        if ranks.size > 1:
            torch.distributed.barrier()  # nobody reads the folder before it is claimed
        held.enter_context(torch.random.fork_rng([ranks.device] * (ranks.device.type == "cuda")))
        torch.manual_seed(key(config.seed, "weights"))
        model = build_model(config, run).to(ranks.device).to(memory_format=torch.channels_last)
        if config.weights is not None:
            load_pretrained(model.encoder, config.weights)
        training = Training.new(config, model, batches, ranks, known)
        training.restore(out)
        if running.compile:
            model.encoder.compile()
        _run(training, out if ranks.first else None, running, report)
        if ranks.first:
            checkpoint.save_weights(out / MODEL, model)
            checkpoint.clear(out)
    return True


def batches_of(config: Classify, data: str, ranks: Ranks, running: Running) -> Stream:
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

    config: Classify
    model: Model
    objective: Objective
    optimizer: torch.optim.Optimizer
    batches: Stream
    step: int = 0  # steps done
    correct: Tensor | int = 0  # images of this epoch, so far, that were classified correctly
    images: int = 0  # images of this epoch, so far

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

    def update(self, batch: dict[str, Any]) -> tuple[Outcome, Tensor, float]:
        """One step. Returns what came of it, the rows of the batch (B,), the learning rate."""
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
        self.correct = self.correct + (outcome.logits.argmax(dim=1) == labels).sum()
        self.images += len(labels)
        return outcome, rows, rate

    def augmented(self, batch: dict[str, Any]) -> Tensor:
        """(b, channels, H, W) uint8 -> the same in [0, 1], changed at random."""
        draws = Draws(self.config.seed, self.epoch, batch["row"])
        return augmented(self.config, batch["image"], draws)

    def epoch_ends(self) -> dict[str, float] | None:
        """What there is to say of an epoch, when one has just ended."""
        if self.step % len(self.batches):
            return None
        accuracy = 100 * int(self.correct) / self.images
        self.correct, self.images = 0, 0
        return {"epoch": self.epoch, "train_accuracy": accuracy}

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        rest = {
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "correct": int(self.correct),
            "images": self.images,
        }
        checkpoint.save(folder, self.step, self.model, rest)

    def restore(self, folder: Path) -> None:
        """Go on at the last checkpoint, where there is one.

        Raises:
            RunError: it is damaged.
        """
        found = checkpoint.restore(folder, self.model)
        if found is None:
            return
        self.step, rest = found
        try:
            self.optimizer.load_state_dict(rest["optimizer"])
            self.batches.load_state_dict(rest["batches"])
            self.correct, self.images = rest["correct"], rest["images"]
        except (KeyError, ValueError) as error:
            raise RunError(f"the checkpoint in {folder} is not of this run ({error})") from error


def _run(training: Training, out: Path | None, running: Running, report: Report | None) -> None:
    """Every step that is left. `out` is where metrics and checkpoints go: None but on one rank."""
    torch.backends.cudnn.benchmark = True  # batches have one shape, so the search pays
    clock = Clock(running.checkpoint_seconds)
    with Log(out, step=training.step, tensorboard=running.tensorboard) as log:
        for batch in clock.timed(training.left()):
            outcome, rows, rate = training.update(batch)
            log.step(training.step, outcome.loss, rows, **outcome.terms, lr=rate)
            epoch = training.epoch_ends()
            due = out is not None and clock.due()
            if epoch or due or training.step % running.log_every == 0:
                flush(log, training.batches, out)
            if epoch:
                log.write(training.step, epoch | clock.read())
            if due and out is not None:
                training.save(out)
            if report:
                report(training.step, training.total)
