"""Figure 2 of the earlier version: accuracy in training and on test images, by epoch.

The paper draws curves over a logarithmic axis and prints no numbers; its text: "The MBGNN models
train faster than the standard network, giving a significant performance difference during early
parts of the training process." Test images are classified in mini-batches (inductive) after every
epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quire.models.similarity_graph import GraphConfig
from quire.train.classify.run import Classify, recorded
from quire.train.classify.training import train
from quire.train.engine.metrics import read_metrics
from quire.train.report.grid import Grid
from quire.train.report.plots.curves import Curve, Curves
from quire.train.studies.bundles import Bundled, Ready
from quire.train.studies.mbsg.setting import BASELINE, VARIANTS, clean, notes, setting
from quire.train.studies.study import Figure, Layout, Place, Scale
from quire.train.studies.trials import Attempt, Results, Trials

_COLUMN = "accuracy"
_SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 350, 500)  # epochs of the table


@dataclass(frozen=True, slots=True)
class Epoch:
    """How well a model does after an epoch, in percent."""

    epoch: int
    train: float
    test: float


@dataclass(frozen=True, kw_only=True)
class Followed:
    """A classifier that is tested after every epoch; see `quire.train.studies.trials.Trial`."""

    row: str
    column: str
    config: Classify  # its seed is replaced
    data: Bundled
    test: Bundled

    @property
    def bundles(self) -> tuple[Bundled, ...]:
        """What is trained on, and what is tested on."""
        return self.data, self.test

    def attempt(self, seed: int, folders: Mapping[Bundled, Ready], place: Place) -> Attempt[Epoch]:
        """Train one seed, as far as that was not done before.

        Its folder is its own: a run of another study was not tested on its way.
        """
        config, data, test = replace(self.config, seed=seed), folders[self.data], folders[self.test]
        words = config.encoder, config.head, f"seed{seed}", "tested"
        run = place.run("-".join(words), recorded(config), data.name, test.name)
        train(config, data.place, run, test=test.place, running=place.running, report=place.report)
        epochs = [
            Epoch(int(line["epoch"]), line["train_accuracy"], line["test_accuracy"])
            for line in read_metrics(run)
            if "test_accuracy" in line
        ]
        lines = [{"epoch": e.epoch, "train": e.train, "test": e.test} for e in epochs]
        return Attempt(run=run, measured=epochs, lines=lines)


def _trials(scale: Scale) -> list[Followed]:
    return [
        Followed(
            row=name,
            column=_COLUMN,
            config=_config(scale, graph),
            data=clean(scale, "train"),
            test=clean(scale, "test"),
        )
        for name, graph in VARIANTS.items()
    ]


def _config(scale: Scale, graph: GraphConfig | None) -> Classify:
    config = setting(scale, graph)
    return replace(config, epochs=3) if scale == "smoke" else config  # a curve has several points


def _present(results: Results[Epoch]) -> Layout:
    found = {row: results.measured((row, column)) for row, column in results.attempts}
    last = max(
        (epoch.epoch for seeds in found.values() for one in seeds for epoch in one), default=0
    )
    epochs = [epoch for epoch in _SHOWN if epoch < last] + [last]
    values = {
        (row, f"epoch {epoch}"): [e.test for one in seeds for e in one if e.epoch == epoch]
        for row, seeds in found.items()
        for epoch in epochs
    }
    grid = Grid(
        title="accuracy (%) on test images by epoch, inductive",
        values=values,
        rows=tuple(VARIANTS),
        columns=tuple(f"epoch {epoch}" for epoch in epochs),
    )
    panels = tuple(
        _panel(f"{images}, {kind}", found, rows, images)
        for kind, rows in _rows().items()
        for images in ("train", "test")
    )
    figure = Figure(name="figure", panels=panels)
    return Layout(grids=(grid,), figures=(figure,), notes=(_PAPER, *notes(results.scale)))


def _rows() -> dict[str, list[str]]:
    names = [name for name in VARIANTS if name != BASELINE]
    return {
        "MBSG": [name for name in names if not name.startswith("Attn")],
        "Attn-MBSG": [name for name in names if name.startswith("Attn")],
    }


def _panel(
    title: str, found: Mapping[str, Sequence[Sequence[Epoch]]], rows: list[str], images: str
) -> Curves:
    curves = []
    for row in (*rows, BASELINE):
        seeds = found.get(row, [])
        epochs = sorted({e.epoch for one in seeds for e in one})
        values = tuple(
            tuple(getattr(e, images) for one in seeds for e in one if e.epoch == epoch)
            for epoch in epochs
        )
        curves.append(Curve(label=row, x=tuple(epochs), values=values, reference=row == BASELINE))
    return Curves(
        title=title, x_label="epoch", y_label="accuracy (%)", curves=tuple(curves), log=True
    )


_PAPER = (
    "The paper's figure has curves without numbers. Its text: models with a graph train faster than"
    " the baseline, with a significant difference in early parts of the training."
)

STUDY = Trials(
    title="Accuracy by epoch",
    paper="Mondal, Jain & Siddiqi 2021 (earlier version), Figure 2",
    seeds={"smoke": 1, "small": 1, "full": 5},
    trials=_trials,
    present=_present,
)
