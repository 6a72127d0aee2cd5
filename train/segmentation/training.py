"""Training of segmentation: stage after stage, each from where the one before left the model.

Every draw is keyed by the seed and by what it is for, so a run that was stopped goes on to the
same losses, and no generator's state is kept. A stage begins with a new optimizer. Where processes
share a run, each blends, normalises and measures its loss over its own part of a batch, and the
gradients are averaged; on GPUs batches are normalised over all of them.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from quire.loaders.augment import to_float
from quire.loaders.draws import Draws
from quire.models.feature_binding import FeatureBinding
from quire.train.engine import checkpoint, loop
from quire.train.engine.options import Report, Running, autocast, key
from quire.train.engine.pretrained import load_pretrained
from quire.train.engine.ranks import Ranks, averaging, claimed, gathered, joined
from quire.train.segmentation.run import Model, Segment, build_model
from quire.train.segmentation.scenes import Batch, SceneBatches
from quire.train.segmentation.schedule import poly
from quire.train.segmentation.stages import Bundles, Stage, prepared


def train_segmentation(
    config: Segment,
    bundles: Bundles,
    out: Path,
    *,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files.

    Args:
        config: what to train.
        bundles: what to train on.
        out: the run's folder (see `quire.train.engine.runs`).
        running: how to.
        report: called with the steps done and their number, of all stages.

    Raises:
        RunError: the folder belongs to another run; the bundles cannot be trained on, or not with
            each other; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    running = running or Running()
    with joined(running.device) as ranks:
        run, stages = prepared(config, bundles, ranks, running)
        with claimed(out, run, ranks) as finished:
            if finished:
                return False
            model = _new(config, len(run.classes), ranks)
            if running.compile:
                model.encoder.compile()
            for stage in stages:
                weights = out / stage.weights
                if weights.exists():  # this stage was finished before
                    checkpoint.load_weights(weights, model)
                    continue
                part = loop.Part(
                    out=out if ranks.first else None,
                    checkpoints=out / stage.name,
                    stream=stage.batches.stream,
                    before=stage.before,
                    total=stages[-1].before + stages[-1].steps,
                )
                loop.run(Training.new(config, stage, model, ranks), part, running, report)
                if ranks.first:
                    checkpoint.save_weights(weights, model)
                    shutil.rmtree(part.checkpoints, ignore_errors=True)
    return True


def _new(config: Segment, classes: int, ranks: Ranks) -> Model:
    """The model before its first step, on the device of its rank."""
    torch.manual_seed(key(config.seed, "weights"))
    model = build_model(config, classes)
    if config.weights is not None:
        load_pretrained(model.encoder, config.weights)
    if ranks.size > 1 and ranks.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(ranks.device).to(memory_format=torch.channels_last).train()


@dataclass
class Training:
    """A stage on its way: the model, what changes it, and how far it is."""

    nothing: ClassVar[Mapping[str, float]] = {"losses": 0.0}

    config: Segment
    stage: Stage
    model: Model
    together: nn.Module  # the model as all ranks train it
    optimizer: torch.optim.Optimizer
    ranks: Ranks
    step: int = 0  # steps of this stage that are done

    @classmethod
    def new(cls, config: Segment, stage: Stage, model: Model, ranks: Ranks) -> "Training":
        """At the first step."""
        if config.frozen:
            model.encoder.requires_grad_(False).eval()
        if config.batch_norm == "frozen":
            for module in model.encoder.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.requires_grad_(False).eval()
        if isinstance(model, FeatureBinding) and model.binding is not None:
            model.binding.requires_grad_(stage.number == 1)  # it binds what are two sources
        groups = _groups(model, config.head_lr)
        optimizer = torch.optim.SGD(
            groups, lr=stage.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        return cls(config, stage, model, averaging(model, ranks), optimizer, ranks)

    @property
    def batches(self) -> SceneBatches:
        """Those of the stage."""
        return self.stage.batches

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 0."""
        return self.step // len(self.batches)

    def left(self) -> Iterator[Batch]:
        """The batches that are left, epoch after epoch."""
        while self.step < self.stage.steps:
            yield from self.batches

    def scored(self, images: Tensor) -> Any:
        """What the model says of images. (b, 3, H, W) uint8."""
        floats = to_float(images).contiguous(memory_format=torch.channels_last)
        with autocast(self.config.precision, images.device):
            return self.together(floats)

    def update(self, batch: Batch) -> loop.Step:
        """One step; its loss is counted, to be averaged over the epoch."""
        rate = poly(self.stage.lr, self.step, self.stage.steps, power=self.config.power)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        done = self.stage.before + self.step
        # for what the heads drop, in each rank its own
        torch.manual_seed(key(self.config.seed, "step", done, self.ranks.rank))
        draws = Draws(self.stage.seed, self.epoch, batch["row"])
        outcome = self.stage.objective(self.scored, self.stage.blend(batch, draws))
        self.optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        self.optimizer.step()
        self.step += 1
        terms = _averaged({"loss": outcome.loss.detach(), **outcome.terms})
        loss = terms.pop("loss")
        return loop.Step(
            loss,
            gathered(batch["row"]),
            counts={"losses": loss.double()},
            numbers={**terms, "lr": rate},
        )

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of an epoch."""
        mean = float(counts["losses"]) / len(self.batches)
        return {"stage": self.stage.number, "epoch": self.epoch, "mean_loss": mean}


def _groups(model: Model, head_lr: float) -> list[dict[str, Any]]:
    """What is learned, and how many times as fast as the rate says: the trunk, and the heads."""
    trunk = {id(parameter) for parameter in model.encoder.parameters()}
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = (
        {"params": [one for one in learned if id(one) in trunk], "times": 1.0},
        {"params": [one for one in learned if id(one) not in trunk], "times": head_lr},
    )
    return [group for group in groups if group["params"]]


def _averaged(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over ranks of each number: a loss that is NaN for one is for all. () each."""
    means = gathered(torch.stack(list(numbers.values()))[None]).mean(dim=0)
    return dict(zip(numbers, means.unbind(), strict=True))
