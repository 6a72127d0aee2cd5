"""A run's folder: what was asked for, and what became of it.

    run.json              the method, every field of its configuration, and the data; written first
    metrics.jsonl         a line for every step and every epoch
    checkpoint-00001234/  where a run that was stopped goes on
    failed.json           the batch whose loss was NaN or infinite
    model.safetensors     the trained weights, written last: a run that has them is finished
    contrast.safetensors  of a classifier in two stages: the weights after the first
    separation.safetensors  of segmentation in two stages: the weights after the first
    samples/00000500.png  of a GAN: images that were generated after so many steps
    evaluations/          what was measured on which bundle

A run that trains many networks has, in place of model.safetensors:

    networks/             the weights of each group of networks, and where one goes on
    networks.csv          which network has which number, written last
    evaluations/          a folder for each question, with the answers of each group

A folder belongs to one run: the same method, configuration and bundles.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from quire.artifacts.address import is_address, shown
from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.artifacts.lock import held

FORMAT = 1
RUN, METRICS, MODEL, FAILED = "run.json", "metrics.jsonl", "model.safetensors", "failed.json"
CONTRAST = "contrast.safetensors"
NETWORKS = "networks.csv"
EVALUATIONS, SAMPLES = "evaluations", "samples"
_LOCK = "lock"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What decides a run, and where its data lay."""

    method: str
    config: Mapping[str, Any]  # every field
    bundle: str  # the sha256 of its manifest
    classes: tuple[str, ...]
    channels: int
    data: str  # the bundle's folder or address; it may have moved since
    inputs: Mapping[str, str] = field(default_factory=dict)  # manifests of further bundles, by name
    places: Mapping[str, str] = field(default_factory=dict)  # and where these lay

    def difference(self, other: "Run") -> str | None:
        """The first thing in which two runs differ, with both values; where data lies is none."""
        ours, theirs = (_flat(asdict(run)) for run in (self, other))
        for name in sorted({*ours, *theirs} - {"data"}):
            if not name.startswith("places.") and ours.get(name) != theirs.get(name):
                return f"{name} is {ours.get(name)!r} here, {theirs.get(name)!r} there"
        return None


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON; the file appears whole, and its folder with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(record, indent=1).encode())


def to_record(config: Any) -> dict[str, Any]:
    """Every field of a configuration, as JSON has them: a tuple becomes a list."""
    record: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return record


def absolute(data: str) -> str:
    """Where data lies, wherever one asks from: an absolute path, or an address without secrets."""
    return shown(data) if is_address(data) else str(Path(data).absolute())


def digest(record: Any) -> str:
    """Sixteen letters that stand for a record of plain values, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def claim(folder: Path, run: Run) -> Iterator[bool]:
    """Take a folder for a run: a new or empty one, or that of the same run. Gives: is it finished?

    Raises:
        RunError: it belongs to another run, holds something else, or another process trains there.
    """
    _refuse_other(folder, run)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / _LOCK, RunError(f"another process is training in {folder}")):
        with whole_file(folder / RUN) as file:
            text = json.dumps({"format": FORMAT, **asdict(run)}, indent=1, sort_keys=True)
            file.write(text.encode())
        yield is_finished(folder)


def _refuse_other(folder: Path, run: Run) -> None:
    if (folder / RUN).exists():
        if difference := run.difference(read_run(folder)):
            raise RunError(f"{folder} belongs to another run; {difference}")
    elif folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file")
    elif folder.exists() and any(entry.name != _LOCK for entry in folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no run of ours: name another folder")


def is_finished(folder: Path) -> bool:
    """Whether a run came to its end."""
    return any((folder / last).exists() for last in (MODEL, NETWORKS))


def read_run(folder: Path) -> Run:
    """What a run's folder says of itself.

    Raises:
        RunError: there is no run, or it was written in another format.
    """
    path = folder / RUN
    if not path.exists():
        raise RunError(f"{folder} is no run: it has no {RUN}")
    try:
        record = json.loads(path.read_text("utf-8"))
        if (found := record.pop("format")) != FORMAT:
            raise RunError(f"{path}: format {found!r}; this reader knows {FORMAT}")
        return Run(**{**record, "classes": tuple(record["classes"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} is not what a run writes ({error!r})") from error


def config_of(run: Run, kind: type[Any]) -> Any:
    """The configuration that a run recorded, as the frozen record of its method.

    Raises:
        RunError: the fields are others, or a value is refused.
    """
    try:
        return _record(kind, run.config)
    except (TypeError, ValueError) as error:
        raise RunError(f"the run's configuration is not that of {run.method} ({error})") from error


def _record(kind: type[Any], values: Mapping[str, Any]) -> Any:
    types = get_type_hints(kind)
    made: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and dataclasses.is_dataclass(types.get(name)):
            made[name] = _record(types[name], value)
        else:
            made[name] = tuple(value) if isinstance(value, list) else value
    return kind(**made)
