"""Table 1: mean IoU of the baseline, Mixup, CutMix and both kinds of feature binding."""

from train.studies.segmix.kinds import by_trunk
from train.studies.segmix.setting import (
    BASELINE,
    CC,
    CM,
    CUTMIX,
    METHODS,
    MIXUP,
    RES50,
    RES101,
)

STUDY = by_trunk(
    "Segmentation with blended images and feature binding",
    "Table 1",
    methods=METHODS,
    trunks=(RES50, RES101),
    paper={
        BASELINE: (75.1, 77.1),
        MIXUP: (73.6, 76.2),
        CUTMIX: (75.1, 76.7),
        CC: (75.7, 77.9),
        CM: (76.2, 78.9),
    },
)
