"""Supervised contrastive learning in its two stages: an encoder, and then a linear layer.

The weights of the first stage are kept, so a run that is stopped in the second does not repeat it.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from quire.loaders.stream import Stream
from quire.models.classifier import Classifier
from quire.models.contrastive import Contrastive
from quire.train.classify.baselines import SupConConfig
from quire.train.classify.objectives import CrossEntropy, SupervisedContrast
from quire.train.classify.run import Classify
from quire.train.classify.steps import Test, Training
from quire.train.engine import checkpoint, loop
from quire.train.engine.options import Report, Running, key
from quire.train.engine.ranks import Ranks, over_ranks, views_over_ranks
from quire.train.engine.runs import CONTRAST

_STAGES = ("contrast", "probe")  # the folders of their checkpoints


class ContrastTraining(Training):
    """The first stage on its way: nothing is classified in it."""

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of an epoch."""
        return {"stage": 1, "epoch": self.epoch}


class ProbeTraining(Training):
    """The second stage on its way."""

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of an epoch."""
        return {"stage": 2, **super().epoch_ends(counts)}


def probe_of(config: Classify) -> Classify:
    """How the linear layer is trained: on images that are cropped and flipped, without decay."""
    own = config.supcon
    return replace(
        config,
        objective="cross-entropy",
        supcon=SupConConfig(),
        epochs=own.epochs,
        lr=own.lr,
        milestones=own.milestones,
        gamma=own.gamma,
        warmup=0.0,
        weight_decay=0.0,
        jitter=(0.0, 0.0, 0.0),
        hue=0.0,
        grey=0.0,
        seed=key(config.seed, "probe"),
    )


def learn(
    config: Classify,
    model: Classifier,
    batches: tuple[Stream, Stream],
    ranks: Ranks,
    out: Path,
    running: Running,
    report: Report | None,
    *,
    test: tuple[Test | None, int] = (None, 1),
) -> None:
    """Train a fresh classifier in two stages; `batches` are those of each.

    `test` is of the second stage: see `Training`.

    Raises:
        RunError: see `quire.train.engine.loop.run`.
    """
    second = probe_of(config)
    steps = [config.epochs * len(batches[0]), second.epochs * len(batches[1])]
    files = out if ranks.first else None
    contrastive = Contrastive(model, config.supcon.width).to(ranks.device)
    kept = out / CONTRAST
    if kept.exists():  # the first stage was finished before
        checkpoint.load_weights(kept, contrastive)
    else:
        model.head.requires_grad_(False)  # it has no part in this stage
        together = views_over_ranks(model, contrastive.projection, 2, ranks)
        objective = SupervisedContrast(together, config.supcon)
        if running.compile:
            model.encoder.compile()
        first = ContrastTraining.by(config, contrastive, objective, batches[0])
        _carry_out(first, 0, steps, files, out, running, report)
        if ranks.first:
            checkpoint.save_weights(kept, contrastive)
            shutil.rmtree(out / _STAGES[0], ignore_errors=True)
    model.head.requires_grad_(True)
    model.encoder.requires_grad_(False)
    torch.manual_seed(key(config.seed, "probe weights"))
    model.head.final.reset_parameters()
    entropy = CrossEntropy(over_ranks(model, ranks))
    if running.compile:
        model.encoder.compile()
    probe = ProbeTraining.by(second, model, entropy, batches[1])
    probe.test, probe.test_every = test
    model.encoder.eval()
    _carry_out(probe, 1, steps, files, out, running, report)
    if ranks.first:
        shutil.rmtree(out / _STAGES[1], ignore_errors=True)


def _carry_out(
    training: Training,
    stage: int,
    steps: list[int],
    files: Path | None,
    out: Path,
    running: Running,
    report: Report | None,
) -> None:
    part = loop.Part(
        out=files,
        checkpoints=out / _STAGES[stage],
        stream=training.batches,
        before=sum(steps[:stage]),
        total=sum(steps),
    )
    loop.run(training, part, running, report)
