"""What a run of `quire train segment` is: its configuration, and the model that belongs to it."""

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import torch

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.loaders.stream import Stream
from quire.models.deeplab import NORMALISED_BY, DeepLab, deeplab
from quire.models.feature_binding import FeatureBinding, feature_binding
from quire.train.engine.checkpoint import load_weights
from quire.train.engine.dataset_checks import class_names
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

Trunk: TypeAlias = Literal["resnet50", "resnet101", "efficientnet-lite0", "small"]
Variant: TypeAlias = Literal["baseline", "mixup", "mixup-cm", "cutmix", "binding-cc", "binding-cm"]
Answer: TypeAlias = Literal["target", "bound", "phantom"]  # see quire.train.segmentation.measure
Model: TypeAlias = DeepLab | FeatureBinding

WEIGHTS = "weights"  # what a run's record calls the file that its trunk began with
COOCCURRENCE, CLEAN, PSEUDO = "cooccurrence", "clean", "pseudo"  # and further bundles
SEPARATION = "separation.safetensors"  # weights after the first of two stages
BINDING: Set[Variant] = {"binding-cc", "binding-cm"}
# Fields that are on record where they are not the default: older runs do not have them.
_LATER = ("frozen", "longest", "least", "head_lr", "batch_norm", "clean_epochs")
# Fields that not every variant has: what is never used is not on record.
_OF_VARIANT: Mapping[Variant, Set[str]] = {
    "baseline": {"scale", "flip", "clean_epochs", "denoising_lr"},
    "mixup": {"scale", "flip", "alpha", "clean_epochs", "denoising_lr"},
    "mixup-cm": {
        *("scale", "flip", "alpha", "gamma", "max_total", "least"),
        *("clean_epochs", "denoising_lr"),
    },
    "cutmix": {"scale", "flip", "alpha", "clean_epochs", "denoising_lr"},
    "binding-cc": {"scale", "flip", "binding_head", "denoising_epochs", "denoising_lr"},
    "binding-cm": {
        *("scale", "flip", "alpha", "gamma", "max_total", "least"),
        *("binding_head", "denoising_epochs", "denoising_lr"),
    },
}


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Train a network that gives a class to every pixel: DeepLabv3, or SegMix's feature binding.

    Islam et al. (2021); what the paper leaves open is a field here, and on record. A batch that is
    not full is left out. Feature binding has a second stage, on images that are not blended: the
    phantom's scores are silenced.
    """

    method: ClassVar[str] = "segment"

    variant: Variant = "binding-cm"
    """What is trained on: scenes as they are; blends of two at random (mixup), or by co-occurrence
    (mixup-cm); boxes of another (cutmix); blends by category from a bundle of them (binding-cc),
    whose scenes are separated; blends by co-occurrence, made in the batch (binding-cm), separated
    likewise."""
    trunk: Trunk = "resnet50"
    """What makes features: ImageNet's networks, dilated, or four convolutions for small scenes.
    EfficientNet-Lite0 is one for a CPU."""
    weights: str | None = None
    """File of weights that an ImageNet trunk begins with, .pth or .safetensors: torchvision's, or
    EfficientNet-Lite0's; of the latter `installed` are those of the extra `weights`."""
    frozen: bool = False
    """Leave the trunk as it begins, what it normalises by included, and learn the heads alone."""
    longest: int | None = None
    """Bring a scene's longer side to so many pixels before all else, in training and when the run
    is measured; default: take it as it is."""
    crop: int = 513
    """Pixels of the square that is cut out of every scene."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Scenes are enlarged by a factor of this range before they are cut."""
    flip: bool = True
    """Mirror every second scene."""
    batch_size: int = 16
    """Scenes in a batch, over all ranks together; partners come from that of a rank."""
    epochs: int = 50
    """Times that every scene is seen."""
    lr: float = 2.5e-4
    """Learning rate of SGD at first; it falls to nothing by the "poly" policy."""
    head_lr: float = 1.0
    """Heads learn so many times as fast as the trunk. The paper does not say; in the code that its
    four numbers are the defaults of (DeepLab in PyTorch) it is 10."""
    batch_norm: Literal["train", "frozen"] = "train"
    """frozen: the trunk's batch normalisation stays as it begins, statistics and weights; in that
    code it does."""
    power: float = 0.9
    """Of that policy: rate (1 - progress) ^ power."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Weight decay of every parameter."""
    alpha: float = 1.0
    """How two scenes are weighed is drawn from Beta(alpha, alpha). The paper does not say."""
    gamma: int | None = 3
    """Blends of more classes than this are nine tenths their first scene; a choice of ours."""
    max_total: int | None = None
    """Never blend scenes of more classes than this, counted together; default: blend them."""
    least: float = 0.01
    """With pseudo labels: a class that was predicted in less than this share of a crop's pixels is
    not in it. The paper does not say."""
    binding_head: bool = True
    """Bind the two sources that feature binding has told apart; without, it only tells them."""
    denoising_epochs: int = 50
    """Times that every scene is seen in the second stage of feature binding; 0: there is none."""
    clean_epochs: int = 0
    """Of the others: times that every scene is seen, as it is, in a second stage like that one: the
    control of denoising."""
    denoising_lr: float = 2.5e-5
    """Learning rate at the beginning of the second stage."""
    images: int | None = None
    """Train on so many scenes, chosen at random once and for all; default: all."""
    precision: Precision = "auto"
    """bfloat16 autocast or not; auto: on a GPU, but not on a CPU."""
    mean: tuple[float, ...] = ()
    """What images are normalised by, for each channel, in [0, 1]; beside a scene is this colour.
    Default: what the trunk's published weights were learned with, ImageNet's or .5."""
    std: tuple[float, ...] = ()
    """Standard deviations that go with mean."""
    seed: int = 0
    """Seed of the weights, the order, the crops, the blends and the dropped features."""

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the data.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "crop", "epochs", "images", "max_total", "longest", error=RunError)
        check_at_least(0, self, "denoising_epochs", "clean_epochs", "gamma", error=RunError)
        if self.batch_size < 2:
            raise RunError(f"batch_size is {self.batch_size}; batches are normalised: 2 at least")
        if not 0 < self.head_lr < math.inf:
            raise RunError(f"head_lr is {self.head_lr}; it must be above 0")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise RunError(f"scale is {self.scale}; it must be two factors, the smaller first")
        if not 0 <= self.least <= 1:
            raise RunError(f"least is {self.least}; it must be a share of 0 to 1")
        if not self.alpha > 0:
            raise RunError(f"alpha is {self.alpha}; it must be positive")
        if self.weights and self.trunk == "small":
            raise RunError("there are weights for ImageNet's trunks alone, not small")
        if self.weights == INSTALLED and self.trunk != "efficientnet-lite0":
            raise RunError("weights are installed of efficientnet-lite0 alone")
        mean, std = self.normalised_by
        if len(mean) != 3 or len(std) != 3 or not all(one > 0 for one in std):
            raise RunError("mean and std must have three numbers, std above 0")

    @property
    def binds(self) -> bool:
        """Whether the model is one of feature binding."""
        return self.variant in BINDING

    @property
    def pairs_by_cooccurrence(self) -> bool:
        """Whether partners are found by how often classes meet."""
        return self.variant in ("mixup-cm", "binding-cm")

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What the network says of a scene."""
        if not self.binds:
            return ("target",)
        return ("target", "bound", "phantom") if self.binding_head else ("target", "phantom")

    @property
    def two_stages(self) -> bool:
        """Whether there is a second stage."""
        return self.second_epochs > 0

    @property
    def second_epochs(self) -> int:
        """Of the second stage: denoising of feature binding, clean scenes of all others."""
        return self.denoising_epochs if self.binds else self.clean_epochs

    @property
    def normalised_by(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The mean and the standard deviation of each channel, those of the trunk by default."""
        mean, std = NORMALISED_BY[self.trunk]
        return self.mean or mean, self.std or std

    @property
    def test_crop(self) -> int:
        """Pixels of the square that a scene is measured in, all of it where its size is given."""
        return max(self.crop, self.longest or 0)

    @property
    def fill(self) -> tuple[int, int, int]:
        """The colour beside a scene: the one that is normalised to nearly 0."""
        red, green, blue = (round(255 * level) for level in self.normalised_by[0])
        return red, green, blue


