"""What is measured on a GPU, the most important first; each step makes the data that it needs.

A figure is a median over repetitions after two that warm up, every one of which is waited for.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

import benchmarks.bundles
import benchmarks.sparse
from benchmarks.training import wait
from quire.artifacts.bundle import open_bundle
from quire.artifacts.members import class_ids
from quire.builders.engine.run import build
from quire.builders.recipes.graphs import Graphs
from quire.builders.sources.source import Nothing
from quire.loaders.stream import stream
from quire.models.cnn2graph import CNN2GraphConfig
from quire.models.similarity_graph import GraphConfig
from quire.train.attacks.evolution import Evolution
from quire.train.attacks.one_pixel import one_pixel
from quire.train.classify.anchors import read_anchors
from quire.train.classify.run import Classify, build_model, described
from quire.train.classify.steps import Training
from quire.train.classify.training import batches_of
from quire.train.engine.options import Running
from quire.train.engine.ranks import Ranks
from quire.train.gan.run import Gan, build_pair
from quire.train.gan.run import described as gan_described
from quire.train.gan.steps import Training as GanTraining
from quire.train.gan.training import batches_of as gan_batches
from quire.train.segmentation.run import Segment
from quire.train.segmentation.run import build_model as build_segmenter
from quire.train.segmentation.stages import Bundles, prepared
from quire.train.segmentation.training import Training as Segmentation
from quire.train.sparse.run import Sparse, groups_of, read_graphs
from tests.bundles import image_bundle, random_images
from tests.train.corrupted import with_manifest
from tests.train.learnable import anchor_bundle

Figures: TypeAlias = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything."""

    images: int = 50_000
    photographs: int = 512
    batch_size: int = 256
    scene_batch: int = 16
    crop: int = 513
    groups: tuple[int, ...] = (60, 200, 600)
    pixel_images: int = 16
    population: int = 500
    gan_images: int = 20_000
    gan_batch: int = 128
    gan_width: int = 64
    seconds: float = 3.0  # of each measurement, once warm
    encoders: tuple[Any, ...] = ("resnet18", "resnet50")


TINY = Sizes(
    images=200,
    photographs=8,
    batch_size=20,
    scene_batch=2,
    crop=65,
    groups=(6,),
    pixel_images=2,
    population=20,
    gan_images=40,
    gan_batch=8,
    gan_width=2,
    seconds=0.05,
    encoders=("resnet20",),
)


