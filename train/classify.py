"""Training of image classifiers from a bundle, with a similarity graph over the batch or without.

Every draw is keyed by the seed and by what it is for, so a run that was stopped goes on to the
same losses, and no generator's state is kept.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artifacts.digest import whole_file
from artifacts.errors import RunError
from loaders.augment import random_flip, random_resized_crop, to_float
from loaders.draws import Draws
from loaders.stream import Stream, stream
from models.classifier import Classifier
from train import checkpoint
from train.classifier_run import Classify, build_model, described, learning_rate
from train.metrics import Clock, Log, NotFinite
from train.ranks import Ranks, gathered, joined, over_ranks
from train.running import Report, Running, autocast, key
from train.runs import FAILED, MODEL, claim
from train.subset import rows_of


def train(
    config: Classify,
    data: str,
    out: Path,
    *,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files.

    Args:
        data: the bundle to train on: a folder, or an address.
        out: the run's folder (see `train.runs`).
        report: called with the steps done and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on; or a loss is
            NaN or infinite, with the step and the batch's keys.
        BundleError: the bundle is damaged.
    """
    running = running or Running()
    with joined(running.device) as ranks, ExitStack() as held:
        batches = batches_of(config, data, ranks, running)
        config, run = described(config, data, batches)
        if ranks.first and held.enter_context(claim(out, run)):
            return False
        if ranks.size > 1:
            torch.distributed.barrier()  # nobody reads the folder before it is claimed
        held.enter_context(torch.random.fork_rng([ranks.device] * (ranks.device.type == "cuda")))
        torch.manual_seed(key(config.seed, "weights"))
        model = build_model(config, run).to(ranks.device).to(memory_format=torch.channels_last)
        training = Training.new(config, model, batches, ranks)
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
    options: dict[str, Any] = {
        "batch_size": config.batch_size // ranks.size,
        "rank": ranks.rank,
        "world_size": ranks.size,
        "workers": running.workers,
        "device": ranks.device,
        "shuffle": True,
        "seed": config.seed,
    }
    whole = stream(data, **options)
    if config.images is None:
        return whole
    return stream(data, rows=rows_of(whole, config.images).tolist(), **options)


@dataclass
class Training:
    """A run on its way: the model, what changes it, and how far it is."""

    config: Classify
    model: Classifier
    together: nn.Module  # the model as all ranks train it
    optimizer: torch.optim.Optimizer
    batches: Stream
    step: int = 0  # steps done
    correct: Tensor | int = 0  # images of this epoch, so far, that were classified correctly
    images: int = 0  # images of this epoch, so far

    @classmethod
    def new(cls, config: Classify, model: Classifier, batches: Stream, ranks: Ranks) -> "Training":
        """At the first step."""
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        return cls(config, model.train(), over_ranks(model, ranks), optimizer, batches)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * len(self.batches)

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left, epoch after epoch."""
        while self.step < self.total:
            yield from self.batches

    def update(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, float]:
        """One step. Returns the loss (), the rows of the whole batch (B,), the learning rate."""
        config, images = self.config, self.augmented(batch)
        labels, rows = gathered(torch.stack([batch["label"], batch["row"]], dim=1)).unbind(dim=1)
        rate = learning_rate(config, self.step / self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(key(config.seed, "step", self.step))  # for what the head drops
        with autocast(config.precision, images.device):
            logits = self.together(images)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self.correct = self.correct + (logits.argmax(dim=1) == labels).sum()
        self.images += len(labels)
        return loss.detach(), rows, rate

    def augmented(self, batch: dict[str, Any]) -> Tensor:
        """(b, channels, H, W) uint8 -> the same in [0, 1], cropped and flipped at random."""
        config, images = self.config, to_float(batch["image"])
        draws = Draws(config.seed, self.step // len(self.batches), batch["row"])
        if config.crop != (1, 1):
            images = random_resized_crop(images, draws=draws, scale=config.crop)
        if config.flip:
            images = random_flip(images, draws=draws)
        return images.contiguous(memory_format=torch.channels_last)

    def epoch_ends(self) -> dict[str, float] | None:
        """What there is to say of an epoch, when one has just ended."""
        if self.step % len(self.batches):
            return None
        accuracy = 100 * int(self.correct) / self.images
        self.correct, self.images = 0, 0
        return {"epoch": self.step // len(self.batches), "train_accuracy": accuracy}

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
            loss, rows, rate = training.update(batch)
            log.step(training.step, loss, rows, lr=rate)
            epoch = training.epoch_ends()
            due = out is not None and clock.due()
            if epoch or due or training.step % running.log_every == 0:
                _flush(log, training.batches, out)
            if epoch:
                log.write(training.step, epoch | clock.read())
            if due and out is not None:
                training.save(out)
            if report:
                report(training.step, training.total)


def _flush(log: Log, batches: Stream, out: Path | None) -> None:
    """Look at the losses; one that is NaN or infinite ends the run, with its batch on record."""
    try:
        log.flush()
    except NotFinite as error:
        keys = batches.keys(error.rows)
        place = "" if out is None else f"; all are in {out / FAILED}"
        if out is not None:
            with whole_file(out / FAILED) as file:
                failed = {"step": error.step, "loss": str(error.loss), "keys": keys}
                file.write(json.dumps(failed, indent=1).encode())
        some = ", ".join(keys[:3])
        raise RunError(f"{error}; its batch of {len(keys)} begins with {some}{place}") from error