def described(config: Segment, data: str, scenes: Stream) -> Run:
    """The record of a run.

    Raises:
        RunError: the data names no classes, the weights cannot be read, or a trunk that begins
            with none is frozen.
    """
    if config.frozen and config.weights is None:
        raise RunError("a frozen trunk stays as it begins, here at random: name its weights")
    return Run(
        method=config.method,
        config=recorded(config),
        bundle=scenes.state_dict()["bundle"],
        classes=class_names(scenes, data),
        channels=3,
        data=absolute(data),
        inputs={} if config.weights is None else {WEIGHTS: digest_of(config.weights)},
    )


def recorded(config: Segment) -> dict[str, Any]:
    """Every field as JSON has them, but those that say nothing of this variant.

    Of the trunk's weights a run has the digest, among its inputs, not the name of a file.
    """
    of_some = set().union(*_OF_VARIANT.values())
    absent = of_some - _OF_VARIANT[config.variant] | {WEIGHTS}
    if not config.binds and not config.two_stages:
        absent.add("denoising_lr")
    absent |= {name for name in _LATER if getattr(config, name) == getattr(Segment, name)}
    mean, std = config.normalised_by
    record = to_record(replace(config, mean=mean, std=std))
    return {name: value for name, value in record.items() if name not in absent}


def build_model(config: Segment, classes: int) -> Model:
    """The model of a run, with fresh weights."""
    mean, std = config.normalised_by
    common: dict[str, Any] = {"classes": classes, "mean": mean, "std": std}
    if config.binds:
        return feature_binding(config.trunk, binds=config.binding_head, **common)
    return deeplab(config.trunk, **common)


def trained(folder: Path, *, separation: bool = False) -> tuple[Run, Segment, Model]:
    """A finished run: its record, its configuration and its model, in evaluation mode.

    With `separation` the model is as it was before denoising.

    Raises:
        RunError: there is none, it is not finished, of another method, or damaged; or it has one
            stage alone.
    """
    run = read_run(folder)
    if run.method != Segment.method:
        raise RunError(f"{folder} is a run of {run.method}, not of {Segment.method}")
    if not is_finished(folder):
        raise RunError(f"{folder} is not finished: train it again to go on where it stopped")
    config: Segment = config_of(run, Segment)
    if separation and not config.two_stages:
        raise RunError(f"{folder} has one stage alone, and no weights from before a second")
    with torch.device("meta"):
        model = build_model(config, len(run.classes))
    model.to_empty(device="cpu")
    load_weights(folder / (SEPARATION if separation else MODEL), model)
    return run, config, model.eval()
