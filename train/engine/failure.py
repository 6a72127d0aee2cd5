"""A run that cannot go on, as a loss is NaN or infinite: what it leaves behind."""

from collections.abc import Sequence
from pathlib import Path

from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream
from quire.train.engine.metrics import Log, NotFinite
from quire.train.engine.runs import FAILED, write_record


def flush(log: Log, batches: Stream, out: Path | None, names: Sequence[str] = ()) -> None:
    """Write the losses that wait; one that is NaN or infinite ends the run.

    Its batch is put on record in `out`, if any. `names` are those of models that are trained side
    by side, in the order of their losses.

    Raises:
        RunError: there is such a loss.
    """
    try:
        log.flush()
    except NotFinite as error:
        keys = batches.keys(error.rows)
        whose = {"network": names[error.member]} if names else {}
        place = "" if out is None else f"; all are in {out / FAILED}"
        if out is not None:
            failed = {"step": error.step, "loss": str(error.loss), **whose, "keys": keys}
            write_record(out / FAILED, failed)
        some = ", ".join(keys[:3])
        of = "".join(f" of {name}" for name in whose.values())
        raise RunError(
            f"{error}{of}; its batch of {len(keys)} begins with {some}{place}"
        ) from error
