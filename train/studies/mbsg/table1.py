"""Table 1: accuracy on three datasets, with graphs of test images and of training images."""

from functools import partial

from quire.train.studies.classifiers import Accuracies
from quire.train.studies.mbsg.datasets import present, trials, twice
from quire.train.studies.mbsg.setting import BASELINE, RIVALS
from quire.train.studies.study import Layout
from quire.train.studies.trials import Trials

_CONTRAST, _AFFINITY, _DISTILLATION = RIVALS
_PAPER = {
    BASELINE: twice("94.69 ± 0.17", "74.48 ± 0.25", "64.48 ± 0.27"),
    _CONTRAST: twice("94.85 ± 0.13", "74.80 ± 0.22", "65.10 ± 0.16"),
    _AFFINITY: twice("94.45 ± 0.35", "74.50 ± 0.59", "64.60 ± 0.30"),
    _DISTILLATION: twice("94.80 ± 0.16", "74.61 ± 0.30", "65.00 ± 0.21"),
    "MBSG (concat)": (
        *("95.19 ± 0.23", "95.21 ± 0.21"),
        *("75.22 ± 0.17", "75.15 ± 0.20"),
        *("65.80 ± 0.21", "65.81 ± 0.19"),
    ),
    "MBSG (sum)": (
        *("95.02 ± 0.19", "95.02 ± 0.13"),
        *("75.18 ± 0.21", "75.20 ± 0.15"),
        *("65.68 ± 0.17", "65.70 ± 0.18"),
    ),
    "MBSG (dropfeat)": (
        *("95.24 ± 0.19", "95.22 ± 0.25"),
        *("75.21 ± 0.17", "75.25 ± 0.19"),
        *("65.82 ± 0.18", "65.84 ± 0.20"),
    ),
    "Attn-MBSG (concat)": (
        *("95.14 ± 0.14", "95.12 ± 0.21"),
        *("75.16 ± 0.22", "75.19 ± 0.25"),
        *("65.86 ± 0.15", "65.87 ± 0.18"),
    ),
    "Attn-MBSG (sum)": (
        *("94.95 ± 0.18", "94.98 ± 0.15"),
        *("75.23 ± 0.15", "75.25 ± 0.17"),
        *("65.72 ± 0.19", "65.73 ± 0.17"),
    ),
    "Attn-MBSG (dropfeat)": (
        *("95.05 ± 0.25", "95.06 ± 0.22"),
        *("75.29 ± 0.11", "75.26 ± 0.18"),
        *("65.86 ± 0.22", "65.85 ± 0.20"),
    ),
}


def _present(results: Accuracies) -> Layout:
    return present(results, _PAPER)


STUDY = Trials(
    title="Image classification with mini-batch similarity graphs",
    paper="Mondal, Jain & Siddiqi 2021, Table 1",
    seeds={"smoke": 1, "small": 1, "full": 5},
    trials=partial(trials, rows=tuple(_PAPER)),
    present=_present,
)
