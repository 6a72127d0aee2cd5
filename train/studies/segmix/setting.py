"""What the studies of SegMix share: data, networks and settings.

Islam et al., *SegMix: Co-occurrence Driven Mixup for Semantic Segmentation and Adversarial
Robustness* (2021).

`full` is the paper's setting: Pascal VOC 2012, crops of 513 pixels, ImageNet's trunks. `small` is
VOC for a CPU, meant for some hundreds of its images: scenes whose longer side is 241 pixels, looked
at whole when networks are measured, and a trunk that stays as it was learned on ImageNet. `smoke`
is drawn shapes and a trunk that begins with nothing, and shows that everything fits together.
Binding-CC sees as many blends as the other methods see scenes, at every scale but `paper`, where it
sees all that there are in each of 50 epochs: 28 times as many, and 28 times as long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.recipes.subsets import Subsets
from quire.train.segmentation.run import BINDING, Segment, Trunk, Variant
from quire.train.studies.bundles import Bundled
from quire.train.studies.segmix.network import Data, Network
from quire.train.studies.study import Scale

AUTHORS = "Islam et al. 2021"


@dataclass(frozen=True, kw_only=True)
class Method:
    """A row of a table: how its networks are trained, and when they are measured."""

    variant: Variant
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Of the configuration, other than the setting's."""
    separation: bool = False
    """Measured before denoising."""

    @property
    def reported(self) -> str:
        """Answer beside the paper's number: see `quire.train.studies.segmix.tables`."""
        if self.variant in BINDING and self.separation and self.fields.get("binding_head", True):
            return "bound"
        return "target"


BASELINE, MIXUP, CUTMIX = "DeepLabv3", "+ Mixup", "+ CutMix"
CC, CM = "+ Binding-CC", "+ Binding-CM"
METHODS: Mapping[str, Method] = {
    BASELINE: Method(variant="baseline"),
    MIXUP: Method(variant="mixup"),
    CUTMIX: Method(variant="cutmix"),
    CC: Method(variant="binding-cc"),
    CM: Method(variant="binding-cm"),
}
RES50, RES101 = "ResNet-50", "ResNet-101"
LITE, SMALL = "EfficientNet-Lite0", "small trunk"  # at the smaller scales
_TRUNKS: Mapping[str, Trunk] = {
    RES50: "resnet50",
    RES101: "resnet101",
    LITE: "efficientnet-lite0",
    SMALL: "small",
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the networks of a scale are trained, and what on."""

    dataset: str
    train: str  # split
    network: Segment
    blends: int | None  # for Binding-CC; None: all that there are
    blend_epochs: int  # that it sees them
    subsets: Subsets

    @property
    def data(self) -> Data:
        """Every bundle."""
        network = self.network
        blends = SegMix(
            split=self.train,
            form="virtual",
            limit=self.blends,
            crop=network.crop,
            scale=network.scale,
            longest=network.longest,
            fill=network.fill,
        )
        return Data(
            scenes=Bundled(dataset=self.dataset, recipe=Scenes(split=self.train)),
            blends=Bundled(dataset=self.dataset, recipe=blends),
            cooccurrence=Bundled(dataset=self.dataset, recipe=Cooccurrence(split=self.train)),
            subsets=Bundled(dataset=self.dataset, recipe=self.subsets),
            test=Bundled(dataset=self.dataset, recipe=Scenes(split=self.subsets.split)),
        )


_FULL = Setting(
    dataset="voc2012",
    train="train_aug",
    network=Segment(),
    blends=105_820,
    blend_epochs=5,
    subsets=Subsets(),
)
_SMALL_NETWORK = Segment(trunk="small", batch_size=8, denoising_lr=0.005)
SETTINGS: Mapping[Scale, Setting] = {
    "smoke": Setting(
        dataset="shapes:24?size=48",
        train="train",
        network=replace(
            _SMALL_NETWORK,
            crop=40,
            epochs=2,
            lr=0.02,
            denoising_epochs=1,
        ),
        blends=24,
        blend_epochs=2,
        subsets=Subsets(
            companion="blue_disc",
            partners=("yellow_cross", "blue_triangle", "blue_cross"),
            thresholds=(8, 4, 2),
        ),
    ),
    "small": Setting(
        dataset="voc2012",
        train="train_aug",
        network=replace(
            _SMALL_NETWORK,
            trunk="efficientnet-lite0",
            frozen=True,
            longest=241,
            crop=161,
            scale=(0.7, 1.4),
            epochs=16,
            lr=0.05,
            denoising_epochs=4,
        ),
        blends=2_000,
        blend_epochs=2,
        subsets=Subsets(),
    ),
    "full": _FULL,
    "paper": replace(_FULL, blends=None, blend_epochs=50),
}
SEEDS: Mapping[Scale, int] = {"smoke": 1, "small": 3, "full": 3, "paper": 3}


def trunks_of(scale: Scale, papers: Sequence[str]) -> tuple[str, ...]:
    """The trunks of a scale, where the paper has these."""
    return {"smoke": (SMALL,), "small": (LITE,)}.get(scale, tuple(papers))


def networks(
    setting: Setting, methods: Mapping[str, Method], trunks: Sequence[str]
) -> list[Network]:
    """Every method with each of the trunks."""
    return [
        _network(setting, row, method, trunk) for trunk in trunks for row, method in methods.items()
    ]


def _network(setting: Setting, row: str, method: Method, trunk: str) -> Network:
    config = replace(setting.network, trunk=_TRUNKS[trunk], variant=method.variant)
    if method.variant == "binding-cc":
        config = replace(config, epochs=setting.blend_epochs)
    config = replace(config, **method.fields)
    return Network(
        row=row,
        column=trunk,
        config=config,
        data=setting.data,
        separation=method.separation and config.two_stages,
    )
