"""A bundle as the encoder of a finished run sees it: a vector of features for each sample."""

from collections.abc import Iterator
from pathlib import Path

from quire.artifacts.address import Location
from quire.artifacts.feature_table import Block
from quire.loaders.stream import Stream, stream
from quire.train.classify.evaluate import Judge
from quire.train.classify.run import trained
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.options import Report, best_device

_BATCH = 512  # samples of a block


def features(
    folder: Path, data: str, *, device: str | None = None, report: Report | None = None
) -> Iterator[Block]:
    """Every sample of a bundle through the encoder of a run, in the order of the bundle's rows.

    A block is features (B, F) float32, labels (B,) int64 and source_index (B,) int64. The encoder
    is in evaluation mode and computes in float32, whatever the run's precision; which head the run
    has makes no difference. Images are not augmented.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address.
        device: a GPU where there is one, unless it is named.
        report: called with the samples that are done, and their number.

    Raises:
        RunError: the run is not finished, or the bundle has other classes or channels.
        BundleError: the bundle is damaged, or lacks the column source_index.
    """
    data = Location(data)
    run, _, model = trained(folder)
    judge = Judge(model, "float32", best_device(device))
    batches = stream(
        data, columns=("label", "source_index"), batch_size=_BATCH, device=judge.device
    )
    check_same_kind(run, batches, data)
    return _blocks(judge, batches, report)


def _blocks(judge: Judge, batches: Stream, report: Report | None) -> Iterator[Block]:
    done = 0
    for batch in batches:
        labels, numbers = (batch[name].long().cpu() for name in ("label", "source_index"))
        yield judge.embedded(batch["image"]).cpu().numpy(), labels.numpy(), numbers.numpy()
        done += len(batch["row"])
        if report:
            report(done, len(batches.rows))
