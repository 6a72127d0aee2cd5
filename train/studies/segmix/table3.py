"""Table 3: mean IoU on complex scenes: by occlusion, number of objects, number of classes."""

from quire.train.studies.segmix.network import Ious
from quire.train.studies.segmix.setting import BASELINE, CC, CM, CUTMIX, METHODS, MIXUP
from quire.train.studies.segmix.table_layouts import on_subsets
from quire.train.studies.segmix.tables import both_means, notes, scenes_table
from quire.train.studies.study import Layout

_SUBSETS = (
    *("1-occ", "all-occ", "1-obj", "2-obj", "3-obj", "4-obj"),
    *("2-unique", "3-unique", "4-unique"),
)
_PAPER = {
    BASELINE: (75.5, 74.9, 74.6, 74.8, 76.0, 70.0, 72.5, 63.5, 62.1),
    MIXUP: (75.4, 72.3, 77.9, 74.3, 71.7, 68.3, 72.0, 58.1, 59.2),
    CUTMIX: (76.4, 74.3, 78.3, 75.4, 73.0, 70.0, 72.3, 60.1, 59.6),
    CC: (77.9, 76.1, 80.7, 77.2, 75.6, 70.0, 74.0, 61.5, 62.0),
    CM: (78.7, 76.1, 80.7, 77.2, 77.9, 72.1, 75.4, 65.6, 63.6),
}


def _layout(results: Ious, trunk: str) -> Layout:
    grids = both_means(results, METHODS, trunk, _SUBSETS, _PAPER)
    counts = scenes_table(results, _SUBSETS)
    return Layout(grids=grids, tables={"scenes": counts}, notes=notes(results))


STUDY = on_subsets("Segmentation of complex scenes", "Table 3", _layout)
