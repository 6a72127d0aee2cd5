"""`quire rebuild`: an audit of a bundle without a full build."""

from collections.abc import Callable

from tyro.conf import OmitArgPrefixes, Positional

from quire.builders.rebuild import rebuild
from quire.train.commands.bar import Bar
from quire.train.commands.outside import Outside


def rebuild_command(bar: Bar) -> Callable[..., int]:
    """The command that derives shards anew."""

    def command(
        bundle: Positional[str],
        outside: OmitArgPrefixes[Outside],
        source: str | None = None,
        shards: int = 3,
        seed: int | None = None,
    ) -> int:
        """Derive some shards of a bundle anew and compare digests: an audit without a full build.

        Args:
            bundle: The bundle's folder, or its address.
            outside: Files beside the source.
            source: The raw dataset as KIND:PATH, where the recipe reads one.
            shards: How many shards, chosen at random; where there are not more, also the tables.
            seed: Chooses the same shards again.
        """
        with bar("shards") as report:
            outcome = rebuild(
                bundle, source, outside=outside.given, shards=shards, seed=seed, report=report
            )
        for line in outcome.lines:
            print(line)
        return 0 if outcome.same else 1

    return command
