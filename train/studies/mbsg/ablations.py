"""Accuracy on CIFAR-10 by the heads N of attention, the weight beta, and the probability p.

The paper says that N = 3, beta = .5 and p = .5 are best, and prints no numbers. Where nothing is
drawn, p = 0 and p = 1, dropping is weighing by beta = 0 and beta = 1: those cells are the same run.
"""

from collections.abc import Mapping
from dataclasses import replace

from quire.models.similarity_graph import GraphConfig
from quire.train.report.grid import Grid
from quire.train.studies.classifiers import Accuracies, Classifier, accuracy
from quire.train.studies.mbsg.setting import VARIANTS, ablation_trial, notes, setting
from quire.train.studies.study import Layout, Scale
from quire.train.studies.trials import Cell, Trials

_HEADS = "Attn-MBSG (dropfeat)"
_SUMS = {"MBSG (dropfeat)": "MBSG (sum)", "Attn-MBSG (dropfeat)": "Attn-MBSG (sum)"}
_N: Mapping[Scale, tuple[int, ...]] = {"smoke": (1, 3), "small": (1, 2, 3, 4), "full": (1, 2, 3, 4)}
_PARTS: Mapping[Scale, tuple[float, ...]] = {
    "smoke": (0, 0.5, 1),
    "small": (0, 0.25, 0.5, 0.75, 1),
    "full": (0, 0.25, 0.5, 0.75, 1),
}
_ENDS = (0, 1)


def _trials(scale: Scale) -> list[Classifier]:
    graphs = {(_HEADS, f"N={n}"): replace(_graph(_HEADS), heads=n) for n in _N[scale]}
    for dropped, summed in _SUMS.items():
        for part in _PARTS[scale]:
            graphs[summed, f"beta={part:g}"] = replace(_graph(summed), beta=part)
            if part not in _ENDS:
                graphs[dropped, f"p={part:g}"] = replace(_graph(dropped), p=part)
    return [ablation_trial(scale, *cell, setting(scale, graph)) for cell, graph in graphs.items()]


def _graph(row: str) -> GraphConfig:
    return VARIANTS[row] or GraphConfig()


def _present(results: Accuracies) -> Layout:
    parts = _PARTS[results.scale]
    heads = {(_HEADS, f"N={n}"): (_HEADS, f"N={n}") for n in _N[results.scale]}
    sums = {
        (row, f"beta={part:g}"): (row, f"beta={part:g}") for row in _SUMS.values() for part in parts
    }
    drops = {(row, f"p={part:g}"): _trial_of(row, part) for row in _SUMS for part in parts}
    grids = (
        _grid(results, "heads of attention", heads),
        _grid(results, "weight of a node's own features in a sum", sums),
        _grid(results, "probability of a node's own features", drops),
    )
    return Layout(grids=grids, notes=(_SAME, *notes(results.scale)))


def _trial_of(row: str, p: float) -> Cell:
    """Whose run drops features with this probability."""
    return (_SUMS[row], f"beta={p:g}") if p in _ENDS else (row, f"p={p:g}")


def _grid(results: Accuracies, what: str, cells: Mapping[Cell, Cell]) -> Grid:
    """Cells of a table, each from the trial that is named beside it."""
    return Grid(
        title=f"accuracy (%) by {what}, inductive",
        values={cell: accuracy(results, trial, "inductive") for cell, trial in cells.items()},
        rows=tuple(dict.fromkeys(row for row, _ in cells)),
        columns=tuple(dict.fromkeys(column for _, column in cells)),
    )


_SAME = (
    "With p = 0 and p = 1 nothing is drawn: these cells are the runs of beta = 0 and beta = 1. The"
    " paper prints no numbers; it says that N = 3, beta = .5 and p = .5 are best."
)

STUDY = Trials(
    title="Heads, weights and dropped features",
    paper="Mondal, Jain & Siddiqi 2021, section 3.1",
    seeds={"smoke": 1, "small": 1, "full": 5},
    trials=_trials,
    present=_present,
)
