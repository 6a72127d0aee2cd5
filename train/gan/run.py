"""What a run of `quire train gan` is: its configuration, and the networks that belong to it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import nn

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.loaders.stream import Stream, stream
from quire.models.batch_features import EdgeGraphConfig, MinibatchConfig
from quire.models.gan import LATENT, BatchConfig, Discriminator, Generator
from quire.train.engine.checkpoint import load_weights
from quire.train.engine.dataset_checks import shape_of
from quire.train.engine.options import Precision
from quire.train.engine.runs import (
    MODEL,
    Run,
    absolute,
    config_of,
    is_finished,
    read_run,
    to_record,
)

Kind: TypeAlias = Literal["vanilla", "minibatch", "mc-mbgnn"]

BINS = "bins"  # what a run's record calls the bundle that its images are held against
_OF_KIND: Mapping[Kind, Set[str]] = {
    "vanilla": set(),
    "minibatch": {"minibatch"},
    "mc-mbgnn": {"graph"},
}


@dataclass(frozen=True, kw_only=True)
class Gan:
    """Train a generator of images. The defaults are the paper's setting for CIFAR-10.

    Mondal, Jain & Siddiqi 2021, earlier version, sections 3.4 and 4.5; CelebA had 7,500 iterations.
    The discriminator may look at the batch as a whole, real images and generated ones apart.
    """

    method: ClassVar[str] = "gan"

    discriminator: Kind = "mc-mbgnn"
    """What it sees of a batch: each image alone (vanilla), how close others are (minibatch
    discrimination, Salimans et al. 2016), or the edges of a complete graph (MC-MBGNN)."""
    minibatch: MinibatchConfig = field(default_factory=MinibatchConfig)
    graph: EdgeGraphConfig = field(default_factory=EdgeGraphConfig)
    size: int | None = None
    """Side of the images, 32 or 64; default: that of the data."""
    width: int = 64
    """Channels of the generator's last hidden layer and of the discriminator's first."""
    latent: int = LATENT
    """Numbers of noise that an image is made of."""
    iterations: int = 10_000
    """Steps, each of which updates discriminator and generator once."""
    batch_size: int = 128
    """Real images in a step, and generated ones, over all ranks together."""
    lr_discriminator: float = 1e-4
    """Adam's learning rate for the discriminator."""
    lr_generator: float = 2e-4
    """Adam's learning rate for the generator."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's decay rates: DCGAN's, as the paper gives none."""
    measure_every: int = 500
    """Iterations from one measurement to the next, and from one grid of samples to the next."""
    samples: int = 5_120
    """Generated images of a measurement."""
    precision: Precision = "auto"
    """bfloat16 autocast or not; auto: on a GPU, but not on a CPU."""
    seed: int = 0
    """Seed of the weights, the order and the noise."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the data.

        Raises:
            RunError: a field is out of range, or is of another discriminator.
        """
        counts = "width", "latent", "iterations", "measure_every", "samples"
        check_at_least(1, self, *counts, error=RunError)
        if self.batch_size < 2:
            raise RunError(f"batch_size is {self.batch_size}; a batch of one has no variance")
        if self.iterations % self.measure_every:
            raise RunError(
                f"iterations is {self.iterations:,}, no multiple of measure_every,"
                f" {self.measure_every:,}: the end would not be measured"
            )
        if min(self.lr_discriminator, self.lr_generator) <= 0:
            raise RunError("learning rates must be above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise RunError(f"betas are {self.betas}; each must be at least 0 and below 1")
        default = {one.name: one for one in fields(self)}
        for name in sorted(set().union(*_OF_KIND.values()) - _OF_KIND[self.discriminator]):
            factory: Any = default[name].default_factory
            if getattr(self, name) != factory():
                raise RunError(f"{name} is given, but the discriminator is {self.discriminator}")

    @property
    def batch_layer(self) -> BatchConfig | None:
        """What the discriminator sees of the whole batch, if anything."""
        return {"vanilla": None, "minibatch": self.minibatch, "mc-mbgnn": self.graph}[
            self.discriminator
        ]


class Pair(nn.Module):
    """A generator and the discriminator that it learns from."""

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator

    def compile_both(self) -> None:
        """Compile what takes the time; the comparison of a batch with itself is left as it is."""
        self.generator.compile()
        self.discriminator.encode.compile()


def described(config: Gan, data: str, batches: Stream) -> tuple[Gan, Run]:
    """The configuration with the size of the images spelled out, and the record of the run.

    Raises:
        RunError: the data cannot be trained on with it.
    """
    if not len(batches):
        raise RunError(f"{data} has fewer images than a batch, {config.batch_size:,}")
    channels, height, width = shape_of(stream(data, rows=batches.rows.tolist()), data)
    if height != width or (config.size or height) != height:
        side = config.size or "a square"
        raise RunError(f"{data} has images of {height}x{width}; the run wants {side}")
    config = replace(config, size=height)
    run = Run(
        method=config.method,
        config=_record(config),
        bundle=batches.state_dict()["bundle"],
        classes=tuple(map(str, batches.manifest.identity.source.get("class_names") or ())),
        channels=channels,
        data=absolute(data),
    )
    with torch.device("meta"):
        build_pair(config, run)  # networks that cannot be are refused before a folder is taken
    return config, run


def _record(config: Gan) -> dict[str, Any]:
    """What a run's folder says of its configuration: nothing that its discriminator has not."""
    others = set().union(*_OF_KIND.values()) - _OF_KIND[config.discriminator]
    return {name: value for name, value in to_record(config).items() if name not in others}


def build_pair(config: Gan, run: Run) -> Pair:
    """The networks of a run, with fresh weights.

    Raises:
        RunError: images of this size cannot be made.
    """
    shape: dict[str, Any] = {
        "size": config.size,
        "channels": run.channels,
        "width": config.width,
    }
    try:
        return Pair(
            Generator(**shape, latent=config.latent),
            Discriminator(**shape, batch_layer=config.batch_layer),
        )
    except ValueError as error:
        raise RunError(str(error)) from error


def trained(folder: Path) -> tuple[Run, Gan, Pair]:
    """A finished run: its record, its configuration and its networks, in evaluation mode.

    Raises:
        RunError: there is none, it is not finished, of another method, or damaged.
    """
    run = read_run(folder)
    if run.method != Gan.method:
        raise RunError(f"{folder} is a run of {run.method}, not of {Gan.method}")
    if not is_finished(folder):
        raise RunError(f"{folder} is not finished: train it again to go on where it stopped")
    config: Gan = config_of(run, Gan)
    pair = build_pair(config, run)
    load_weights(folder / MODEL, pair)
    return run, config, pair.eval()
