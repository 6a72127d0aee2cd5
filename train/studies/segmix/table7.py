"""Table 7: what denoising adds to feature binding."""

from quire.train.studies.segmix.setting import BASELINE, METHODS, RES50, RES101, Method
from quire.train.studies.segmix.table_layouts import by_trunk

STUDY = by_trunk(
    "Feature binding with and without denoising",
    "Table 7",
    methods={
        BASELINE: METHODS[BASELINE],
        "+ Binding-CC (w/o DN)": Method(variant="binding-cc", separation=True),
        "+ Binding-CC (w/ DN)": Method(variant="binding-cc"),
        "+ Binding-CM (w/o DN)": Method(variant="binding-cm", separation=True),
        "+ Binding-CM (w/ DN)": Method(variant="binding-cm"),
    },
    trunks=(RES50, RES101),
    paper={
        BASELINE: (75.9, 77.1),  # elsewhere the paper has 75.1 for the first of these
        "+ Binding-CC (w/o DN)": (75.4, 76.4),
        "+ Binding-CC (w/ DN)": (75.7, 77.9),
        "+ Binding-CM (w/o DN)": (76.1, 78.3),
        "+ Binding-CM (w/ DN)": (76.2, 78.9),
    },
)
