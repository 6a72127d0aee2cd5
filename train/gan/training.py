"""Training of GANs from a bundle of images, measured on the way by the bins of their dataset."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from quire.artifacts.address import Location
from quire.artifacts.bins_table import Bins, read_bins
from quire.artifacts.bundle import open_bundle
from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream, stream
from quire.train.engine import checkpoint, loop
from quire.train.engine.options import Report, Running, key
from quire.train.engine.ranks import Ranks, claimed, joined, normalised_together
from quire.train.engine.runs import MODEL, SAMPLES, Run, absolute
from quire.train.gan.ndb import spread_of
from quire.train.gan.run import BINS, Gan, Pair, build_pair, described
from quire.train.gan.steps import Training, generated
from quire.train.report.page import picture

_SIDE = 10  # images along each side of a grid


def train(
    config: Gan,
    data: str,
    out: Path,
    *,
    bins: str | None = None,
    running: Running | None = None,
    report: Report | None = None,
) -> bool:
    """Train in a folder, going on where the same run was stopped; False if it was finished before.

    Under torchrun all processes call this; the first writes the files. After every `measure_every`
    steps there is a grid of samples in `out/samples` and, with bins, the spread of others over them
    in the metrics: `ndb`, `ndb_score`, `js` and `reached`, see `quire.train.gan.ndb.Spread`.

    Args:
        data: the bundle to train on: a folder or an address.
        out: the run's folder (see `quire.train.engine.runs`).
        bins: a bundle of bins of the same source, by which generated images are measured.
        report: called with the steps done and their number.

    Raises:
        RunError: the folder belongs to another run; the data cannot be trained on; the bins are of
            another source; or a loss is NaN or infinite, with the step and the batch's keys.
        BundleError: a bundle is damaged.
    """
    data = Location(data)
    running = running or Running()
    with joined(running.device) as ranks:
        batches = batches_of(config, data, ranks, running)
        config, run = described(config, data, batches)
        table = None
        if bins is not None:
            run, table = with_bins(run, config, Location(bins), batches)
        with claimed(out, run, ranks) as finished:
            if finished:
                return False
            torch.manual_seed(key(config.seed, "weights"))
            pair = build_pair(config, run).to(ranks.device).to(memory_format=torch.channels_last)
            normalised_together(pair, ranks)
            if running.compile:
                pair.compile_both()
            look = partial(_seen, config, pair, table, out) if ranks.first else _nothing
            training = Training.new(config, pair, batches, ranks, look)
            files = out if ranks.first else None
            part = loop.Part(out=files, checkpoints=out, stream=batches, total=config.iterations)
            loop.run(training, part, running, report)
            if ranks.first:
                checkpoint.save_weights(out / MODEL, pair)
                checkpoint.clear(out)
    return True


def batches_of(config: Gan, data: str, ranks: Ranks, running: Running) -> Stream:
    """The shuffled batches of one rank, all of them full.

    Raises:
        RunError: the ranks cannot share a batch.
    """
    if config.batch_size % ranks.size:
        raise RunError(f"a batch of {config.batch_size} cannot be shared by {ranks.size} processes")
    return stream(
        data,
        batch_size=config.batch_size // ranks.size,
        rank=ranks.rank,
        world_size=ranks.size,
        workers=running.workers,
        device=ranks.device,
        shuffle=True,
        seed=config.seed,
        drop_last=True,
    )


def with_bins(run: Run, config: Gan, bins: str, batches: Stream) -> tuple[Run, Bins]:
    """The record of a run that is measured by bins, and these.

    Raises:
        RunError: they are of another source than the data, or of other images.
        BundleError: they cannot be read.
    """
    bundle = open_bundle(bins)
    table, ours = read_bins(bundle), batches.manifest.identity.source
    theirs = bundle.manifest.identity.source
    for name in ("kind", "split", "sha256"):
        if ours.get(name) != theirs.get(name):
            raise RunError(
                f"{bins} has bins of another source than the images: its {name} is"
                f" {theirs.get(name)!r}, theirs {ours.get(name)!r}"
            )
    size = config.size, config.size, run.channels
    if table.image_shape != size:
        raise RunError(f"{bins} has bins of images {table.image_shape}, the run's are {size}")
    inputs, places = {BINS: bundle.manifest.sha256}, {BINS: absolute(bins)}
    return replace(run, inputs=inputs, places=places), table


def _nothing(step: int) -> dict[str, float]:
    return {}


def _seen(config: Gan, pair: Pair, bins: Bins | None, out: Path, step: int) -> dict[str, float]:
    """Show some images that the generator makes, and say how they spread over the bins."""
    some = torch.cat([*generated(config, pair.generator, "grid", _SIDE**2)])
    (out / SAMPLES).mkdir(exist_ok=True)
    with whole_file(out / SAMPLES / f"{step:08d}.png") as file:
        file.write(picture(grid_of(some), density=1, description="samples").png)
    if bins is None:
        return {}
    spread = spread_of(generated(config, pair.generator, "measured", config.samples), bins)
    return {
        "ndb": spread.different,
        "ndb_score": spread.score,
        "js": spread.js,
        "reached": spread.reached,
    }


def grid_of(images: torch.Tensor) -> Image.Image:
    """Images side by side, `_SIDE` in a row. (N, channels, H, W) in [-1, 1], N a multiple of it."""
    levels = ((images.float().cpu() + 1) * 127.5).round().to(torch.uint8)
    rows = levels.unflatten(0, (-1, _SIDE)).permute(0, 3, 1, 4, 2).contiguous()
    pixels = rows.flatten(2, 3).flatten(0, 1).squeeze(2).numpy()
    return Image.fromarray(pixels)
