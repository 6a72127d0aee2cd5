"""Training of image classifiers from a bundle, with whatever head; the head says what for."""

from functools import partial
from pathlib import Path

import torch

from quire.artifacts.address import Location
from quire.artifacts.errors import RunError
from quire.loaders.augment import to_float
from quire.loaders.stream import Stream, stream
from quire.models.classifier import Classifier
from quire.models.cnn2graph import CNN2Graph
from quire.train.attacks.targets import Alone, evaluating
from quire.train.classify import contrastive
from quire.train.classify.anchors import Anchors, with_anchors
from quire.train.classify.evaluate import Judge, test_accuracy
from quire.train.classify.run import Classify, Model, build_model, described
from quire.train.classify.steps import Training
from quire.train.engine import checkpoint, loop
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.mixture import Data, located, own, with_others
from quire.train.engine.options import Report, Running, key
from quire.train.engine.pretrained import load_pretrained
from quire.train.engine.ranks import Ranks, claimed, joined
from quire.train.engine.runs import MODEL
from quire.train.engine.subset import stream_of


def train(
    config: Classify,
    data: Data,
    out: Path,
    *,
    anchors: str | None = None,
    test: str | None = None,
    test_every: int = 1,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files.

    Args:
        data: the bundle to train on, a folder or an address; or several and their shares.
        out: the run's folder (see `quire.train.engine.runs`).
        anchors: the bundle of images that a cnn2graph head compares all others with.
        test: a bundle whose clean images are classified, inductive, after every `test_every`
            epochs and at the end: `test_accuracy` in the metrics. It has no part in the training.
        test_every: see `test`.
        report: called with the steps done and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on, or not with
            these anchors; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    if test_every < 1:
        raise RunError(f"test_every is {test_every}; it must be at least 1")
    data, place = located(data), own(data)
    running = running or Running()
    with joined(running.device) as ranks:
        batches = batches_of(config, data, ranks, running)
        config, run = described(config, place, batches)
        run, known = with_anchors(config, with_others(run, data), place, anchors, ranks.device)
        if test is not None:
            check_same_kind(run, stream(Location(test)), Location(test))
        with claimed(out, run, ranks) as finished:
            if finished:
                return False
            torch.manual_seed(key(config.seed, "weights"))
            model = build_model(config, run).to(ranks.device).to(memory_format=torch.channels_last)
            if config.weights is not None:
                load_pretrained(model.encoder, config.weights)
            if isinstance(model, CNN2Graph) and config.cnn2graph.start == "similar":
                assert known is not None  # `with_anchors` saw to it
                model.liken(to_float(known.images))
            tested = None
            if test is not None and ranks.first:
                tested = partial(_tested, config, model, Location(test), ranks, known)
            if config.objective == "supcon":
                assert isinstance(model, Classifier)  # its head is linear
                both = batches, batches_of(contrastive.probe_of(config), data, ranks, running)
                contrastive.learn(
                    config, model, both, ranks, out, running, report, test=(tested, test_every)
                )
            else:
                training = Training.new(config, model, batches, ranks, known)
                training.test, training.test_every = tested, test_every
                if running.compile:
                    model.encoder.compile()
                files = out if ranks.first else None
                part = loop.Part(out=files, checkpoints=out, stream=batches, total=training.total)
                loop.run(training, part, running, report)
            if ranks.first:
                checkpoint.save_weights(out / MODEL, model)
                checkpoint.clear(out)
    return True


def _tested(
    config: Classify, model: Model, data: str, ranks: Ranks, anchors: Anchors | None
) -> float:
    """The accuracy on other images of a model that is trained, which is left as it was."""
    with evaluating(Alone(model)):
        images = None if anchors is None else anchors.images
        judge = Judge(model, config.precision, ranks.device, images)
        return test_accuracy(judge, data, config.batch_size)


def batches_of(config: Classify, data: Data, ranks: Ranks, running: Running) -> Stream:
    """The shuffled batches of one rank, of all images or of those chosen.

    Raises:
        RunError: the ranks cannot share a batch, or nothing tells which image a sample shows.
    """
    if config.batch_size % ranks.size:
        raise RunError(f"a batch of {config.batch_size} cannot be shared by {ranks.size} processes")
    return stream_of(
        data,
        config.images,
        batch_size=config.batch_size // ranks.size,
        rank=ranks.rank,
        world_size=ranks.size,
        workers=running.workers,
        device=ranks.device,
        shuffle=True,
        seed=config.seed,
    )
