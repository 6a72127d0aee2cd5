"""Training of many sparse networks, a group of them jointly and group after group.

The networks of a group see the same batches, in an order that hangs on their seed alone. A group
begins with a new optimizer, and ends with its file; so a run that was stopped goes on to the same
weights.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from quire.loaders.augment import to_float
from quire.loaders.stream import Stream
from quire.models.sparse_batch import SparseNetworks, cross_entropies
from quire.train.engine import loop
from quire.train.engine.mixture import Data
from quire.train.engine.options import Report, Running, best_device
from quire.train.engine.runs import Run, claim
from quire.train.engine.subset import stream_of
from quire.train.sparse.fit import Fit
from quire.train.sparse.groups import Group
from quire.train.sparse.storage import finish, group_path, save_group


def batches_of(config: Fit, data: Data, seed: int, running: Running) -> Stream:
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

    nothing: ClassVar[Mapping[str, float]] = {"correct": 0, "images": 0}

    group: Group
    networks: SparseNetworks
    kept: Tensor | None  # (M, E) bool: which connections each network has, of those of one graph
    optimizer: torch.optim.Optimizer
    batches: Stream
    step: int = 0  # steps done

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
    def model(self) -> SparseNetworks:
        """The networks are one model."""
        return self.networks

    @property
    def total(self) -> int:
        """Steps of the group."""
        return self.group.epochs * len(self.batches)

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left, epoch after epoch."""
        while self.step < self.total:
            yield from self.batches

    def update(self, batch: Mapping[str, Any]) -> loop.Step:
        """One step of every network; images are counted, and each network's right ones (M,)."""
        labels = batch["label"]
        logits = self.networks(to_float(batch["image"]).flatten(1))
        losses = cross_entropies(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self.optimizer.step()
        self.step += 1
        correct = (logits.argmax(dim=2) == labels).sum(dim=1)
        counts = {"correct": correct, "images": len(labels)}
        return loop.Step(losses.detach(), batch["row"], counts)

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of an epoch."""
        correct, images = counts["correct"], counts["images"]
        return {
            self.group.what: self.group.index,
            "epoch": self.group.known + self.step // len(self.batches),
            "train_accuracy": 100 * correct.double().mean().item() / images,
            "least_train_accuracy": 100 * int(correct.min()) / images,
        }


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
            checkpoints = path.with_suffix("")
            if not path.exists():
                training = begun(group)
                part = loop.Part(
                    out=out,
                    checkpoints=checkpoints,
                    stream=training.batches,
                    before=group.before * len(training.batches),
                    total=epochs * len(training.batches),
                    names=list(map(str, group.members)),
                )
                loop.run(training, part, running, report)
                save_group(path, group.members, training.networks, training.kept)
            shutil.rmtree(checkpoints, ignore_errors=True)
        finish(out, [member for group in groups for member in group.members])
    return True


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
