"""Table 9: what each part adds, from Mixup to feature binding with denoising."""

from quire.train.studies.segmix.setting import BASELINE, CM, METHODS, MIXUP, RES50, RES101, Method
from quire.train.studies.segmix.table_layouts import by_trunk

_PAIRED = f"{MIXUP} + Co-occurrence"
_BOUND = f"{_PAIRED} + Binding"
_DENOISED = f"{_BOUND} + DN"

STUDY = by_trunk(
    "From Mixup to feature binding",
    "Table 9",
    methods={
        BASELINE: METHODS[BASELINE],
        MIXUP: METHODS[MIXUP],
        _PAIRED: Method(variant="mixup-cm"),
        _BOUND: Method(variant="binding-cm", separation=True),
        _DENOISED: METHODS[CM],
    },
    trunks=(RES50, RES101),
    paper={
        BASELINE: (75.1, 77.1),
        MIXUP: (73.6, 76.2),
        _PAIRED: (74.2, 77.2),
        _BOUND: (76.1, 78.3),
        _DENOISED: (76.2, 78.9),
    },
)
