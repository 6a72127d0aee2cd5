"""What a shuffle in blocks costs a training where every shard holds one class.

    python -m benchmarks.mixing --data ../shared/data --out mixing.json

CIFAR-10's first training images, sorted by class, a class to a shard. Blocks and windows are
smaller than the defaults, as the bundle is, with as many blocks to a window. Each order is
described by the classes in its batches, and trains a ResNet-20 from the same first weights.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro

from benchmarks import bundles
from quire.artifacts.members import class_ids, raw_images
from quire.artifacts.shards import Payloads
from quire.builders.sources.catalogue import open_source
from quire.loaders.augment import to_float
from quire.loaders.order import Shuffle
from quire.loaders.stream import Stream, stream
from quire.train.classify.run import Classify, build_model, described
from quire.train.classify.steps import Training
from quire.train.engine.options import best_device
from quire.train.engine.ranks import Ranks
from quire.train.report.intervals import interval

Order = bool | Literal["full"] | Shuffle


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train in several orders on shards that are sorted by class, and print how well it goes."""

    data: Path
    """Folder that holds cifar10."""
    out: Path | None = None
    """Also write all that was measured as JSON."""
    images: int = 4_000
    """Training images."""
    tests: int = 2_000
    """Test images."""
    epochs: int = 8
    """Epochs of each training."""
    seeds: int = 5
    """Trainings of each order."""
    batch_size: int = 128
    """Images in a batch."""


def write(options: Options, split: str, count: int, folder: Path) -> None:
    """Write the first images of a split sorted by class, a class to a shard."""
    block = open_source(f"cifar10:{options.data / 'cifar10'}", split=split).read(0, count)
    by_class = np.argsort(block.labels, kind="stable")
    images, labels = np.asarray(block.images)[by_class], block.labels[by_class]
    members: dict[str, Payloads] = {"ppm": raw_images(images), "cls": class_ids(labels)}
    bundles.write_bundle(folder, members, labels, samples_per_shard=count // 10)


def mixed(batches: Stream) -> tuple[float, float]:
    """The classes in a batch, and the entropy of their shares in bits; averaged over an epoch."""
    classes, entropies = [], []
    for batch in batches:
        counts = np.bincount(batch["label"].numpy())
        shares = counts[counts > 0] / counts.sum()
        classes.append(len(shares))
        entropies.append(-(shares * np.log2(shares)).sum())
    return float(np.mean(classes)), float(np.mean(entropies))


def accuracy(options: Options, folder: Path, tests: Path, order: Order, seed: int) -> float:
    """The test accuracy of a training in an order, in percent."""
    ranks = Ranks(0, 1, best_device(None))
    config = Classify(
        encoder="resnet20",
        head="linear",
        epochs=options.epochs,
        batch_size=options.batch_size,
        lr=0.1,
        warmup=0.1,
        crop=(1.0, 1.0),
        shift=2,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        seed=seed,
    )
    size = options.batch_size
    batches = stream(folder, batch_size=size, shuffle=order, seed=seed, device=ranks.device)
    config, run = described(config, str(folder), batches)
    torch.manual_seed(seed)
    model = build_model(config, run).to(ranks.device).to(memory_format=torch.channels_last)
    training = Training.new(config, model, batches, ranks)
    for batch in training.left():
        training.update(batch)
    model.eval()
    correct = total = 0
    with torch.inference_mode():
        for batch in stream(tests, batch_size=500, device=ranks.device):
            found = model.head(model.features(to_float(batch["image"]))).argmax(dim=1)
            correct += int((found == batch["label"]).sum())
            total += len(found)
    return 100 * correct / total


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each order."""
    options = tyro.cli(Options, args=argv)
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder, tests = Path(scratch) / "train", Path(scratch) / "test"
        write(options, "train", options.images, folder)
        write(options, "test", options.tests, tests)
        shard = next(folder.glob("*.tar")).stat().st_size
        orders: Mapping[str, Order] = {
            "uniform": "full",
            "blocks of 16 KiB in windows of 4 MiB": Shuffle(block=1 << 14, window=1 << 22),
            "shard by shard": Shuffle(block=shard, window=shard),
        }
        for name, order in orders.items():
            classes, entropy = mixed(stream(folder, batch_size=options.batch_size, shuffle=order))
            reached = [
                accuracy(options, folder, tests, order, seed) for seed in range(options.seeds)
            ]
            print(
                f"{name}: {classes:.2f} classes in a batch, {entropy:.3f} bits;"
                f" accuracy {interval(reached):.1f} % over {len(reached)} seeds",
                flush=True,
            )
            found.append(
                {"order": name, "classes": classes, "entropy": entropy, "accuracy": reached}
            )
    if options.out:
        options.out.write_text(json.dumps({"options": repr(options), "orders": found}, indent=1))


if __name__ == "__main__":
    main()
