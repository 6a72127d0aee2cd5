"""How generated images spread over the bins of a dataset, and how far they are from its images."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.bins_table import read_bins
from quire.artifacts.bundle import open_bundle
from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.train.engine.options import Report, best_device
from quire.train.engine.pretrained import digest_of
from quire.train.engine.runs import EVALUATIONS, digest, read_run, write_record
from quire.train.gan.fid import NotAtHandError, fid, weights_at_hand
from quire.train.gan.ndb import Spread, spread_of
from quire.train.gan.subjects import Images, digest_of_images, images_of, is_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Images, beside those of a dataset."""

    spread: Spread
    fid: float | None
    without: str = ""  # why there is no FID


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How images are compared with those of a dataset."""

    images: int | None = None  # so many of them; default: all, of a generator as in training
    inception: Path | None = None  # weights for FID; default: torch-fidelity's, if they are there

    def __post_init__(self) -> None:
        check_at_least(2, self, "images", error=RunError)


def compare(
    place: str,
    bins: str,
    *,
    how: Comparison | None = None,
    real: str | None = None,
    device: str | None = None,
    report: Report | None = None,
) -> Compared:
    """Hold images against the bins of a dataset; what is known of a run is not measured again.

    Args:
        place: a run of a GAN, a bundle of images or its address, or a folder of image files.
        bins: the bundle of bins.
        real: a bundle of the dataset's images, for FID; default: what a run was trained on.
        device: a GPU where there is one, unless it is named.
        report: called with the images that are done, and their number.

    Raises:
        RunError: there are no images, or others than those of the bins; a run is not finished.
        BundleError: a bundle is damaged.
    """
    how, bins, ours = how or Comparison(), Location(bins), is_run(place)
    bundle = open_bundle(bins)
    table = read_bins(bundle)
    real = real or (read_run(Path(place)).data if ours else None)
    weights, without = _weights(how, real)
    known = None
    if weights is not None and real is not None:
        known = {"inception": digest_of(str(weights)), "real": digest_of_images(real)}
    question = {"bins": bundle.manifest.sha256, "images": how.images, "fid": known}
    path = Path(place) / EVALUATIONS / f"{digest(question)}.json" if ours else None
    if path is not None and path.exists():
        found = json.loads(path.read_text("utf-8"))["found"]
        return Compared(spread=Spread(**found["spread"]), fid=found["fid"], without=without)
    channels = table.image_shape[2]
    images = images_of(place, how.images, channels=channels, device=device)
    spread = spread_of(_told(images, report), table)
    distance = None
    if weights is not None and real is not None:
        originals = images_of(real, None, channels=channels, device=device)
        distance = fid(originals.batches(), images.batches(), weights, best_device(device))
    compared = Compared(spread=spread, fid=distance, without=without)
    if path is not None:
        write_record(path, {"question": question, "found": asdict(compared)})
    return compared


def _weights(how: Comparison, real: str | None) -> tuple[Path | None, str]:
    """The weights for FID; or none, and why."""
    try:
        weights = weights_at_hand(how.inception)
    except NotAtHandError as error:
        return None, str(error)
    if real is None:
        return None, "no bundle of real images is named: --context BUNDLE"
    return weights, ""


def _told(images: Images, report: Report | None) -> Iterator[Tensor]:
    done = 0
    for batch in images.batches():
        yield batch
        done += len(batch)
        if report:
            report(done, images.count)
