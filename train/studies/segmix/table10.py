"""Table 10: how many classes a blend by co-occurrence may have; measured before denoising."""

from typing import Any

from quire.train.studies.segmix.setting import BASELINE, METHODS, RES50, RES101, Method
from quire.train.studies.segmix.table_layouts import by_trunk


def _row(**fields: Any) -> Method:
    return Method(variant="binding-cm", separation=True, fields=fields)


def _at_most(classes: int | None) -> Method:
    return _row(max_total=classes, gamma=None, denoising_epochs=0)


STUDY = by_trunk(
    "Classes in a blend",
    "Table 10",
    methods={
        BASELINE: METHODS[BASELINE],
        "+ Binding-CM (max = 2)": _at_most(2),
        "+ Binding-CM (max = 3)": _at_most(3),
        "+ Binding-CM (max = 4)": _at_most(4),
        "+ Binding-CM (no max)": _at_most(None),
        "+ Binding-CM (no max) + gamma": _row(),
    },
    trunks=(RES50, RES101),
    paper={
        BASELINE: (75.1, 77.1),
        "+ Binding-CM (max = 2)": (75.9, 77.2),
        "+ Binding-CM (max = 3)": (76.1, 77.6),
        "+ Binding-CM (max = 4)": (75.6, 77.7),
        "+ Binding-CM (no max)": (76.1, 77.0),
        "+ Binding-CM (no max) + gamma": (76.1, 78.3),
    },
)
