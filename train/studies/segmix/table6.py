"""Table 6: salient objects, blended by the classes that another network sees in their scenes.

A network of Pascal VOC, the baseline of Table 1 with the first seed, predicts the classes of the
scenes that are trained on; by these, and by how often VOC's classes meet, Binding-CM chooses who is
blended with whom. Networks then learn what is salient and nothing of classes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from quire.artifacts.address import Location
from quire.builders.recipes.scenes import Scenes
from quire.train.engine.runs import digest
from quire.train.report.grid import Grid
from quire.train.segmentation.measure_saliency import measure_saliency
from quire.train.segmentation.predict import predict
from quire.train.segmentation.run import Segment, recorded
from quire.train.segmentation.saliency import SaliencyScore
from quire.train.segmentation.stages import Bundles
from quire.train.segmentation.training import train_segmentation
from quire.train.studies.bundles import Bundled, Ready
from quire.train.studies.segmix.network import Network, weights_of
from quire.train.studies.segmix.setting import (
    AUTHORS,
    BASELINE,
    CM,
    CUTMIX,
    METHODS,
    MIXUP,
    RES50,
    SEEDS,
    SETTINGS,
    networks,
    trunks_of,
)
from quire.train.studies.study import Layout, Place, Scale
from quire.train.studies.trials import Attempt, Results, Trials

_F, _MAE = "max F", "MAE"
_PAPER = {
    BASELINE: (0.906, 0.045),
    MIXUP: (0.893, 0.057),
    CUTMIX: (0.903, 0.050),
    CM: (0.909, 0.043),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What networks learn to find salient objects on, and how."""

    train: Bundled
    test: Bundled
    network: Segment


_FULL = Setting(
    train=Bundled(dataset="duts", recipe=Scenes(split="train")),
    test=Bundled(dataset="ecssd", recipe=Scenes(split="all")),
    network=replace(SETTINGS["full"].network, crop=320),
)
_SOD = "sod"  # divided by `?train=`
_SETTINGS: Mapping[Scale, Setting] = {
    "smoke": Setting(
        train=Bundled(dataset="shapes:24?size=48&classes=salient", recipe=Scenes(split="train")),
        test=Bundled(dataset="shapes:24?size=48&classes=salient", recipe=Scenes(split="val")),
        network=SETTINGS["smoke"].network,
    ),
    "small": Setting(
        train=Bundled(dataset=_SOD, recipe=Scenes(split="train")),
        test=Bundled(dataset=_SOD, recipe=Scenes(split="test")),
        network=replace(SETTINGS["small"].network, epochs=40, denoising_epochs=10),
    ),
    **dict.fromkeys(("full", "paper"), _FULL),
}


@dataclass(frozen=True, kw_only=True)
class Salient:
    """A network of salient objects; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    config: Segment  # its seed and weights are replaced
    setting: Setting
    labelling: Network  # which predicts the classes of scenes

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What either network is trained on, and what is measured on."""
        others: tuple[Bundled, ...] = ()
        if self.config.pairs_by_cooccurrence:
            others = (*self.labelling.bundles[:-1], self.labelling.data.cooccurrence)
        return *others, self.setting.train, self.setting.test

    def attempt(
        self, seed: int, folders: Mapping[Bundled, Ready], place: Place
    ) -> Attempt[SaliencyScore]:
        """Train and measure one seed, as far as that was not done before."""
        weights = weights_of(self.config.trunk, place)
        config = replace(self.config, seed=seed, weights=weights)
        given = Bundles(data=folders[self.setting.train].place)
        read = [folders[self.setting.train].name]
        if config.pairs_by_cooccurrence:
            pseudo = self._pseudo_labels(folders, place)
            counts = folders[self.labelling.data.cooccurrence]
            given = replace(given, cooccurrence=counts.place, pseudo=pseudo.place)
            read += [counts.name, pseudo.name]
        named = f"{config.trunk}-{config.variant}-salient-seed{seed}"
        run = place.run(named, recorded(config), *read)
        train_segmentation(config, given, run, running=place.running, report=place.report)
        found = measure_saliency(
            run,
            folders[self.setting.test].place,
            device=place.running.device,
            report=place.report,
        )
        return Attempt(run=run, measured=[found], lines=[asdict(found)])

    def _pseudo_labels(self, folders: Mapping[Bundled, Ready], place: Place) -> Ready:
        """What the network of classes makes of the scenes that are trained on."""
        run = self.labelling.trained(0, folders, place)
        scenes = folders[self.setting.train]
        name = f"predictions-{digest((run.name, scenes.name))}"
        out = Location(place.out / "bundles" / name)
        predict(run, out, data=scenes.place, device=place.running.device, report=place.report)
        return Ready(name, out)


def _trials(scale: Scale) -> list[Salient]:
    (trunk,) = trunks_of(scale, (RES50,))
    methods = {row: METHODS[row] for row in _PAPER}
    made = networks(SETTINGS[scale], methods, (trunk,))
    (labelling,) = (one for one in made if one.row == BASELINE)
    network = _SETTINGS[scale].network
    return [
        Salient(
            row=one.row,
            column=trunk,
            config=replace(network, trunk=one.config.trunk, variant=one.config.variant),
            setting=_SETTINGS[scale],
            labelling=labelling,
        )
        for one in made
    ]


def _present(results: Results[SaliencyScore]) -> Layout:
    values: dict[tuple[str, str], list[float]] = {}
    for row, column in results.attempts:
        for (one,) in results.measured((row, column)):
            values.setdefault((row, _F), []).append(one.max_f)
            values.setdefault((row, _MAE), []).append(one.error)
    paper = {
        (row, name): number
        for row, numbers in _PAPER.items()
        for name, number in zip((_F, _MAE), numbers, strict=True)
    }
    grid = Grid(
        title="salient objects: max F is better high, MAE low",
        values=values,
        rows=tuple(_PAPER),
        columns=(_F, _MAE),
        paper=paper,
        decimals=3,
        corner="method",
    )
    return Layout(grids=(grid,), notes=_notes(results))


def _notes(results: Results[SaliencyScore]) -> tuple[str, ...]:
    setting = _SETTINGS[results.scale]
    network = setting.network
    (first, *_) = (one for cell in results.attempts for (one,) in results.measured(cell))
    ours = (
        f"Trained on {setting.train.dataset} in crops of {network.crop} pixels and batches of"
        f" {network.batch_size} for {network.epochs} epochs, and {network.denoising_epochs} of"
        f" denoising; measured on {first.images:,} images of {setting.test.dataset}, each whole and"
        " at its own size, by the probability of what is salient in S_t."
    )
    return ours, _LABELS.format(least=f"{100 * network.least:g}"), _DATA


_LABELS = (
    "Binding-CM chooses partners by pseudo labels: the classes that the baseline of Table 1, of the"
    " first seed, predicts. One that has less than {least} % of a crop's pixels does not count."
)
_DATA = "The paper trains on the 10,553 images of DUT-S and measures on the 1,000 of ECSSD."

STUDY = Trials(
    title="Salient objects",
    paper=f"{AUTHORS}, Table 6",
    seeds=SEEDS,
    trials=_trials,
    present=_present,
)
