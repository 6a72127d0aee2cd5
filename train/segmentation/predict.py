"""What a network of segmentation says of whole images, as a bundle of masks.

An image is padded with the fill colour of training to sides like those of the crops, but for
multiples of what the trunk reduces by, so that scores lie on pixels as they do in training. They
are brought to its size, bilinear, and the highest one is a pixel's class. So a prediction hangs on
its own image alone. A bundle of such masks is no bundle of scenes: nobody has seen these pixels,
and nothing is to be measured on them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.bundle import Bundle
from quire.artifacts.digest import sha256, whole_file
from quire.artifacts.errors import RunError
from quire.artifacts.manifest import LeftOut, Manifest
from quire.artifacts.masks import mask_file
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask, cut
from quire.builders.engine.recipe import OUTSIDE, Run, WriteTable
from quire.builders.engine.run import build
from quire.builders.recipes.scenes import present_classes
from quire.builders.sources.voc import CLASS_NAMES
from quire.train.engine.options import Report, best_device
from quire.train.engine.runs import MODEL
from quire.train.segmentation.measure import Predictor
from quire.train.segmentation.pseudo import KIND, MEMBER
from quire.train.segmentation.run import Answer, trained
from quire.train.segmentation.unlabelled import BundleImages, Images, folder_images

VOC_RESULTS = "results/VOC2012/Segmentation/comp6_test_cls"  # of VOC's test server
_PER_SHARD = 500


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The masks that a finished run of segmentation makes of images; a recipe of the engine."""

    kind: ClassVar[str] = KIND
    reads: ClassVar[tuple[str, ...]] = ()
    libraries: ClassVar[tuple[str, ...]] = ("torch",)

    split: str
    answer: Answer = "target"
    samples_per_shard: int = _PER_SHARD
    run: str = field(metadata=OUTSIDE)
    predictor: Predictor = field(metadata=OUTSIDE)
    inputs: Mapping[str, str] = field(default_factory=dict, metadata=OUTSIDE)

    def resolve(self, source: Images) -> "Predictions":
        """The same recipe: nothing in it depends on the images."""
        return self

    def fingerprints(self) -> Mapping[str, str]:
        """The digests of the run's weights, and of the bundle that the images are from."""
        return {**self.inputs, "weights": sha256(Path(self.run) / MODEL)}

    def plan(self, source: Images) -> tuple[ShardTask, ...]:
        """All images, cut into shards."""
        return tuple(
            ShardTask(f"{self.split}-{number:06d}.tar", KIND, start, stop, bytes=None)
            for number, (start, stop) in enumerate(cut(len(source), self.samples_per_shard))
        )

    def samples(self, source: Images, task: ShardTask) -> Iterator[Run]:
        """The masks of one shard, an image at a time."""
        for found in source.read(task.start, task.stop):
            if isinstance(found, LeftOut):
                yield Run(Samples([], {}), (found,))
                continue
            number, key, image = found
            mask = whole(self.predictor, image, self.answer)
            columns: dict[str, NDArray[Any]] = {
                "source_index": np.array([number], np.int64),
                "height": np.array([mask.shape[0]], np.int64),
                "width": np.array([mask.shape[1]], np.int64),
                **present_classes([mask], len(source.class_names)),
            }
            yield Run(Samples([key], {MEMBER: [mask_file(mask)]}, columns))

    def tables(self) -> Mapping[str, WriteTable]:
        """None."""
        return {}


def predict(
    run: Path,
    out: str | Path,
    *,
    data: str | None = None,
    pictures: str | None = None,
    listed: Path | None = None,
    answer: Answer = "target",
    device: str | None = None,
    skip_bad: bool = False,
    report: Report | None = None,
) -> Manifest:
    """Write a run's masks of whole images as a bundle, or go on with one that was stopped.

    Args:
        run: the folder of a finished run of segmentation.
        out: where: a folder, or an address.
        data: a bundle whose images are looked at, a folder or an address; or else
        pictures: a folder, or an address, of JPEG and PNG files.
        listed: a text file with a name a line, without its ending: which of the pictures, in this
            order, as VOC's test.txt has them.
        answer: which of feature binding's answers.
        device: a GPU where there is one, unless it is named.
        skip_bad: leave out pictures that cannot be read.
        report: called with the shards that are done, and their number.

    Raises:
        RunError: the run is not finished; it has no such answer; not one of `data` and `pictures`
            is given; an image is not in colour.
        SourceError: there are no pictures, or one that is listed is not there, or is damaged.
        BundleError: the bundle is damaged.
        BuildError: the place belongs to another build.
    """
    record, config, model = trained(run)
    if answer not in config.answers:
        raise RunError(f"{run} has no answer {answer!r}; it has {', '.join(config.answers)}")
    if (data is None) == (pictures is None):
        raise RunError("either data or pictures says what is looked at, one of the two")
    if listed is not None and pictures is None:
        raise RunError("a list of names chooses among pictures, not among a bundle's images")
    images: Images
    if data is not None:
        images = BundleImages(Location(data), record.classes)
    else:
        assert pictures is not None
        images = folder_images(pictures, listed, record.classes)
    where = best_device(device)
    recipe = Predictions(
        split=images.split,
        answer=answer,
        run=str(run),
        predictor=Predictor(model.to(where), config, where),
        inputs=images.inputs,
    )
    return build(recipe, images, out, skip_bad=skip_bad, report=report)


def whole(predictor: Predictor, image: Tensor, answer: Answer) -> NDArray[np.uint8]:
    """The class of every pixel of an image. (3, H, W) uint8 -> (H, W) uint8."""
    found = predictor.of_whole(image, answer).argmax(dim=0)
    return found.to(torch.uint8).cpu().numpy()


def check_voc(classes: tuple[str, ...]) -> None:
    """Refuse what VOC's test server would misread.

    Raises:
        RunError: classes are not VOC's.
    """
    if classes != CLASS_NAMES:
        raise RunError("VOC's results are of VOC's 21 classes, and the run has others")


def write_voc_results(bundle: Bundle, folder: Path) -> int:
    """Write a bundle's masks as VOC's test server wants them; how many there are.

    A palette PNG of each image, named by its key, in results/VOC2012/Segmentation/comp6_test_cls,
    which is to be packed and sent as it is.

    Raises:
        RunError: the bundle has no predicted masks, or they are of other classes than VOC's.
        BundleError: the bundle is damaged.
    """
    identity = bundle.manifest.identity
    if identity.recipe.get("kind") != KIND:
        raise RunError("VOC's results are made of a bundle of predictions")
    check_voc(tuple(identity.source["class_names"]))
    place = folder / VOC_RESULTS
    place.mkdir(parents=True, exist_ok=True)
    for row in range(len(bundle.index)):
        key = bundle.index.rows.keys[row].decode()
        with whole_file(place / f"{key}.png") as file:
            file.write(bundle.read(row)[MEMBER])
    return len(bundle.index)
