"""perturbations.h5: universal perturbations, each of which is added to whatever image.

P perturbations, in the order in which they are to be shown.

name      (P,) text: what each is called, no two alike
delta/<i> (3, H, W) float32: number i = 0, 1, ..., in grey levels (of 255), channels R, G, B
norm      (P,) text: what its size is measured by: linf
xi        (P,) float64, above 0: and its bound, in grey levels
origin    (P,) text: published, or crafted
of        (P,) text: the network that it was made for: a name, or the digest of a run's weights
prior     (P,) text: what was known of the data: none, all, part; empty where nobody says
flipped   (P,) float64: of a crafted one the share of predictions that it changed on the scenes or
          images of its validation, 0 to 1; NaN where nobody says
file      (P,) text: the file that it was read from; empty where it was crafted
channels  (P,) text: the order of that file's channels, rgb or bgr; of a crafted one rgb
axes      (P,) text: the order of that file's axes, rows first (hw) or columns first (wh); hw
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from quire.artifacts import tables
from quire.artifacts.bundle import Bundle
from quire.artifacts.errors import BundleError

PERTURBATIONS = "perturbations.h5"

Channels: TypeAlias = Literal["rgb", "bgr"]
Axes: TypeAlias = Literal["hw", "wh"]

_CHANNELS = 3
_MOST_SIDE = 1 << 13
_TEXTS = {
    "name": "what the perturbation is called",
    "norm": "what its size is measured by",
    "origin": "published or crafted",
    "of": "the network that it was made for: a name, or the digest of a run's weights",
    "prior": "what was known of the data: none, all or part",
    "file": "the file that it was read from",
    "channels": "order of the channels in that file; here they are rgb",
    "axes": "order of rows and columns in that file; here rows are first",
}
_ALLOWED = {
    "norm": ("linf",),
    "origin": ("published", "crafted"),
    "prior": ("", "none", "all", "part"),
    "channels": get_args(Channels),
    "axes": get_args(Axes),
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Perturbation:
    """A universal perturbation; the module says what each field is."""

    name: str
    delta: NDArray[np.float32]  # (3, H, W)
    xi: float
    origin: str
    norm: str = "linf"
    of: str = ""
    prior: str = ""
    flipped: float = float("nan")
    file: str = ""
    channels: str = "rgb"
    axes: str = "hw"


def write_perturbations(file: h5py.File, perturbations: Sequence[Perturbation]) -> None:
    """Write the table."""
    for text, definition in _TEXTS.items():
        values = np.array([getattr(one, text).encode() for one in perturbations], "S")
        tables.put(file, text, values, definition=definition)
    xi = np.array([one.xi for one in perturbations], np.float64)
    tables.put(file, "xi", xi, unit="grey levels", definition="bound of the norm")
    flipped = np.array([one.flipped for one in perturbations], np.float64)
    tables.put(file, "flipped", flipped, unit="parts of 1", definition="predictions it changed")
    group = file.create_group("delta")
    for number, one in enumerate(perturbations):
        tables.put(
            group,
            str(number),
            one.delta,
            unit="grey levels",
            definition="what is added to an image; (channel, row, column)",
        )


def read_perturbations(bundle: Bundle) -> tuple[Perturbation, ...]:
    """Read the perturbations of a bundle.

    Raises:
        BundleError: there are none, or they are damaged or cannot be what they say.
    """
    with tables.open_table(bundle.table(PERTURBATIONS, "perturbations")) as file:
        texts = {name: _texts(file, name) for name in _TEXTS}
        xi, flipped = tables.get(file, "xi"), tables.get(file, "flipped")
        count = len(texts["name"])
        if not count or any(len(values) != count for values in texts.values()):
            raise BundleError(f"{PERTURBATIONS}: its arrays are of different lengths")
        for name, values in (("xi", xi), ("flipped", flipped)):
            if values.dtype != np.float64 or values.shape != (count,):
                raise BundleError(f"{PERTURBATIONS}: {name} is {values.dtype} of {values.shape}")
        group = tables.group_of(file, "delta")
        found = [
            Perturbation(
                delta=_delta(group, str(number)),
                xi=float(xi[number]),
                flipped=float(flipped[number]),
                **{name: values[number] for name, values in texts.items()},
            )
            for number in range(count)
        ]
    if len({one.name for one in found}) < count:
        raise BundleError(f"{PERTURBATIONS}: two perturbations have one name")
    for one in found:
        if reason := _wrong(one):
            raise BundleError(f"{PERTURBATIONS}: {one.name!r} {reason}")
    return tuple(found)


def named(perturbations: Sequence[Perturbation], name: str) -> Perturbation:
    """The perturbation of a name.

    Raises:
        BundleError: there is none.
    """
    for one in perturbations:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in perturbations)
    raise BundleError(f"no perturbation is called {name!r}; there are {known}")


def _texts(file: h5py.File, name: str) -> list[str]:
    found = tables.get(file, name)
    if found.dtype.kind != "S" or found.ndim != 1:
        raise BundleError(f"{PERTURBATIONS}: {name} is {found.dtype} of shape {found.shape}")
    try:
        texts = [bytes(value).decode() for value in found]
    except UnicodeDecodeError as error:
        raise BundleError(f"{PERTURBATIONS}: {name} is no text") from error
    if not all(text.isprintable() for text in texts):
        raise BundleError(f"{PERTURBATIONS}: {name} is no text")
    return texts


def _delta(group: h5py.Group, name: str) -> NDArray[np.float32]:
    shape = tables.check(group, name).shape
    if len(shape) != _CHANNELS or shape[0] != _CHANNELS or not 1 <= max(shape[1:]) <= _MOST_SIDE:
        raise BundleError(f"{PERTURBATIONS}: delta/{name} has shape {shape}, not (3, H, W)")
    delta: NDArray[np.float32] = tables.get(group, name)
    if delta.dtype != np.float32:
        raise BundleError(f"{PERTURBATIONS}: delta/{name} is {delta.dtype}, not float32")
    return delta


def _wrong(one: Perturbation) -> str:
    """What no perturbation can be, if this one is."""
    for text, allowed in _ALLOWED.items():
        if (value := getattr(one, text)) not in allowed:
            return f"has {value!r} for {text}, none of {allowed}"
    if not (one.delta.size and 0 < one.xi < np.inf):
        return f"has a bound of {one.xi} and {one.delta.size} values"
    if one.flipped < 0 or one.flipped > 1:
        return f"has changed {one.flipped:g} of all predictions"
    if not np.abs(one.delta).max() <= one.xi:  # nor is NaN
        return f"has values beyond its bound of {one.xi:g}"
    return ""
