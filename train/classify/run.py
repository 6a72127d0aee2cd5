"""What a run of `quire train classify` is: its configuration, and the model that belongs to it."""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from tyro.conf import OmitArgPrefixes

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.loaders.stream import Stream, stream
from quire.models.classifier import ENCODERS, Classifier, head_of
from quire.models.cnn2graph import CNN2Graph, CNN2GraphConfig, CNN2GraphHead
from quire.models.cnn2graph_losses import LossConfig, LossWeights
from quire.models.similarity_graph import GraphConfig
from quire.train.classify.baselines import AffinityConfig, DistillationConfig, SupConConfig
from quire.train.engine.checkpoint import load_weights
from quire.train.engine.dataset_checks import class_names, shape_of
from quire.train.engine.options import Precision
from quire.train.engine.pretrained import INSTALLED, digest_of
from quire.train.engine.runs import (
    MODEL,
    Run,
    absolute,
    config_of,
    is_finished,
    read_run,
    to_record,
)

Encoder: TypeAlias = Literal[
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet50",
    "wrn-28-10",
    "imagenet-resnet18",
    "imagenet-resnet34",
    "efficientnet-lite0",
]
Head: TypeAlias = Literal["linear", "graph", "cnn2graph"]
Model: TypeAlias = Classifier | CNN2Graph

ObjectiveName: TypeAlias = Literal["cross-entropy", "supcon", "affinity", "ddgsd"]

WEIGHTS = "weights"  # what a run's record calls the file that its encoder began with
# Fields that are of one head alone, and those that the first runs did not have.
_OF_HEAD: Mapping[Head, Set[str]] = {
    "linear": set(),
    "graph": {"graph"},
    "cnn2graph": {"cnn2graph", "losses", "loss_weights"},
}
_OF_OBJECTIVE: Mapping[ObjectiveName, Set[str]] = {
    "cross-entropy": set(),
    "supcon": {"supcon"},
    "affinity": {"affinity"},
    "ddgsd": {"ddgsd"},
}
_LATER = {
    *("cnn2graph", "losses", "loss_weights", "shift", "jitter", "resize", WEIGHTS),
    *("objective", "supcon", "affinity", "ddgsd", "hue", "jittered", "grey", "frozen"),
}


