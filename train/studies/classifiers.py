"""Classifiers as the trials of a study."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from quire.train.classify.evaluate import Evaluate, Measured, evaluate
from quire.train.classify.objectives import views_of
from quire.train.classify.run import Classify, recorded, trained
from quire.train.classify.training import train
from quire.train.engine.metrics import read_metrics
from quire.train.studies.bundles import Bundled, Ready, built
from quire.train.studies.study import Place
from quire.train.studies.trials import Attempt, Cell, Results, Trials

Accuracies: TypeAlias = Results[Measured]

# The embedded digits, to show that everything fits together.
SMOKE = Classify(
    encoder="resnet8",
    head="linear",
    epochs=1,
    batch_size=64,
    lr=0.05,
    warmup=0.1,
    crop=(1.0, 1.0),
    flip=False,
)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A classifier of a study; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    config: Classify  # its seed is replaced
    data: Bundled  # to train on
    tests: tuple[tuple[Bundled, Evaluate], ...]  # to measure on
    anchors: Bundled | None = None  # its recipe's seed is replaced

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What is trained on, and what is measured on; the anchors hang on the seed."""
        return self.data, *(bundle for bundle, _ in self.tests)

    def attempt(
        self, seed: int, folders: Mapping[Bundled, Ready], place: Place
    ) -> Attempt[Measured]:
        """Train and measure one seed, as far as that was not done before."""
        config = replace(self.config, seed=seed, weights=place.published(self.config.encoder))
        data, anchors = folders[self.data], self._anchors(seed, place)
        run = fitted(config, data, anchors, place)
        named = None if anchors is None else anchors.place
        options: dict[str, Any] = {"anchors": named, "report": place.report}
        options |= {"context": data.place, "device": place.running.device}
        measured = []
        for bundle, how in self.tests:
            measured += evaluate(run, folders[bundle].place, how=how, **options)
        lines = [{**dataclasses.asdict(one), "accuracy": one.accuracy} for one in measured]
        return Attempt(run=run, measured=measured, lines=lines)

    def _anchors(self, seed: int, place: Place) -> Ready | None:
        """The anchors of a seed."""
        if self.anchors is None:
            return None
        recipe = replace(self.anchors.recipe, seed=seed)
        return built(replace(self.anchors, recipe=recipe), place)


Classifiers: TypeAlias = Trials[Classifier, Measured]


def fitted(config: Classify, data: Ready, anchors: Ready | None, place: Place) -> Path:
    """A finished run, trained as far as that was not done before. -> its folder."""
    run = run_folder(config, data, anchors, place)
    named = None if anchors is None else anchors.place
    train(config, data.place, run, running=place.running, anchors=named, report=place.report)
    return run


def run_folder(config: Classify, data: Ready, anchors: Ready | None, place: Place) -> Path:
    """Where a run lies: other studies that want the same find it there."""
    words = config.encoder, config.head, f"seed{config.seed}"
    bundles = [data.name] if anchors is None else [data.name, anchors.name]
    return place.run("-".join(words), recorded(config), *bundles)


def accuracy(
    results: Accuracies,
    cell: Cell,
    setting: str,
    corruption: str = "clean",
    severity: float = 0,
) -> tuple[float, ...]:
    """The accuracy of a trial (row, column) for each seed, in percent; none if it was not run.

    What was measured twice counts once.
    """
    wanted = setting, corruption, severity
    found = []
    for seed in results.measured(cell):
        cells = {(one.setting, one.corruption, one.severity): one.accuracy for one in seed}
        if wanted in cells:
            found.append(cells[wanted])
    return tuple(found)


def images_seen(run: Path) -> int:
    """How many images the encoder or the head of a finished run was shown, each view for itself."""
    _, config, _ = trained(run)
    lines = read_metrics(run)
    steps = max(int(line["step"]) for line in lines)
    first = max((int(line["step"]) for line in lines if line.get("stage") == 1), default=steps)
    return config.batch_size * (views_of(config) * first + steps - first)


def severities(results: Accuracies, corruption: str) -> tuple[float, ...]:
    """The severities at which a corruption was measured, rising."""
    of_runs = (one for cell in results.attempts for seed in results.measured(cell) for one in seed)
    return tuple(sorted({one.severity for one in of_runs if one.corruption == corruption}))