@dataclass(frozen=True)
class Place:
    """Where and how large: what every step is given."""

    folder: Path
    device: torch.device
    sizes: Sizes

    def images(self) -> Path:
        """A bundle of raw images of CIFAR-10's shape."""
        return self._made("raw", self._raw)

    def _raw(self, folder: Path) -> None:
        images, labels = random_images(self.sizes.images, (32, 32, 3))
        image_bundle(folder, images, labels, samples_per_shard=10_000)

    def squares(self) -> Path:
        """A bundle of raw images of 64x64."""
        return self._made("squares", self._squares)

    def _squares(self, folder: Path) -> None:
        images, labels = random_images(self.sizes.gan_images, (64, 64, 3))
        image_bundle(folder, images, labels, samples_per_shard=5_000)

    def jpegs(self) -> Path:
        """The same as JPEG files."""
        return self._made("jpeg", self._jpegs)

    def _jpegs(self, folder: Path) -> None:
        images, labels = benchmarks.bundles.small_images(self.sizes.images, None)
        members = {"jpg": benchmarks.bundles.jpegs(images), "cls": class_ids(labels)}
        benchmarks.bundles.write_bundle(folder, members, labels, samples_per_shard=10_000)

    def scenes(self) -> Path:
        """Photographs of VOC's size with masks."""
        return self._made("scenes", self._scenes)

    def _scenes(self, folder: Path) -> None:
        images, masks = benchmarks.bundles.photographs(self.sizes.photographs, None)
        members = {"jpg": images, "mask.png": masks}
        labels = np.zeros(len(images), np.int64)
        benchmarks.bundles.write_bundle(folder, members, labels, samples_per_shard=100)
        source = open_bundle(folder).manifest.identity.source
        with_manifest(folder, source={**source, "class_names": [str(i) for i in range(21)]})

    def graphs(self) -> Path:
        """The first graphs of the paper's grid, enough for the largest group."""
        count = -(-max(self.sizes.groups) // len(Sparse().initialisations))
        return self._made("graphs", lambda f: build(Graphs(graphs=count), Nothing(), f, workers=0))

    def _made(self, name: str, make: Callable[[Path], Any]) -> Path:
        """A bundle; one that is there is used again."""
        if not (self.folder / name / "manifest.json").exists():
            make(self.folder / name)
        return self.folder / name


class Stepping(Protocol):
    """A training, whatever its method."""

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left."""

    def update(self, batch: dict[str, Any]) -> Any:
        """One step."""


def rate(work: Callable[[], int], place: Place) -> float:
    """Samples/s: the median over calls after the first two, for as long as a measurement takes."""
    rates: list[float] = []
    end = float("inf")
    while len(rates) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        samples = work()
        wait(place.device)
        rates.append(samples / (time.perf_counter() - begin))
        if len(rates) == 2:
            end = time.perf_counter() + place.sizes.seconds
    return median(rates[2:])


def stepped(training: Stepping, place: Place) -> Figures:
    """Samples/s of training steps, and the share of their time in which they wait for data."""
    batches = training.left()
    waited: list[float] = []

    def step() -> int:
        begin = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - begin)
        training.update(batch)
        return len(batch["row"])

    samples = rate(step, place)
    size = training_size(training)
    return {"samples/s": samples, "waits for data": median(waited[2:]) * samples / size}


def training_size(training: Any) -> int:
    """Samples of a full batch."""
    return int(training.config.batch_size)


def streaming(bundle: Callable[[Place], Path], place: Place) -> Figures:
    """Shuffled batches of a bundle on the device, an epoch after another."""
    batches = stream(
        bundle(place),
        columns=(),
        batch_size=place.sizes.scene_batch if bundle is Place.scenes else place.sizes.batch_size,
        shuffle=True,
        device=place.device,
        drop_last=True,
    )

    def epoch() -> int:
        return sum(len(batch["row"]) for batch in batches)

    return {"samples/s": rate(epoch, place)}


HEADS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"head": "linear"},
    "mbsg": {"head": "graph", "graph": GraphConfig(combine="sum")},
    "attn-mbsg": {"head": "graph", "graph": GraphConfig(combine="sum", attention=True)},
    "gnn": {"head": "cnn2graph", "cnn2graph": CNN2GraphConfig(kind="gnn")},
    "transformer": {"head": "cnn2graph", "cnn2graph": CNN2GraphConfig(kind="transformer")},
}


def classify(encoder: Any, head: str, compiled: bool, place: Place) -> Figures:
    """A training step of a classifier: bfloat16 on a GPU, channels last."""
    return stepped(classifier(place.images(), encoder, head, compiled, place), place)


def from_jpegs(encoder: Any, place: Place) -> Figures:
    """The same on JPEG files, which are decoded meanwhile."""
    return stepped(classifier(place.jpegs(), encoder, "linear", False, place), place)


def classifier(bundle: Path, encoder: Any, head: str, compiled: bool, place: Place) -> Training:
    """A classifier at its first step."""
    config = Classify(
        encoder=encoder,
        epochs=10_000,
        batch_size=place.sizes.batch_size,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        **HEADS[head],
    )
    ranks = Ranks(0, 1, place.device)
    batches = batches_of(config, str(bundle), ranks, Running(device=place.device.type))
    config, run = described(config, str(bundle), batches)
    anchors = None
    if head in ("gnn", "transformer"):
        folder = place.folder / "anchors"
        if not folder.exists():
            anchor_bundle(folder, size=32, channels=3)
        anchors = read_anchors(run, str(folder), place.device)
    torch.manual_seed(0)
    model = build_model(config, run).to(place.device).to(memory_format=torch.channels_last)
    if compiled:
        model.encoder.compile()
    return Training.new(config, model, batches, ranks, anchors)


def sparse(together: int, place: Place) -> Figures:
    """A step of every network of a group, batch of 64, in steps of one network a second."""
    options = benchmarks.sparse.Options(
        networks=(together,), graphs=place.graphs(), device=place.device.type
    )
    data, graphs = benchmarks.sparse.bundles(options, place.folder / "sparse")
    made = benchmarks.sparse.trainings(options, together, data, graphs)
    group = made[benchmarks.sparse.TOGETHER]
    found = rate(benchmarks.sparse.steps(group, place.device)(), place)
    return {"steps of one network/s": found, "networks": together}


def pixels(place: Place) -> Figures:
    """Candidates of the one-pixel attack that a group of 60 networks, or fewer, looks at."""
    config = replace(Sparse(), together=min(60, max(place.sizes.groups)))
    graphs = read_graphs(config, place.graphs())
    networks = graphs.networks(next(iter(groups_of(config, graphs)))).to(place.device)
    seen = 0

    def count(module: Any, inputs: tuple[Tensor, ...]) -> None:
        nonlocal seen
        seen += inputs[0].shape[0] * inputs[0].shape[1]

    networks.register_forward_pre_hook(count)
    images = torch.rand(place.sizes.pixel_images, 784, device=place.device)
    with torch.no_grad():
        labels = networks(images.expand(len(networks), -1, -1)).mode(0)[0].argmax(1)
    evolution = Evolution(population=place.sizes.population, generations=3)

    def attack() -> int:
        before = seen
        rows = torch.arange(len(images))
        one_pixel(networks, images, labels, rows, shape=(1, 28, 28), evolution=evolution)
        return seen - before

    return {"candidates/s": rate(attack, place), "networks": len(networks)}


def segment(variant: Any, place: Place) -> Figures:
    """A training step of DeepLabv3, its scenes decoded, cut and moved meanwhile."""
    sizes = place.sizes
    config = Segment(
        variant=variant,
        trunk="small" if sizes is TINY else "resnet50",
        crop=sizes.crop,
        batch_size=sizes.scene_batch,
        epochs=10_000,
    )
    ranks = Ranks(0, 1, place.device)
    bundles = Bundles(data=str(place.scenes()))
    run, stages = prepared(config, bundles, ranks, Running(device=place.device.type))
    torch.manual_seed(0)
    model = build_segmenter(config, len(run.classes)).to(place.device)
    model = model.to(memory_format=torch.channels_last).train()
    return stepped(Segmentation.new(config, stages[0], model, ranks), place)


def gan(discriminator: Any, compiled: bool, place: Place) -> Figures:
    """A step of a GAN: bfloat16 on a GPU, channels last; and what the paper's 10,000 take."""
    sizes = place.sizes
    config = Gan(
        discriminator=discriminator,
        width=sizes.gan_width,
        batch_size=sizes.gan_batch,
    )
    ranks = Ranks(0, 1, place.device)
    running = Running(device=place.device.type)
    batches = gan_batches(config, str(place.squares()), ranks, running)
    config, run = gan_described(config, str(place.squares()), batches)
    torch.manual_seed(0)
    pair = build_pair(config, run).to(place.device).to(memory_format=torch.channels_last)
    if compiled:
        pair.compile_both()
    found = stepped(GanTraining.new(config, pair, batches, ranks, lambda step: {}), place)
    return {**found, "minutes of 10,000 steps": 1e4 * config.batch_size / found["samples/s"] / 60}


def steps(sizes: Sizes) -> Iterator[tuple[str, Callable[[Place], Figures]]]:
    """Everything that is measured, the most important first."""
    small = sizes.encoders[0]
    yield "stream raw", partial(streaming, Place.images)
    yield f"train {small} linear", partial(classify, small, "linear", False)
    for size in sizes.groups[:1]:
        yield f"train sparse {size}", partial(sparse, size)
    yield "segment plain", partial(segment, "baseline")
    yield "attack one pixel", pixels
    yield "stream jpeg", partial(streaming, Place.jpegs)
    yield f"train {small} linear on jpeg", partial(from_jpegs, small)
    yield "stream scenes", partial(streaming, Place.scenes)
    yield "train gan mc-mbgnn", partial(gan, "mc-mbgnn", False)
    yield "train gan mc-mbgnn, compiled", partial(gan, "mc-mbgnn", True)
    yield "train gan minibatch", partial(gan, "minibatch", False)
    for encoder in sizes.encoders:
        for head in HEADS:
            if (encoder, head) != (small, "linear"):
                yield f"train {encoder} {head}", partial(classify, encoder, head, False)
    for size in sizes.groups[1:]:
        yield f"train sparse {size}", partial(sparse, size)
    yield "segment mixup", partial(segment, "mixup")
    for encoder in sizes.encoders:
        for head in HEADS:
            yield f"train {encoder} {head}, compiled", partial(classify, encoder, head, True)
