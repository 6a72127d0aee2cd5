"""How the studies of SegMix lay out what they measured: methods in rows, ours beside the paper's.

A network of feature binding has two answers for a scene, S_t and S_fb, a row each until it is
denoised: that trains S_t alone, and S_fb, which is left to its fate, is no answer any more. The
paper gives one number and does not say of which. It is set beside S_t; for a network that was not
denoised, beside S_fb, which was trained to be the last word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quire.builders.recipes.subset_rules import PUBLISHED
from quire.train.engine.runs import read_run
from quire.train.report.grid import Grid
from quire.train.report.page import Table
from quire.train.segmentation.evaluate import ALL
from quire.train.segmentation.measure import Measured
from quire.train.segmentation.run import WEIGHTS
from quire.train.studies.segmix.network import Ious, Part, percents
from quire.train.studies.segmix.setting import SETTINGS, Method, Setting

_NAMES = {"target": "S_t", "bound": "S_fb"}


def whole(measured: Measured) -> float:
    """The mean IoU over the classes that occur or were predicted."""
    return measured.mean_iou


def occurring(measured: Measured) -> float:
    """The mean IoU over the classes that occur."""
    return measured.occurring_iou


@dataclass(frozen=True, kw_only=True)
class Column:
    """What a column of a table has: networks by their trials' column, on some scenes, a number."""

    of: str
    subset: str = ALL
    part: Part = whole


def table(
    results: Ious,
    title: str,
    methods: Mapping[str, Method],
    columns: Mapping[str, Column],
    paper: Mapping[str, Sequence[float]] | None = None,
) -> Grid:
    """Methods in rows, with the paper's numbers: those of a method are of the first columns.

    A column that the paper has, but nobody measured, stays; one that nobody has is left out.
    """
    rows = list(dict.fromkeys(row for row, _ in results.attempts))
    labels = {(row, answer): label for row in rows for answer, label in _labels(results, row)}
    values = {
        (label, name): found
        for (row, answer), label in labels.items()
        for name, column in columns.items()
        if (found := percents(results, (row, column.of), answer, column.subset, column.part))
    }
    beside = {
        (labels.get((row, methods[row].reported), row), name): number
        for row, numbers in (paper or {}).items()
        for name, number in zip(columns, numbers, strict=False)
    }
    known = {name for _, name in (*values, *beside)}
    return Grid(
        title=title,
        values=values,
        rows=tuple(labels.values()),
        columns=tuple(name for name in columns if name in known),
        paper=beside,
        corner="method",
    )


def both_means(
    results: Ious,
    methods: Mapping[str, Method],
    trunk: str,
    subsets: Sequence[str],
    paper: Mapping[str, Sequence[float]] | None = None,
) -> tuple[Grid, Grid]:
    """Subsets in columns, by the mean over the classes that occur, and over all that are told.

    The paper does not say which of them it has. In a few scenes a class that is told once, where it
    is not, has an IoU of 0, and weighs as much in the second mean as one that is everywhere.
    """
    occur = {name: Column(of=trunk, subset=name, part=occurring) for name in subsets}
    told = {name: Column(of=trunk, subset=name) for name in subsets}
    first = "mean IoU (%) over the classes that occur in a subset"
    second = "mean IoU (%) over the classes that occur or are predicted"
    return table(results, first, methods, occur, paper), table(results, second, methods, told)


def _labels(results: Ious, row: str) -> list[tuple[str, str]]:
    """The answers of a method's networks, and how the row of each is called."""
    measured = (
        seed for cell in results.attempts if cell[0] == row for seed in results.measured(cell)
    )
    there = {one.measured.answer for seed in measured for one in seed}
    answers = [answer for answer in _NAMES if answer in there]
    if len(answers) == 1:
        return [(answers[0], row)]
    return [(answer, f"{row}, {_NAMES[answer]}") for answer in answers]


def scenes_table(results: Ious, subsets: Sequence[str]) -> Table:
    """How many scenes each subset has, beside how many the paper says there are."""
    counts = {
        one.subset: one.measured.scenes
        for cell in results.attempts
        for seed in results.measured(cell)
        for one in seed
    }
    rows = tuple((name, str(counts.get(name, 0)), str(PUBLISHED.get(name, ""))) for name in subsets)
    return Table(rows, ("subset", "scenes", "the paper's"), _SCENES)


def notes(results: Ious) -> tuple[str, ...]:
    """What has to be known of the numbers before they are held against the paper's."""
    setting, scale = SETTINGS[results.scale], results.scale
    network = setting.network
    runs = map(read_run, results.first_runs.values())
    began = sorted({"ImageNet's" if WEIGHTS in run.inputs else "random" for run in runs})
    ours = (
        f"Trained on {setting.dataset}, {setting.train}, in crops of {network.crop} pixels and"
        f" batches of {network.batch_size} for {network.epochs} epochs, and"
        f" {network.denoising_epochs} of denoising; Binding-CC on {_blends(setting)} for"
        f" {setting.blend_epochs} epochs. Trunks begin with {' or '.join(began)} weights."
    )
    others = {"full": (_SHARE,), "paper": ()}.get(scale, (_PAPERS,))
    return (ours, _ANSWERS, *others)


def _blends(setting: Setting) -> str:
    return "all blends" if setting.blends is None else f"{setting.blends:,} blends"


_SHARE = (
    "Binding-CC sees as many blends as the others see scenes. The paper's sees all 295,545 in each"
    " of its 50 epochs, 28 times as many: that is scale paper."
)

_ANSWERS = (
    "Of networks that were denoised the answer is S_t, the dominant source's: denoising trains no"
    " other. Before it there is S_fb too, which binds both sources. The paper has one number for"
    " each network and does not say of which: it stands beside S_t, or, before denoising, S_fb."
)
_PAPERS = (
    "The paper's networks are ResNets that begin with ImageNet's weights, trained on 10,582 scenes"
    " of Pascal VOC 2012 in crops of 513 pixels for 50 epochs."
)
_SCENES = (
    "scenes in each subset; none also where the source does not tell which: occlusion and number of"
    " objects want annotations. Of person and car the paper prints 45, which are those of car"
    " alone; there are 15"
)
