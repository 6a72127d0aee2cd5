"""How much each method leans on context: objects with their companion, without, with another.

Islam et al. 2021 say that feature binding takes the bias of what occurs together out of a network;
their tables show that on photographs, where nobody knows how strong the bias is. Here scenes are
drawn: in training an object is never seen without its companion (`quire.builders.sources.context`).
Every network is measured after its first stage, and after a second on clean scenes: denoising of
feature binding, and of the others the same epochs at the same rate, without which nobody could tell
what denoising does from what clean scenes do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from quire.builders.recipes.cooccurrence import Cooccurrence
from quire.builders.recipes.scenes import Scenes
from quire.builders.recipes.segmix import SegMix
from quire.builders.sources.context import CLASS_NAMES, OBJECTS, ONLY, SWAPPED, TOGETHER, TRAIN
from quire.train.report.grid import Grid
from quire.train.segmentation.measure import Measure, Measured, count
from quire.train.segmentation.run import BINDING, Segment, Variant
from quire.train.studies.bundles import Bundled, Ready
from quire.train.studies.segmix.network import Data, Network
from quire.train.studies.segmix.setting import AUTHORS, BASELINE, CC, CM, CUTMIX, MIXUP
from quire.train.studies.study import Layout, Place, Scale
from quire.train.studies.trials import Attempt, Results, Trials

_VARIANTS: Mapping[str, Variant] = {
    BASELINE: "baseline",
    MIXUP: "mixup",
    CUTMIX: "cutmix",
    "+ Mixup by co-occurrence": "mixup-cm",
    CC: "binding-cc",
    CM: "binding-cm",
}
_TESTS = {TOGETHER: "with its own", ONLY: "alone", SWAPPED: "with another"}
_GAP = "own - alone"
_IDS = [CLASS_NAMES.index(name) for name in OBJECTS]
_NAMES = {"target": "S_t", "bound": "S_fb"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How many scenes there are, and how networks are trained on them."""

    dataset: str
    tested: str  # dataset of the tests
    network: Segment
    blends: int
    blend_epochs: int


_NETWORK = Segment(
    trunk="small",
    crop=64,
    scale=(0.75, 1.25),
    batch_size=16,
    lr=0.05,
    epochs=20,
    denoising_epochs=6,
    clean_epochs=6,
    denoising_lr=0.005,
)
_SETTINGS: Mapping[Scale, Setting] = {
    "smoke": Setting(
        dataset="context:300?size=48",
        tested="context:60?size=48",
        network=replace(
            _NETWORK, crop=48, batch_size=8, epochs=16, denoising_epochs=2, clean_epochs=2
        ),
        blends=600,
        blend_epochs=8,
    ),
    "small": Setting(
        dataset="context:500?size=64",
        tested="context:200?size=64",
        network=_NETWORK,
        blends=2_500,
        blend_epochs=4,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well an answer does after a stage, on the scenes of a split."""

    second: bool  # stage
    split: str
    measured: Measured

    @property
    def objects(self) -> float:
        """The mean IoU of the objects, in percent."""
        return 100 * sum(self.measured.classes[number] for number in _IDS) / len(_IDS)


@dataclass(frozen=True, kw_only=True)
class Biased:
    """A network that is measured in three contexts; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    network: Network
    tests: Mapping[str, Bundled]  # by split

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What is trained on, and what is measured on."""
        return *self.network.bundles[:-1], *self.tests.values()

    def attempt(self, seed: int, folders: Mapping[Bundled, Ready], place: Place) -> Attempt[Told]:
        """Train and measure one seed, as far as that was not done before."""
        run = self.network.trained(seed, folders, place)
        options: dict[str, Any] = {"device": place.running.device, "report": place.report}
        found = [
            Told(second=second, split=split, measured=one)
            for second in (False, True)
            for split, bundle in self.tests.items()
            for one in count(
                run, folders[bundle].place, how=Measure(separation=not second), **options
            ).over()
            if one.answer in (("target",) if second else _NAMES)
        ]
        return Attempt(run=run, measured=found, lines=[*map(_line, found)])


def _line(one: Told) -> dict[str, object]:
    classes = dict(zip(CLASS_NAMES, one.measured.classes, strict=True))
    return {
        "stage": 1 + one.second,
        "scenes": one.split,
        "answer": one.measured.answer,
        "objects": one.objects,
        **classes,
    }


def _trials(scale: Scale) -> list[Biased]:
    setting = _SETTINGS[scale]
    tests = {split: Bundled(dataset=setting.tested, recipe=Scenes(split=split)) for split in _TESTS}
    return [
        Biased(
            row=row,
            column="objects",
            network=_network(setting, row, variant, tests[TOGETHER]),
            tests=tests,
        )
        for row, variant in _VARIANTS.items()
    ]


def _network(setting: Setting, row: str, variant: Variant, test: Bundled) -> Network:
    network = setting.network
    blends = SegMix(
        split=TRAIN,
        form="virtual",
        limit=setting.blends,
        crop=network.crop,
        scale=network.scale,
        fill=network.fill,
    )
    epochs = setting.blend_epochs if variant == "binding-cc" else network.epochs
    return Network(
        row=row,
        column="objects",
        config=replace(network, variant=variant, epochs=epochs),
        data=Data(
            scenes=Bundled(dataset=setting.dataset, recipe=Scenes(split=TRAIN)),
            blends=Bundled(dataset=setting.dataset, recipe=blends),
            cooccurrence=Bundled(dataset=setting.dataset, recipe=Cooccurrence(split=TRAIN)),
            test=test,
        ),
    )


def _present(results: Results[Told]) -> Layout:
    values: dict[tuple[str, str], list[float]] = {}
    for row, column in results.attempts:
        for seed in results.measured((row, column)):
            found = {(one.second, one.measured.answer, one.split): one.objects for one in seed}
            for second, answer in dict.fromkeys((s, a) for s, a, _ in found):
                label = _label(row, second, answer)
                for split, name in _TESTS.items():
                    values.setdefault((label, name), []).append(found[second, answer, split])
                gap = found[second, answer, TOGETHER] - found[second, answer, ONLY]
                values.setdefault((label, _GAP), []).append(gap)
    grid = Grid(
        title="mean IoU (%) of the objects, by what they are with",
        values=values,
        rows=tuple(dict.fromkeys(label for label, _ in values)),
        columns=(*_TESTS.values(), _GAP),
        corner="method",
    )
    setting = _SETTINGS[results.scale]
    network = setting.network
    ours = (
        f"{setting.dataset}, {network.epochs} epochs in batches of {network.batch_size}, and"
        f" {network.denoising_epochs} of denoising or of clean scenes; Binding-CC sees"
        f" {setting.blends:,} blends for {setting.blend_epochs} epochs. In training an object is"
        " never without its companion."
    )
    return Layout(grids=(grid,), notes=(ours, _ROWS))


def _label(row: str, second: bool, answer: str) -> str:
    if _VARIANTS[row] not in BINDING:
        return f"{row} + clean" if second else row
    return f"{row} + denoising" if second else f"{row}, {_NAMES[answer]}"


_ROWS = (
    "+ clean: the same further epochs on scenes as they are, at the same rate, that denoising has."
    " S_t and S_fb are feature binding's answers before it. A method takes bias away where"
    " an object alone, and with another's companion, gains more than it loses beside its own."
)

STUDY = Trials(
    title="Objects and their context",
    paper=f"{AUTHORS}, of whose claim this is a test on drawn scenes",
    seeds={"smoke": 1, "small": 3},
    trials=_trials,
    present=_present,
)
