"""Figure 5: the NDB score by training step, and Figures 12 and 13: what the generators make.

The paper draws curves and prints no numbers; its text: "our proposed MC-MBGNN helps the generator
learn faster and generate more diverse samples, which is substantiated by lower NDB scores." Five
runs of each, 100 bins, 5,120 generated images.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from quire.train.engine.runs import SAMPLES
from quire.train.gan.ndb import FLOOR
from quire.train.report.grid import Grid
from quire.train.report.plots.curves import Curve, Curves
from quire.train.studies.mbgnn.gans import MODELS, VANILLA, Point, notes, trials
from quire.train.studies.study import Figure, Layout
from quire.train.studies.trials import Results, Trials

_MEASURES: Mapping[str, Callable[[Point], float]] = {
    "NDB/K": lambda point: point.score,
    "JS (nats)": lambda point: point.js,
    "bins reached": lambda point: point.reached,
}
_DRAWN = ("NDB/K", "JS (nats)")


def _present(results: Results[Point]) -> Layout:
    datasets = tuple(dict.fromkeys(column for _, column in results.attempts))
    tables = tuple(_table(dataset, results) for dataset in datasets)
    panels = tuple(_panel(dataset, name, results) for dataset in datasets for name in _DRAWN)
    return Layout(
        grids=tables,
        figures=(Figure(name="figure", panels=panels),),
        pictures={
            f"samples, {dataset}, {row}": _samples(run)
            for (row, dataset), run in results.first_runs.items()
        },
        notes=(_PAPER, *notes(results.scale)),
    )


def _table(dataset: str, results: Results[Point]) -> Grid:
    """What there is to say of the images midway and at the end of training."""
    values = {}
    for row in MODELS:
        seeds = results.measured((row, dataset))
        for name, measure in _MEASURES.items():
            values[row, f"{name}, midway"] = [measure(_midway(seed)) for seed in seeds]
            values[row, f"{name}, end"] = [measure(seed[-1]) for seed in seeds]
    columns = tuple(dict.fromkeys(column for _, column in values))
    title = f"{dataset}: generated images over bins of real ones; NDB/K is {FLOOR} at best"
    return Grid(title=title, values=values, rows=tuple(MODELS), columns=columns, decimals=3)


def _midway(points: Sequence[Point]) -> Point:
    return points[(len(points) - 1) // 2]


def _panel(dataset: str, name: str, results: Results[Point]) -> Curves:
    curves = []
    steps: tuple[int, ...] = ()
    for row in MODELS:
        seeds = results.measured((row, dataset))
        if seeds:
            steps = tuple(point.step for point in seeds[0])
            columns = zip(*seeds, strict=True)
            values = tuple(tuple(map(_MEASURES[name], points)) for points in columns)
            curves.append(Curve(label=row, x=steps, values=values, reference=row == VANILLA))
    if name == "NDB/K":
        floor = tuple((FLOOR,) for _ in steps)
        curves.append(
            Curve(label="floor, where nothing differs", x=steps, values=floor, reference=True)
        )
    return Curves(
        title=f"{dataset}: {name}", x_label="iteration", y_label=name, curves=tuple(curves)
    )


def _samples(run: Path) -> Image.Image:
    """The last grid of a run."""
    with Image.open(max((run / SAMPLES).iterdir())) as grid:
        return grid.convert("RGB")


_PAPER = (
    "The paper prints no numbers. Its curves have MC-MBGNN below minibatch discrimination and a"
    " vanilla GAN, on both datasets, over most of the training."
)

STUDY = Trials(
    title="How generated images spread over bins of real ones",
    paper="Mondal, Jain & Siddiqi 2021 (earlier version), Figure 5",
    seeds={"smoke": 1, "small": 5, "full": 5},
    trials=trials,
    present=_present,
)
