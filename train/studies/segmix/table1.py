"""Table 1: mean IoU of the baseline, Mixup, CutMix and both kinds of feature binding.

Some scenes are shown beside what the networks make of them, as in the paper's Figure 3.
"""

from dataclasses import replace

from PIL import Image

from quire.train.segmentation.panels import scene_panels, some_keys
from quire.train.studies.segmix.network import Ious
from quire.train.studies.segmix.setting import (
    BASELINE,
    CC,
    CM,
    CUTMIX,
    METHODS,
    MIXUP,
    RES50,
    RES101,
)
from quire.train.studies.segmix.table_layouts import by_trunk
from quire.train.studies.study import Layout

_SCENES = 6  # that are shown

_TABLE = by_trunk(
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


def _present(results: Ious) -> Layout:
    return replace(_TABLE.present(results), pictures={"panels": panels(results)})


def panels(results: Ious) -> Image.Image:
    """Some scenes beside what the networks of the last trunk make of them."""
    *_, (_, last) = results.attempts
    runs = {row: run for (row, trunk), run in results.first_runs.items() if trunk == last}
    data = results.tests[BASELINE, last].place
    return scene_panels(runs, data, some_keys(data, _SCENES))


STUDY = replace(_TABLE, present=_present)
