"""Training of segmentation: stage after stage, each from where the one before left the model.

Every draw is keyed by the seed and by what it is for, so a run that was stopped goes on to the
same losses, and no generator's state is kept. A stage begins with a new optimizer. Where processes
share a run, each blends, normalises and measures its loss over its own part of a batch, and the
gradients are averaged; on GPUs batches are normalised over all of them.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from artifacts.errors import RunError
from loaders.augment import to_float
from loaders.draws import Draws
from models.feature_binding import FeatureBinding
from train import checkpoint
from train.failure import flush
from train.metrics import Clock, Log
from train.pretrained import load_pretrained
from train.ranks import Ranks, gathered, joined
from train.running import Report, Running, autocast, key
from train.runs import claim
from train.segmentation.run import Model, Segment, build_model
from train.segmentation.scenes import Batch
from train.segmentation.schedule import poly
from train.segmentation.stages import Bundles, Stage, prepared


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
        out: the run's folder (see `train.runs`).
        running: how to.
        report: called with the steps done and their number, of all stages.

    Raises:
        RunError: the folder belongs to another run; the bundles cannot be trained on, or not with
            each other; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    running = running or Running()
    with joined(running.device) as ranks, ExitStack() as held:
        run, stages = prepared(config, bundles, ranks, running)
        if ranks.first and held.enter_context(claim(out, run)):
            return False
        if ranks.size > 1:
            torch.distributed.barrier()  # nobody reads the folder before it is claimed
        held.enter_context(torch.random.fork_rng([ranks.device] * (ranks.device.type == "cuda")))
        model = _new(config, len(run.classes), ranks)
        if running.compile:
            model.encoder.compile()
        for stage in stages:
            weights = out / stage.weights
            if weights.exists():  # this stage was finished before
                checkpoint.load_weights(weights, model)
                continue
            training = Training.new(config, stage, model, ranks)
            training.restore(out / stage.name)
            _run(training, out, stages[-1], running, report)
            if ranks.first:
                checkpoint.save_weights(weights, model)
                shutil.rmtree(out / stage.name, ignore_errors=True)  # its checkpoints
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

    config: Segment
    stage: Stage
    model: Model
    together: nn.Module  # the model as all ranks train it
    optimizer: torch.optim.Optimizer
    ranks: Ranks
    step: int = 0  # steps of this stage that are done
    losses: Tensor | float = 0.0  # the sum of those of this epoch, so far

    @classmethod
    def new(cls, config: Segment, stage: Stage, model: Model, ranks: Ranks) -> "Training":
        """At the first step."""
        if isinstance(model, FeatureBinding) and model.binding is not None:
            model.binding.requires_grad_(stage.number == 1)  # it binds what are two sources
        learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(
            learned, lr=stage.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        return cls(config, stage, model, over_ranks(model, ranks), optimizer, ranks)

    @property
    def done(self) -> int:
        """Steps of the run that are done."""
        return self.stage.before + self.step

    @property
    def epoch(self) -> int:
        """The epoch of the next step, from 0."""
        return self.step // len(self.stage.batches)

    def left(self) -> Iterator[Batch]:
        """The batches that are left, epoch after epoch."""
        while self.step < self.stage.steps:
            yield from self.stage.batches

    def scored(self, images: Tensor) -> Any:
        """What the model says of images. (b, 3, H, W) uint8."""
        floats = to_float(images).contiguous(memory_format=torch.channels_last)
        with autocast(self.config.precision, images.device):
            return self.together(floats)

    def update(self, batch: Batch) -> dict[str, Tensor | float]:
        """One step. Returns what there is to note of it: the loss, its terms, the rate."""
        rate = poly(self.stage.lr, self.step, self.stage.steps, power=self.config.power)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # for what the heads drop, in each rank its own
        torch.manual_seed(key(self.config.seed, "step", self.done, self.ranks.rank))
        draws = Draws(self.stage.seed, self.epoch, batch["row"])
        outcome = self.stage.objective(self.scored, self.stage.blend(batch, draws))
        self.optimizer.zero_grad(set_to_none=True)
        outcome.loss.backward()
        self.optimizer.step()
        self.step += 1
        noted = _averaged({"loss": outcome.loss.detach(), **outcome.terms})
        self.losses = self.losses + noted["loss"].double()
        return {**noted, "lr": rate}

    def epoch_ends(self) -> dict[str, float] | None:
        """What there is to say of an epoch, when one has just ended."""
        if self.step % len(self.stage.batches):
            return None
        mean = float(self.losses) / len(self.stage.batches)
        self.losses = 0.0
        return {"stage": self.stage.number, "epoch": self.epoch, "mean_loss": mean}

    def save(self, folder: Path) -> None:
        """Write a checkpoint."""
        folder.mkdir(exist_ok=True)
        rest = {
            "optimizer": self.optimizer.state_dict(),
            "batches": self.stage.batches.state_dict(),
            "losses": float(self.losses),
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
            self.stage.batches.load_state_dict(rest["batches"])
            self.losses = float(rest["losses"])
        except (KeyError, ValueError, TypeError) as error:
            raise RunError(f"the checkpoint in {folder} is not of this run ({error})") from error


def over_ranks(model: Model, ranks: Ranks) -> nn.Module:
    """The model as all ranks train it; its parameters stay those of `model`."""
    if ranks.size == 1:
        return model
    on_gpu = ranks.device.type == "cuda"
    return DistributedDataParallel(model, device_ids=[ranks.device.index] if on_gpu else None)


def _averaged(numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean over ranks of each number: a loss that is NaN for one is for all. () each."""
    means = gathered(torch.stack(list(numbers.values()))[None]).mean(dim=0)
    return dict(zip(numbers, means.unbind(), strict=True))


def _run(
    training: Training, out: Path, last: Stage, running: Running, report: Report | None
) -> None:
    """Every step of a stage that is left; the first rank writes."""
    torch.backends.cudnn.benchmark = True  # batches have one shape, so the search pays
    stage, clock = training.stage, Clock(running.checkpoint_seconds)
    place = out if training.ranks.first else None
    with Log(place, step=training.done, tensorboard=running.tensorboard) as log:
        for batch in clock.timed(training.left()):
            noted = training.update(batch)
            loss = noted.pop("loss")
            assert isinstance(loss, Tensor)
            log.step(training.done, loss, gathered(batch["row"]), **noted)
            epoch, due = training.epoch_ends(), place is not None and clock.due()
            if epoch or due or training.step % running.log_every == 0:
                flush(log, stage.batches.stream, place)
            if epoch:
                log.write(training.done, epoch | clock.read())
            if due:
                training.save(out / stage.name)
            if report:
                report(training.done, last.before + last.steps)
