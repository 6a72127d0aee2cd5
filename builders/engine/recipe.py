"""What the engine asks of a recipe, and the record by which a recipe is known.

A recipe is a frozen dataclass of everything that decides the bytes of a build, and nothing else.
A field marked `outside` is a path to further files: it is not part of the record, the fingerprint
of the files is.

A recipe makes the same bytes on every processor and from every version of the libraries that the
project takes; `tests/builders/test_same_bytes.py` holds it to that. So what decides a byte is
integers, or floats that are rounded in one order: loops of our own (numba, without fastmath), NumPy
and SciPy where they add along no axis or in pixel order. On the way to a byte may not stand
- a BLAS or a threaded sum, where a rounding can change a choice or a level (of whole numbers that
  a float64 holds exactly none is rounded: quire.builders.recipes.kmeans);
- OpenCV's arithmetic of floats, whose instructions are chosen by processor, but for what was seen
  to be equal: cvtColor to grey, filter2D of float64, GaussianBlur of a 17 x 17 disk and resize of
  bytes (warpAffine was not);
- NumPy's exp, sin and cos of arrays, for the same reason, but for the few weights of a kernel that
  were seen to be equal;
- the encoder or decoder of a codec but libjpeg-turbo's and zlib's;
- HDF5's newer forms (see `quire.artifacts.tables`).

Seen equal: all recipes as SSE3, AVX2 and with AVX-512, 400,000 corrupted CIFAR-10 images and 3,975
blends of VOC's scenes among them; small ones on 64-bit ARM (emulated); and all recipes by NumPy
2.1.3, SciPy 1.14.1, OpenCV 4.10, Pillow 11.0, numba 0.61 and h5py 3.12 as by 2.4, 1.17, 5.0, 13.0,
0.68 and 3.16.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeAlias, TypeVar

import h5py
from numpy.typing import NDArray

from quire.artifacts.errors import RecipeError
from quire.artifacts.manifest import LeftOut
from quire.artifacts.shards import Samples
from quire.builders.engine.plan import ShardTask
from quire.builders.sources.source import Source

OUTSIDE = {"outside": True}  # metadata of a field that is a path

Part: TypeAlias = Mapping[str, NDArray[Any]]  # what one shard gives to the whole-dataset tables
WriteTable: TypeAlias = Callable[[h5py.File, Iterator[Part]], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive samples of a shard, those of them that cannot be read, and a piece of its part.

    The pieces of a shard are joined along the first axis of each array. So an array may have a row
    a sample, or come once, with the last run: a sum over the shard.
    """

    samples: Samples
    bad: Sequence[LeftOut] = ()
    part: Part = field(default_factory=dict)


AnySource = TypeVar("AnySource", bound=Source)
_Source = TypeVar("_Source", bound=Source, contravariant=True)


class Recipe(Protocol[_Source]):
    """How one kind of bundle is made."""

    kind: ClassVar[str]
    reads: ClassVar[tuple[str, ...]]  # what its source may hold; see quire.builders.sources.source
    libraries: ClassVar[tuple[str, ...]]  # distributions whose version can change a byte

    @property
    def split(self) -> str:
        """The split of the source that is read."""

    def resolve(self, source: _Source) -> Self:
        """The same recipe with every default that depends on the source spelled out.

        Raises:
            RecipeError: this source cannot be built in this way.
        """

    def fingerprints(self) -> Mapping[str, str]:
        """The fingerprints of the files outside the source, by field."""

    def plan(self, source: _Source) -> tuple[ShardTask, ...]:
        """The shards of a resolved recipe, in order."""

    def samples(self, source: _Source, task: ShardTask) -> Iterator[Run]:
        """The samples of one shard in runs. Pure.

        A shard without samples is no file of the bundle, but its part counts: a recipe that makes
        tables alone has only such.
        """

    def tables(self) -> Mapping[str, WriteTable]:
        """The whole-dataset tables of a resolved recipe: a file's name, and what writes it.

        It is given the parts of all shards, one at a time and in the order of the plan, so what it
        keeps is all that is in memory. It is pure: same parts, same bytes.
        """


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe[Any])


def to_record(recipe: Recipe[Any]) -> dict[str, Any]:
    """The kind and every field of a recipe as JSON has them; no paths."""
    record: dict[str, Any] = {"kind": recipe.kind}
    for one in dataclasses.fields(recipe):  # type: ignore[arg-type]
        if not one.metadata.get("outside"):
            value = getattr(recipe, one.name)
            record[one.name] = list(value) if isinstance(value, tuple) else value
    return record


def from_record(
    known: Mapping[str, type[AnyRecipe]], record: Mapping[str, Any], outside: Mapping[str, Any]
) -> AnyRecipe:
    """The recipe that `to_record` wrote down, with the paths that its record leaves out.

    Raises:
        RecipeError: the kind is not known here, or has other fields.
    """
    kind = str(record.get("kind"))
    fields = {name: tuple(v) if isinstance(v, list) else v for name, v in record.items()}
    del fields["kind"]
    if kind not in known:
        raise RecipeError(f"recipe kind {kind!r} is not known here; known: {', '.join(known)}")
    try:
        return known[kind](**fields, **outside)
    except TypeError as error:
        raise RecipeError(f"a {kind} recipe cannot have these fields ({error})") from error
