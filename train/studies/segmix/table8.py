"""Table 8: what the feature binding head adds; networks are measured before denoising."""

from collections.abc import Mapping
from typing import Any

from quire.train.studies.segmix.setting import BASELINE, METHODS, RES101, Method
from quire.train.studies.segmix.table_layouts import by_trunk

_HEADLESS: Mapping[str, Any] = {"binding_head": False, "denoising_epochs": 0}

STUDY = by_trunk(
    "Feature binding with and without its head",
    "Table 8",
    methods={
        BASELINE: METHODS[BASELINE],
        "+ Binding-CC (w/o FBH)": Method(variant="binding-cc", separation=True, fields=_HEADLESS),
        "+ Binding-CC (w/ FBH)": Method(variant="binding-cc", separation=True),
        "+ Binding-CM (w/o FBH)": Method(variant="binding-cm", separation=True, fields=_HEADLESS),
        "+ Binding-CM (w/ FBH)": Method(variant="binding-cm", separation=True),
    },
    trunks=(RES101,),
    paper={
        BASELINE: (77.1,),
        "+ Binding-CC (w/o FBH)": (76.1,),
        "+ Binding-CC (w/ FBH)": (76.4,),
        "+ Binding-CM (w/o FBH)": (77.9,),
        "+ Binding-CM (w/ FBH)": (78.3,),
    },
)
