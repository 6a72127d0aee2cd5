"""Training of many sparse networks, a group of them side by side and group after group.

The networks of a group see the same batches, in an order that hangs on their seed alone. A group
begins with a new optimizer, and ends with its file; so a run that was stopped goes on to the same
weights.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artifacts.errors import RunError
from loaders.augment import to_float
from loaders.stream import Stream
from models.sparse_batch import SparseNetworks, cross_entropies
from train import checkpoint
from train.failure import flush
from train.metrics import Clock, Log
from train.networks.fit import Fit
from train.networks.member import Group
from train.networks.stored import finish, group_path, save_group
from train.running import Report, Running, best_device
from train.runs import Run, claim
from train.subset import stream_of


def batches_of(config: Fit, data: str, seed: int, running: Running) -> Stream:
    """The shuffled batches of one seed, of all images or of those chosen.

    Raises:
        RunError: nothing tells which image a sample shows.
    """
    return stream_of(
        data,
        config.images,
        batch_size=config.batch_size,
        workers=running.workers,
        device=best_device(running.device),
        shuffle=True,
        seed=seed,
    )


@dataclass
class Training:
    """A group on its way: the networks, what changes them, and how far they are."""

    group: Group
    networks: SparseNetworks
    kept: Tensor | None  # (M, E) bool: which connections each network has, of those of one graph
    optimizer: torch.optim.Optimizer
    batches: Stream
    step: int = 0  # steps done
    correct: Tensor | int = 0  # (M,): of this epoch's images, so far, each network's right ones
    images: int = 0  # images of this epoch, so far

    @classmethod
    def new(
        cls,
        config: Fit,
        group: Group,
        networks: SparseNetworks,
        batches: Stream,
        *,
        kept: Tensor | None = None,
    ) -> "Training":
        """At the first step; hidden connections that are not in `kept` are 0, and stay so."""
        if kept is not None:
            _without(networks, ~kept.to(networks.output_bias.device))
        # fused: all of Adam in one pass over the numbers, which else takes as long as all the rest
        optimizer = torch.optim.Adam(
            networks.train().parameters(), lr=config.lr, betas=config.betas, fused=True
        )
        batches.set_epoch(group.known)
        return cls(group, networks, kept, optimizer, batches)

    @property
    def total(self) -> int:
        """Steps of the group."""
        return self.group.epochs * len(self.batches)

    @property
    def before(self) -> int:
        """Steps of the groups before."""
        return self.group.before * len(self.batches)

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left, epoch after epoch."""
        while self.step < self.total:
            yield from self.batches

    def update(self, batch: Mapping[str, Any]) -> Tensor:
        """One step of every network. Returns their losses (M,)."""
        labels = batch["label"]
        logits = self.networks(to_float(batch["image"]).flatten(1))
        losses = cross_entropies(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        self.step += 1
        self.correct = self.correct + (logits.argmax(dim=2) == labels).sum(dim=1)
        self.images += len(labels)
        return losses.detach()

    def epoch_ends(self) -> dict[str, float] | None:
        """What there is to say of an epoch, when one has just ended."""
        if self.step % len(self.batches) or not isinstance(self.correct, Tensor):
            return None
        accuracy = 100 * self.correct.double().mean().item() / self.images
        least = 100 * int(self.correct.min()) / self.images
        self.correct, self.images = 0, 0
        return {
            self.group.what: self.group.index,
            "epoch": self.group.known + self.step // len(self.batches),
            "train_accuracy": accuracy,
            "least_train_accuracy": least,
        }

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        folder.mkdir(exist_ok=True)
        rest = {
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "correct": self.correct,
            "images": self.images,
        }
        checkpoint.save(folder, self.step, self.networks, rest)

    def restore(self, folder: Path) -> None:
        """Go on at the last checkpoint, where there is one.

        Raises:
            RunError: it is damaged, or of other networks.
        """
        try:
            found = checkpoint.restore(folder, self.networks)
            if found is None:
                return
            self.step, rest = found
            self.optimizer.load_state_dict(rest["optimizer"])
            self.batches.load_state_dict(rest["batches"])
            correct, self.images = rest["correct"], rest["images"]
            self.correct = correct.to(self.networks.output_bias.device) if self.images else 0
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise RunError(f"the checkpoint in {folder} is not of this run ({error})") from error


def train_groups(
    run: Run,
    groups: Sequence[Group],
    begun: Callable[[Group], Training],
    out: Path,
    running: Running,
    report: Report | None,
) -> bool:
    """Train every group that is not trained yet, in a run's folder; False if all were before.

    `begun` gives a group at its first step. When it is called, the groups before are on disk.

    Raises:
        RunError: the folder belongs to another run; a checkpoint is damaged; or a loss is NaN or
            infinite, with the network, the step and the batch.
    """
    epochs = sum(group.epochs for group in groups)
    with claim(out, run) as finished:
        if finished:
            return False
        for group in groups:
            path = group_path(out, group.name)
            path.parent.mkdir(exist_ok=True)
            if not path.exists():
                training = begun(group)
                _train(training, out, epochs * len(training.batches), running, report)
                save_group(path, group.members, training.networks, training.kept)
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)  # its checkpoints
        finish(out, [member for group in groups for member in group.members])
    return True


def _train(
    training: Training, out: Path, total: int, running: Running, report: Report | None
) -> None:
    """Every step of a group that is left; its checkpoints lie where its weights will."""
    folder = group_path(out, training.group.name).with_suffix("")
    names = list(map(str, training.group.members))
    training.restore(folder)
    before, clock = training.before, Clock(running.checkpoint_seconds)
    with Log(out, step=before + training.step, tensorboard=running.tensorboard) as log:
        for batch in clock.timed(training.left()):
            log.step(before + training.step + 1, training.update(batch), batch["row"])
            epoch, due = training.epoch_ends(), clock.due()
            if epoch or due or training.step % running.log_every == 0:
                flush(log, training.batches, out, names)
            if epoch:
                log.write(before + training.step, epoch | clock.read())
            if due:
                training.save(folder)
            if report:
                report(before + training.step, total)


def _without(networks: SparseNetworks, removed: Tensor) -> None:
    """Take hidden connections, (M, E) bool, from networks: they are 0, and stay so.

    An Adam that begins with nothing on them never moves them, as they have no gradient.
    """
    weight, gone = networks.hidden.weight, removed.flatten()
    with torch.no_grad():
        weight.masked_fill_(gone, 0)

    def no_gradient(weight: Tensor) -> None:
        assert weight.grad is not None
        weight.grad.masked_fill_(gone, 0)

    weight.register_post_accumulate_grad_hook(no_gradient)
