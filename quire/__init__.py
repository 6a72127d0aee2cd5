"""Quire's public names, and its command line.

Nothing heavy is imported before it is needed, so that `quire --help` answers at once.
"""

import importlib
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quire.artifacts.errors import QuireError
from quire.artifacts.processors import limit_threads

if TYPE_CHECKING:
    from quire.artifacts.verify import verify
    from quire.builders.engine.run import build
    from quire.builders.sources.catalogue import open_source
    from quire.loaders.order import Shuffle
    from quire.loaders.stream import Stream, stream

__all__ = ["QuireError", "Shuffle", "Stream", "build", "open_source", "stream", "verify"]

_HOMES = {
    "Shuffle": "quire.loaders.order",
    "Stream": "quire.loaders.stream",
    "build": "quire.builders.engine.run",
    "open_source": "quire.builders.sources.catalogue",
    "stream": "quire.loaders.stream",
    "verify": "quire.artifacts.verify",
}


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives, when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'quire' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def sources() -> int:
    """List what can be read, and the layout that each kind expects."""
    from quire.builders.sources.catalogue import SOURCES

    for kind in SOURCES.values():
        print(f"{kind.summary}\n    {kind.layout}")
    return 0


def verify_command(bundle: str, /) -> int:
    """Check every byte of a bundle; each damaged, missing or foreign file is named on a line.

    Args:
        bundle: The bundle's folder, or its address.
    """
    from quire.artifacts.address import place_of
    from quire.artifacts.verify import verify

    with _progress("bytes") as report:
        problems = verify(bundle, report=report)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{place_of(bundle)}: sound")
    return 1 if problems else 0


def rebuild(
    bundle: str,
    /,
    source: str | None = None,
    shards: int = 3,
    frost_dir: Path | None = None,
    features: str | None = None,
    cooccurrence: str | None = None,
    seed: int | None = None,
) -> int:
    """Derive some shards of a bundle anew and compare digests: an audit without a full build.

    Args:
        bundle: The bundle's folder, or its address.
        source: The raw dataset as KIND:PATH, where the recipe reads one.
        shards: How many shards, chosen at random; where there are not more, also the tables.
        frost_dir: Folder of the frost images, for a recipe that used one.
        features: Bundle of features, a folder or an address, for a recipe that used one.
        cooccurrence: Bundle of co-occurrence, a folder or an address, for a recipe that used one.
        seed: Chooses the same shards again.
    """
    from quire.builders.rebuild import rebuild

    further = {"frost_dir": frost_dir, "features": features, "cooccurrence": cooccurrence}
    outside = {name: path for name, path in further.items() if path is not None}
    with _progress("shards") as report:
        outcome = rebuild(bundle, source, outside=outside, shards=shards, seed=seed, report=report)
    for line in outcome.lines:
        print(line)
    return 0 if outcome.same else 1


def show(bundle: str, /, html: Path | None = None, png: Path | None = None) -> int:
    """Say what is in a bundle: counts, recipe, and a contact sheet of its samples.

    Args:
        bundle: The bundle's folder, or its address.
        html: Write it all as one page.
        png: Write the contact sheet as a picture.
    """
    from quire.train.report.show import show

    show(bundle, html=html, png=png)
    return 0


def demo(out: Path = Path("out/demo")) -> int:
    """Run the whole path on embedded data: build, verify, stream, and write a report.

    Args:
        out: Where the bundle and the report go.
    """
    from quire.train.demo.run import demo

    report = demo(out, print)
    print(f"report: {report}")
    return 0


_COMMANDS: dict[str, Callable[..., int]] = {
    "sources": sources,
    "verify": verify_command,
    "rebuild": rebuild,
    "show": show,
    "demo": demo,
}


def _later(summary: str, module: str, name: str) -> Callable[[], Any]:
    """What imports a module and has a function of it make a command, or several."""

    def make() -> Any:
        return getattr(importlib.import_module(module), name)(_progress)

    make.__doc__ = summary
    return make


_MADE: dict[str, Callable[[], Any]] = {  # what gives a command whose options are slow to import
    "build": _later(
        "Build a bundle, or go on with a build that was stopped.",
        *("quire.train.commands.build", "build_commands"),
    ),
    "train": _later(
        "Train a model on a bundle, or go on with a run that was stopped.",
        *("quire.train.commands.train", "train_commands"),
    ),
    "evaluate": _later(
        "Measure trained models on every cell of a bundle, with intervals over runs.",
        *("quire.train.commands.measure", "evaluate_command"),
    ),
    "attack": _later(
        "Attack trained sparse networks: how often and how easily they are fooled.",
        *("quire.train.commands.measure", "attack_command"),
    ),
    "panels": _later(
        "Show what networks of segmentation make of scenes, side by side, in one picture.",
        *("quire.train.commands.panels", "panels_command"),
    ),
    "features": _later(
        "Write the features of a bundle's images, from the encoder of a run, as a bundle.",
        *("quire.train.commands.features", "feature_command"),
    ),
    "study": _later(
        "Carry out a table or a figure of a paper: our numbers beside the paper's.",
        *("quire.train.commands.study", "study_command"),
    ),
}
_STDOUT = 1
_NO_READER = 128 + 13  # the status of a process that SIGPIPE ended
_ORDER = (
    *("sources", "build", "verify", "rebuild", "show"),
    *("train", "evaluate", "attack", "panels", "features", "study", "demo"),
)


@contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on the terminal; nothing where there is none, or another rank has it."""
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 1 after an expected error, which is one line."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    limit_threads()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except (QuireError, OSError) as error:
        if debug:
            raise
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            return _NO_READER
        print(f"quire: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if debug:
            raise
        print("quire: stopped", file=sys.stderr)
        return 130


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed, as after `| head`; the rest of it is thrown away."""
    output = select.poll()
    output.register(_STDOUT, 0)  # which reports nothing but that its other end is closed
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return True


def _run(arguments: list[str]) -> int:
    import tyro

    name = arguments[0] if arguments else ""
    if name not in _MADE:
        commands = {name: (_COMMANDS | _MADE)[name] for name in _ORDER}
        return int(tyro.extras.subcommand_cli_from_dict(commands, prog="quire", args=arguments))
    made = _MADE[name]()
    if callable(made):
        return int(tyro.cli(made, prog=f"quire {name}", args=arguments[1:]))
    return int(tyro.extras.subcommand_cli_from_dict(made, prog=f"quire {name}", args=arguments[1:]))
