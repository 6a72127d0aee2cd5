"""The steps of a classifier's training, whatever they minimise.

Every draw is keyed by the seed and by what it is for, so a run that was stopped goes on to the
same losses, and no generator's state is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

import torch
from torch import Tensor

from quire.loaders.draws import Draws
from quire.loaders.stream import Stream
from quire.models.contrastive import Contrastive
from quire.train.classify.anchors import Anchors
from quire.train.classify.augmentation import augmented
from quire.train.classify.objectives import Objective, objective_of, views_of
from quire.train.classify.run import Classify, Model, learning_rate
from quire.train.engine import loop
from quire.train.engine.options import autocast, key
from quire.train.engine.ranks import Ranks, gathered

Test: TypeAlias = Callable[[], float]


@dataclass
class Training:
    """A run on its way: the model, what changes it, and how far it is."""

    nothing: ClassVar[Mapping[str, float]] = {"correct": 0, "images": 0}

    config: Classify
    model: Model | Contrastive
    objective: Objective
    optimizer: torch.optim.Optimizer
    batches: Stream
    step: int = 0  # steps done
    test: Test | None = None  # the accuracy on other images, in percent
    test_every: int = 1  # epochs

    @classmethod
    def new(
        cls,
        config: Classify,
        model: Model,
        batches: Stream,
        ranks: Ranks,
        anchors: Anchors | None = None,
    ) -> Self:
        """At the first step of a run that is one training."""
        return cls.by(config, model, objective_of(config, model.train(), ranks, anchors), batches)

    @classmethod
    def by(
        cls, config: Classify, model: Model | Contrastive, objective: Objective, batches: Stream
    ) -> Self:
        """At the first step of what minimises this objective."""
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        model.train()
        if config.frozen:
            whole = model.classifier if isinstance(model, Contrastive) else model
            whole.encoder.requires_grad_(False).eval()
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
        logits = outcome.logits
        correct = 0 if logits is None else (logits.argmax(dim=1) == labels).sum()
        return loop.Step(
            outcome.loss,
            rows,
            counts={"correct": correct, "images": len(labels)},
            numbers={**outcome.terms, "lr": rate},
        )

    def augmented(self, batch: dict[str, Any]) -> Tensor:
        """(b, channels, H, W) uint8 -> (V b, ...) in [0, 1]: views of each, changed at random."""
        seeds = (self.config.seed, key(self.config.seed, "second view"))
        views = [
            augmented(self.config, batch["image"], Draws(seed, self.epoch, batch["row"]))
            for seed in seeds[: views_of(self.config)]
        ]
        return views[0] if len(views) == 1 else torch.cat(views)

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of an epoch."""
        found = {"train_accuracy": 100 * int(counts["correct"]) / counts["images"]}
        due = self.epoch % self.test_every == 0 or self.step == self.total
        if self.test is not None and due:
            found["test_accuracy"] = self.test()
        return {"epoch": self.epoch, **found}
