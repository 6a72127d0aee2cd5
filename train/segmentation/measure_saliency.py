"""How well a run of segmentation finds salient objects, by its probabilities in whole images."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.errors import RunError
from quire.builders.sources.saliency import CLASS_NAMES
from quire.train.engine.dataset_checks import check_classes
from quire.train.engine.options import Report, best_device
from quire.train.engine.runs import EVALUATIONS, digest, write_record
from quire.train.engine.subset import stream_of
from quire.train.report.grid import Grid
from quire.train.segmentation.measure import Measure, Predictor, in_colour
from quire.train.segmentation.run import trained
from quire.train.segmentation.saliency import Fit, SaliencyScore, fit, score
from quire.train.segmentation.scenes import check_ids, check_members

_SALIENT = CLASS_NAMES.index("salient")


def is_of_saliency(classes: tuple[str, ...]) -> bool:
    """Whether a run with these classes finds salient objects."""
    return classes == CLASS_NAMES


def measure_saliency(
    folder: Path,
    data: str,
    *,
    how: Measure | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> SaliencyScore:
    """Measure a finished run on a bundle of images with masks of what is salient.

    The map of an image is the probability of `salient` in its every pixel, by the target's scores,
    at its own size. What was measured before is read.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address.
        how: how many of the scenes; crop and batch_size are not asked for.
        device: a GPU where there is one, unless it is named.
        report: called with the scenes that are done, and their number.

    Raises:
        RunError: the run is not finished, or of other classes than background and salient; or the
            bundle has no masks, or other classes.
        BundleError: a bundle is damaged.
    """
    data = Location(data)
    how = how or Measure()
    run, config, model = trained(folder, separation=how.separation)
    if not is_of_saliency(run.classes):
        raise RunError(f"{folder} has not learned what is salient: its classes are others")
    scenes = stream_of(data, how.images, batch_size=1, columns=())
    check_members(scenes, data, ("mask.png",), ())
    check_classes(run.classes, scenes, data)
    question = {
        "method": "saliency",
        "images": how.images,
        "separation": how.separation,
        "bundle": scenes.state_dict()["bundle"],
    }
    path = folder / EVALUATIONS / f"{digest(question)}.json"
    if path.exists():
        return SaliencyScore(**json.loads(path.read_text("utf-8"))["saliency"])
    where = best_device(device)
    predictor = Predictor(model.to(where), config, where)
    fits = []
    for batch in in_colour(scenes, data):
        check_ids(batch["mask"], len(CLASS_NAMES), scenes, batch["row"])
        fits.append(_fit(predictor, batch["image"][0], batch["mask"][0]))
        if report:
            report(len(fits), len(scenes.rows))
    found = score(fits)
    write_record(path, {"question": question, "saliency": asdict(found)})
    return found


def _fit(predictor: Predictor, image: Tensor, mask: Tensor) -> Fit:
    probabilities = predictor.of_whole(image, "target").double().softmax(dim=0)
    return fit(probabilities[_SALIENT].cpu().numpy(), np.asarray(mask) == _SALIENT)


def saliency_grid(data: str, scores: list[SaliencyScore]) -> Grid:
    """The two figures over runs."""
    row = f"all ({scores[0].images:,})"
    values = {
        (row, "max F"): [one.max_f for one in scores],
        (row, "MAE"): [one.error for one in scores],
    }
    columns = tuple(column for _, column in values)
    title = f"salient objects of {data}"
    return Grid(
        title=title, values=values, rows=(row,), columns=columns, decimals=3, corner="images"
    )
