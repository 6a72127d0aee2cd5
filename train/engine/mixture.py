"""What a run is trained on: a bundle, or several that are mixed by shares.

Of several the first is the run's own: its samples make an epoch, and name the classes. The others
are extra data, such as generated images for robust training.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from quire.artifacts.address import Location
from quire.artifacts.bundle import read_manifest
from quire.train.engine.runs import Run, absolute

Data: TypeAlias = str | Sequence[tuple[str, float]]  # see `quire.stream`


def own(data: Data) -> Location:
    """The bundle whose samples make an epoch."""
    return Location(data if isinstance(data, str) else data[0][0])


def located(data: Data) -> Data:
    """The same, whose secrets no message shows."""
    if isinstance(data, str):
        return Location(data)
    return [(Location(place), share) for place, share in data]


def with_others(run: Run, data: Data) -> Run:
    """The record of a run, which names what else it is trained on, and the shares."""
    if isinstance(data, str) or len(data) == 1:
        return run
    inputs, places = dict(run.inputs), dict(run.places)
    whole = sum(share for _, share in data)
    for number, (place, share) in enumerate(data[1:], start=2):
        name = f"data {number}: {share / whole:.6f}"
        inputs[name], places[name] = read_manifest(place).sha256, absolute(place)
    return replace(run, inputs=inputs, places=places)
