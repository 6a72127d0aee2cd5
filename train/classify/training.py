"""Training of image classifiers from a bundle, with whatever head; the head says what for."""

from pathlib import Path

import torch

from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream
from quire.models.classifier import Classifier
from quire.train.classify import contrastive
from quire.train.classify.anchors import with_anchors
from quire.train.classify.run import Classify, build_model, described
from quire.train.classify.steps import Training
from quire.train.engine import checkpoint, loop
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
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files.

    Args:
        data: the bundle to train on, a folder or an address; or several and their shares.
        out: the run's folder (see `quire.train.engine.runs`).
        anchors: the bundle of images that a cnn2graph head compares all others with.
        report: called with the steps done and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on, or not with
            these anchors; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    data, place = located(data), own(data)
    running = running or Running()
    with joined(running.device) as ranks:
        batches = batches_of(config, data, ranks, running)
        config, run = described(config, place, batches)
        run, known = with_anchors(config, with_others(run, data), place, anchors, ranks.device)
        with claimed(out, run, ranks) as finished:
            if finished:
                return False
            torch.manual_seed(key(config.seed, "weights"))
            model = build_model(config, run).to(ranks.device).to(memory_format=torch.channels_last)
            if config.weights is not None:
                load_pretrained(model.encoder, config.weights)
            if config.objective == "supcon":
                assert isinstance(model, Classifier)  # its head is linear
                both = batches, batches_of(contrastive.probe_of(config), data, ranks, running)
                contrastive.learn(config, model, both, ranks, out, running, report)
            else:
                training = Training.new(config, model, batches, ranks, known)
                if running.compile:
                    model.encoder.compile()
                files = out if ranks.first else None
                part = loop.Part(out=files, checkpoints=out, stream=batches, total=training.total)
                loop.run(training, part, running, report)
            if ranks.first:
                checkpoint.save_weights(out / MODEL, model)
                checkpoint.clear(out)
    return True


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
