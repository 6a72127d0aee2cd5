"""Table 5 of the earlier version's supplement: a wide ResNet in place of ResNet-50.

At the scales below full the encoder is that of Table 1, and so are the runs.
"""

from functools import partial

from quire.train.studies.classifiers import Accuracies
from quire.train.studies.mbsg.datasets import present, trials, twice
from quire.train.studies.mbsg.setting import BASELINE, RIVALS
from quire.train.studies.study import Layout
from quire.train.studies.trials import Trials

_CONTRAST, _AFFINITY, _ = RIVALS
_PAPER = {
    BASELINE: twice("95.62 ± 0.14", "79.58 ± 0.20", "66.20 ± 0.19"),
    _CONTRAST: twice("95.91 ± 0.16", "80.15 ± 0.15", "66.89 ± 0.17"),
    _AFFINITY: twice("95.59 ± 0.18", "79.8 ± 0.19", "66.8 ± 0.16"),
    "MBSG (concat)": (
        *("96.02 ± 0.21", "96.05 ± 0.20"),
        *("80.18 ± 0.18", "80.20 ± 0.18"),
        *("66.87 ± 0.22", "66.90 ± 0.21"),
    ),
    "MBSG (sum)": (
        *("95.78 ± 0.15", "95.80 ± 0.14"),
        *("79.85 ± 0.17", "79.88 ± 0.15"),
        *("66.52 ± 0.18", "66.51 ± 0.17"),
    ),
    "MBSG (dropfeat)": (
        *("96.14 ± 0.16", "96.17 ± 0.18"),
        *("80.46 ± 0.21", "80.45 ± 0.20"),
        *("67.10 ± 0.19", "67.12 ± 0.20"),
    ),
    "Attn-MBSG (concat)": (
        *("95.95 ± 0.15", "95.95 ± 0.18"),
        *("80.22 ± 0.20", "80.23 ± 0.19"),
        *("66.96 ± 0.18", "66.98 ± 0.18"),
    ),
    "Attn-MBSG (sum)": (
        *("95.89 ± 0.19", "95.91 ± 0.18"),
        *("80.02 ± 0.20", "80.06 ± 0.18"),
        *("66.67 ± 0.16", "66.69 ± 0.17"),
    ),
    "Attn-MBSG (dropfeat)": (
        *("96.12 ± 0.20", "96.14 ± 0.21"),
        *("80.76 ± 0.17", "80.76 ± 0.15"),
        *("67.25 ± 0.22", "67.26 ± 0.20"),
    ),
}


def _present(results: Accuracies) -> Layout:
    same = () if results.scale == "full" else (_SAME,)
    return present(results, _PAPER, *same)


_SAME = "At this scale the encoder, and so every run, is that of mbsg-table1."

STUDY = Trials(
    title="Image classification with a wide ResNet",
    paper="Mondal, Jain & Siddiqi 2021 (earlier version), Table 5",
    seeds={"smoke": 1, "small": 1, "full": 5},
    trials=partial(trials, rows=tuple(_PAPER), encoder="wrn-28-10"),
    present=_present,
)