@dataclass(frozen=True, kw_only=True)
class Classify:
    """Train a classifier of images. The defaults are the paper's setting for CIFAR-10.

    Mondal, Jain & Siddiqi 2021 (MBSG); schedule and augmentation are those of the code whose
    numbers the authors reproduce (SupContrast).
    """

    method: ClassVar[str] = "classify"

    encoder: Encoder = "resnet50"
    """What makes features of an image."""
    weights: str | None = None
    """File of weights that an ImageNet encoder begins with, .pth or .safetensors: torchvision's, or
    EfficientNet-Lite0's, of which `installed` are those of the extra `weights`."""
    frozen: bool = False
    """Leave the encoder as it begins, what it normalises by included, and learn the head alone."""
    head: Head = "graph"
    """What makes logits of features: a linear layer (the baseline), a similarity graph over the
    batch, or attention to anchors and proxies (which needs a bundle of anchors)."""
    graph: Annotated[GraphConfig, OmitArgPrefixes] = field(default_factory=GraphConfig)
    cnn2graph: CNN2GraphConfig = field(default_factory=CNN2GraphConfig)
    objective: ObjectiveName = "cross-entropy"
    """What a linear head learns by: cross-entropy; supervised contrast and then a linear probe;
    cross-entropy and affinity within classes; or self-distillation between two views."""
    supcon: SupConConfig = field(default_factory=SupConConfig)
    affinity: AffinityConfig = field(default_factory=AffinityConfig)
    ddgsd: DistillationConfig = field(default_factory=DistillationConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    loss_weights: LossWeights = field(default_factory=LossWeights)
    epochs: int = 500
    """Times that every image is seen."""
    batch_size: int = 256
    """Images in a batch, over all ranks together: the nodes of a graph."""
    lr: float = 0.2
    """Learning rate of SGD, before it falls."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Weight decay of every parameter."""
    milestones: tuple[float, ...] = (0.7, 0.8, 0.9)
    """Parts of the run after which the learning rate falls: 350, 400 and 450 of 500 epochs."""
    gamma: float = 0.1
    """What the learning rate is multiplied by when it falls."""
    warmup: float = 0.0
    """Part of the run in which the learning rate rises from 0.01; 0.02 for batches above 256."""
    crop: tuple[float, float] = (0.2, 1.0)
    """Areas of the random crops, which are resized to the whole; 1 1 leaves images whole."""
    shift: int = 0
    """Pixels of zeros around images, out of which the size is cut at random; 0 shifts nothing."""
    flip: bool = True
    """Flip every second image horizontally; not for digits and letters."""
    jitter: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How far brightness, contrast and saturation change at random, as parts of 1."""
    hue: float = 0.0
    """How far the hue turns at random, as a part of the circle, up to .5."""
    jittered: float = 1.0
    """Part of the images whose brightness, contrast, saturation and hue change."""
    grey: float = 0.0
    """Part of the images that lose their colours."""
    resize: int | None = None
    """Bring images to so many pixels square in the model; default: as they are."""
    mean: tuple[float, ...] = ()
    """What images are normalised by, for each channel, in [0, 1]; default: measured."""
    std: tuple[float, ...] = ()
    """Standard deviations that go with mean."""
    images: int | None = None
    """Train on so many images, chosen at random once and for all; default: all."""
    precision: Precision = "auto"
    """bfloat16 autocast or not; auto: on a GPU, but not on a CPU."""
    seed: int = 0
    """Seed of the weights, the order, the augmentation and the dropped features."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the data.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "epochs", "batch_size", "images", "resize", error=RunError)
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise RunError(f"crop is {self.crop}; it must be two parts of 1, the smaller first")
        check_at_least(0, self, "shift", error=RunError)
        if len(self.jitter) != 3 or not all(0 <= strength < math.inf for strength in self.jitter):
            raise RunError(f"jitter is {self.jitter}; it must be three numbers of at least 0")
        if not (0 <= self.hue <= 0.5 and 0 <= self.jittered <= 1 and 0 <= self.grey <= 1):
            raise RunError("hue must be in 0 to .5, jittered and grey parts of 1")
        self._check_objective()
        if self.weights == INSTALLED and self.encoder != "efficientnet-lite0":
            raise RunError("weights are installed of efficientnet-lite0 alone")
        if self.weights and not self.encoder.startswith(("imagenet-", "efficientnet-")):
            raise RunError(f"there are weights for ImageNet's encoders alone, not {self.encoder}")
        if len(self.mean) != len(self.std) or not all(std > 0 for std in self.std):
            raise RunError("mean and std must have a number for each channel, std above 0")

    def _check_objective(self) -> None:
        if self.objective != "cross-entropy" and self.head != "linear":
            raise RunError(f"{self.objective} is an objective of --head linear, not {self.head}")
        default = {one.name: one for one in fields(self)}
        for name in sorted(set().union(*_OF_OBJECTIVE.values()) - _OF_OBJECTIVE[self.objective]):
            factory: Any = default[name].default_factory
            if getattr(self, name) != factory():
                raise RunError(f"{name} is given, but the objective is {self.objective}")


def learning_rate(config: Classify, progress: float) -> float:
    """The learning rate at a moment of the run, in [0, 1).

    >>> [learning_rate(Classify(), epoch / 500) for epoch in (0, 349, 350)]
    [0.2, 0.2, 0.020000000000000004]
    """
    if progress < config.warmup:
        return 0.01 + (config.lr - 0.01) * progress / config.warmup
    return config.lr * config.gamma ** sum(progress >= milestone for milestone in config.milestones)


def described(config: Classify, data: str, batches: Stream) -> tuple[Classify, Run]:
    """The configuration with every default that hangs on the data spelled out, and its record.

    Raises:
        RunError: the data cannot be trained on with it.
    """
    classes = class_names(batches, data)
    if config.frozen and config.weights is None:
        raise RunError("a frozen encoder stays as it begins, here at random: name its weights")
    every = stream(data, rows=batches.rows.tolist())  # not this rank's part alone
    channels, _, _ = shape_of(every, data)
    if not config.mean:
        mean, std = statistics(every)
        config = replace(config, mean=mean, std=std)
    if len(config.mean) not in (1, channels):
        raise RunError(f"mean has {len(config.mean)} numbers; the images have {channels} channels")
    run = Run(
        method=config.method,
        config=_record(config),
        bundle=batches.state_dict()["bundle"],
        classes=classes,
        channels=channels,
        data=absolute(data),
        inputs={} if config.weights is None else {WEIGHTS: digest_of(config.weights)},
    )
    with torch.device("meta"):
        build_model(config, run)  # a model that cannot be is refused before a folder is taken
    return config, run


def recorded(config: Classify) -> dict[str, Any]:
    """Every field as JSON has them, but those that the first runs did not have, at their default.

    So a configuration has the record that it had before there were these fields; those of its own
    head are always there.
    """
    record, default = to_record(config), to_record(Classify())
    own = _OF_HEAD[config.head] | _OF_OBJECTIVE[config.objective]
    absent = {name for name in _LATER - own if record[name] == default[name]}
    return {name: value for name, value in record.items() if name not in absent}


def _record(config: Classify) -> dict[str, Any]:
    """What a run's folder says of its configuration: nothing that its head does not have.

    Of the encoder's weights the run has the digest, among its inputs, not the name of a file.
    """
    others = set().union(*_OF_HEAD.values()) - _OF_HEAD[config.head]
    kept = recorded(config)
    return {name: value for name, value in kept.items() if name not in {*others, WEIGHTS}}


def statistics(batches: Stream) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over an epoch, in [0, 1]; four decimals.

    Raises:
        RunError: all pixels of a channel are nearly the same.
    """
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        images = batch["image"].double()
        count += images.numel() // images.shape[1]
        total = total + images.sum(dim=(0, 2, 3)).cpu()
        squares = squares + images.square().sum(dim=(0, 2, 3)).cpu()
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    if not (std > 0.02).all():
        raise RunError("a channel of the images is nearly constant: name mean and std")
    return _rounded(mean / 255), _rounded(std / 255)


def _rounded(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, 4) for value in values.tolist())


def build_model(config: Classify, run: Run) -> Model:
    """The model of a run, with fresh weights.

    Raises:
        RunError: its parts do not fit each other.
    """
    encoder, classes = ENCODERS[config.encoder](run.channels), len(run.classes)
    before: dict[str, Any] = {"mean": config.mean, "std": config.std, "resize": config.resize}
    if config.head == "cnn2graph":
        try:
            head = CNN2GraphHead(encoder.features, classes, config.cnn2graph)
        except ValueError as error:
            raise RunError(str(error)) from error
        return CNN2Graph(encoder, head, **before)
    graph = config.graph if config.head == "graph" else None
    return Classifier(encoder, head_of(graph, encoder.features, classes), **before)


def trained(folder: Path) -> tuple[Run, Classify, Model]:
    """A finished run: its record, its configuration and its model, in evaluation mode.

    Raises:
        RunError: there is none, it is not finished, of another method, or damaged.
    """
    run = read_run(folder)
    if run.method != Classify.method:
        raise RunError(f"{folder} is a run of {run.method}, not of {Classify.method}")
    if not is_finished(folder):
        raise RunError(f"{folder} is not finished: train it again to go on where it stopped")
    config: Classify = config_of(run, Classify)
    model = build_model(config, run)
    load_weights(folder / MODEL, model)
    return run, config, model.eval()
