"""What a similarity graph adds to a training step, and where the time of a step goes.

    python -m benchmarks.training --out training.json

Every head trains the same encoder on the same batches, a step each in turn; the ratio is to the
linear head. The heads by themselves get the features of the paper's setting, a batch of 256 with
the 2,048 features of a ResNet-50. On a GPU every part is waited for.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
import tyro

from benchmarks.timing import Contender, Run, Table, measure, write_report
from quire.models.classifier import Classifier
from quire.models.similarity_graph import GraphConfig, LinearHead, SimilarityGraphHead
from quire.train.classify.run import Classify, Encoder, build_model, described
from quire.train.classify.steps import Training
from quire.train.classify.training import batches_of
from quire.train.engine.options import Precision, Running, autocast, best_device
from quire.train.engine.ranks import Ranks
from quire.train.studies.mbsg.setting import BASELINE, VARIANTS
from tests.bundles import image_bundle, random_images


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train with every head in turn, and print how many images/s it took."""

    out: Path | None = None
    """Also write all that was measured as JSON."""
    encoder: Encoder = "resnet18"
    """The encoder of the training steps."""
    batch_size: int = 128
    """Images in a step."""
    size: int = 32
    """Height and width of the images."""
    precision: Precision = "auto"
    """bfloat16 autocast or not; auto: on a GPU, but not on a CPU."""
    device: str | None = None
    """Where to compute; default: a GPU where there is one."""
    compile: bool = False
    """Compile the encoder with torch.compile."""
    rounds: int = 6
    """Steps of each head; the first is kept apart."""


def trainings(options: Options, folder: Path) -> dict[str, Training]:
    """The same training with each head, on random images."""
    ranks = Ranks(0, 1, best_device(options.device))
    config = Classify(
        encoder=options.encoder,
        epochs=10_000,
        batch_size=options.batch_size,
        precision=options.precision,
        mean=(0.5,),
        std=(0.25,),
    )
    made = {}
    for name, graph in VARIANTS.items():
        own = replace(config, head="linear") if graph is None else replace(config, graph=graph)
        batches = batches_of(own, str(folder), ranks, Running())
        own, run = described(own, str(folder), batches)
        torch.manual_seed(0)
        model = build_model(own, run).to(ranks.device).to(memory_format=torch.channels_last)
        if options.compile:
            model.encoder.compile()
        made[name] = Training.new(own, model, batches, ranks)
    return made


def steps(training: Training) -> Callable[[], Run]:
    """A contender that takes a step whenever it is run."""

    def start() -> Run:
        batches = training.left()

        def run() -> int:
            batch = next(batches)
            training.update(batch)
            wait(batch["row"].device)
            return len(batch["row"])

        return run

    return start


def heads(options: Options, features: int = 2048, nodes: int = 256) -> list[Contender]:
    """Every head by itself, forth and back, on the features of the paper's setting."""
    device = best_device(options.device)
    made = torch.randn(nodes, features, device=device)
    labels = torch.randint(10, (nodes,), device=device)

    def starter(graph: GraphConfig | None) -> Callable[[], Run]:
        def start() -> Run:
            head = SimilarityGraphHead(features, 10, graph) if graph else LinearHead(features, 10)
            head.to(device)
            inputs = made.clone().requires_grad_()

            def run() -> int:
                with autocast(options.precision, device):
                    loss = F.cross_entropy(head.forward(inputs).float(), labels)
                loss.backward()
                wait(device)
                return nodes

            return run

        return start

    return [Contender(name, starter(graph)) for name, graph in VARIANTS.items()]


def parts(training: Training, rounds: int) -> dict[str, float]:
    """The share of a step that each of its parts takes, in the median over steps."""
    config, model = training.config, training.model
    assert isinstance(model, Classifier)
    seconds: dict[str, list[float]] = {}
    batches = training.left()
    for _ in range(rounds):
        with timed(seconds, "waiting for data"):
            batch = next(batches)
        device = batch["row"].device
        with timed(seconds, "augmentation", device):
            images = training.augmented(batch)
        with autocast(config.precision, device):
            with timed(seconds, "encoder", device):
                features = model.features(images)
            with timed(seconds, "head", device):
                logits = model.head(features)
        with timed(seconds, "loss and backward", device):
            F.cross_entropy(logits.float(), batch["label"]).backward()
        with timed(seconds, "optimizer", device):
            training.optimizer.step()
            training.optimizer.zero_grad(set_to_none=True)
    medians = {name: median(values[1:] or values) for name, values in seconds.items()}
    return {name: value / sum(medians.values()) for name, value in medians.items()}


@contextmanager
def timed(
    seconds: dict[str, list[float]], name: str, device: torch.device | None = None
) -> Iterator[None]:
    """Add to the seconds of a part how long the body took."""
    begin = perf_counter()
    yield
    if device is not None:
        wait(device)
    seconds.setdefault(name, []).append(perf_counter() - begin)


def wait(device: torch.device) -> None:
    """Let a GPU finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def described_parts(shares: Mapping[str, float]) -> str:
    """A line of the parts of a step."""
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())


def main(options: Options) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        images, labels = random_images(8 * options.batch_size, (options.size, options.size, 3))
        image_bundle(folder, images, labels, samples_per_shard=len(images))
        made = trainings(options, folder)
        contenders = [Contender(name, steps(training)) for name, training in made.items()]
        title = f"training steps, {options.encoder}, batch of {options.batch_size}, images/s"
        tables = [
            Table(title, measure(contenders, rounds=options.rounds), [BASELINE]),
            Table(
                "heads alone, forth and back, 256 nodes of 2,048 features, nodes/s",
                measure(heads(options), rounds=5 * options.rounds),
                [BASELINE],
            ),
        ]
        for table in tables:
            print(table)
        shares = parts(made["MBSG (dropfeat)"], options.rounds)
        print(f"a step of MBSG (dropfeat): {described_parts(shares)}")
    if options.out:
        write_report(options.out, tables)


if __name__ == "__main__":
    main(tyro.cli(Options))
