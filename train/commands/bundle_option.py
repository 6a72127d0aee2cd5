"""The option that names a bundle, on every command line."""

from typing import Annotated, TypeAlias

from tyro.constructors import PrimitiveConstructorSpec

from quire.artifacts.address import Location

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
