"""The option that names a bundle, on every command line."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from tyro.constructors import PrimitiveConstructorSpec

from quire.artifacts.address import Location
from quire.artifacts.errors import RunError
from quire.train.engine.mixture import Data

# A folder or an address, of which no message shows the secrets.
BundleOption: TypeAlias = Annotated[
    Location,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="BUNDLE",
        instance_from_str=lambda words: Location(words[0]),
        is_instance=lambda value: isinstance(value, Location),
        str_from_instance=lambda value: [str(value)],
    ),
]


def mixture(bundles: Sequence[Location], shares: Sequence[float]) -> Data:
    """What `--data` and `--mix` say to train on.

    >>> mixture([Location("a")], []), mixture([Location("a"), Location("b")], [0.7, 0.3])
    ('a', [('a', 0.7), ('b', 0.3)])

    Raises:
        RunError: there is not one share for each of several bundles.
    """
    if len(bundles) == 1 and not shares:
        return bundles[0]
    if len(bundles) != len(shares) or not bundles:
        raise RunError(f"{len(bundles)} bundles and {len(shares)} shares: --mix wants one for each")
    return list(zip(bundles, shares, strict=True))
