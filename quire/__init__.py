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
    from quire.builders.sources.kinds import SOURCES

    for kind in SOURCES.values():
        print(f"{kind.summary}\n    {kind.layout}")
    return 0


def verify_command(
    bundle: str, /, allowed_signers: Path | None = None, signer: str | None = None
) -> int:
    """Check every byte of a bundle; each damaged, missing or foreign file is named on a line.

    Args:
        bundle: The bundle's folder, or its address.
        allowed_signers: A file of names and keys, as OpenSSH has it; the bundle must be signed by
            one of them. See `quire sign`.
        signer: The name in that file that must have signed it.
    """
    from quire.artifacts.absent import listed
    from quire.artifacts.address import place_of
    from quire.artifacts.verify import examine

    if signer is not None and allowed_signers is None:
        raise QuireError("--signer wants --allowed-signers, a file with the key of that name")
    with _progress("bytes") as report:
        found = examine(bundle, allowed_signers=allowed_signers, signer=signer, report=report)
    for problem in found.problems:
        print(problem)
    if not found.problems:
        signed = f", signed by {', '.join(found.signers)}" if found.signers else ""
        print(f"{place_of(bundle)}: sound{signed}")
    if found.absent:
        print(f"absent by intention: {listed(found.absent)}")
    return 1 if found.problems else 0


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
    "rebuild": _later(
        "Derive some shards of a bundle anew and compare digests: an audit without a full build.",
        *("quire.train.commands.rebuild", "rebuild_command"),
    ),
    "push": _later(
        "Copy a bundle to an address; a push that was stopped goes on.",
        *("quire.train.commands.sharing", "push_command"),
    ),
    "pull": _later(
        "Copy a bundle, or a part of it, from an address; or make its shards from your own source.",
        *("quire.train.commands.sharing", "pull_command"),
    ),
    "sign": _later(
        "Sign a bundle's manifest, which has the digest of all else, by OpenSSH.",
        *("quire.train.commands.sharing", "sign_command"),
    ),
    "export": _later(
        "Write a bundle in the form of another tool: Hugging Face, DALI, Energon, BagIt, ...",
        *("quire.train.commands.sharing", "export_command"),
    ),
    "doctor": _later(
        "Say what this machine is, how fast it reads a bundle, and what to do about it.",
        *("quire.train.commands.doctor", "doctor_command"),
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
        "Attack what was trained: how often, how easily, by how many queries it is fooled.",
        *("quire.train.commands.attack", "attack_commands"),
    ),
    "craft": _later(
        "Craft a universal perturbation against a network of segmentation or a classifier.",
        *("quire.train.commands.craft", "craft_commands"),
    ),
    "panels": _later(
        "Show what networks of segmentation make of scenes, side by side, in one picture.",
        *("quire.train.commands.panels", "panels_command"),
    ),
    "predict": _later(
        "Write the masks that a run of segmentation makes of whole images, as a bundle.",
        *("quire.train.commands.predict", "predict_command"),
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
# What says of words on the command line which kind of a command they mean.
_KINDS = {
    "build": ("quire.train.commands.build", "build_arguments"),
    "attack": ("quire.train.commands.attack", "attack_arguments"),
    "craft": ("quire.train.commands.craft", "craft_arguments"),
}
_STDOUT = 1
_NO_READER = 128 + 13  # the status of a process that SIGPIPE ended
_ORDER = (
    *("sources", "build", "verify", "rebuild", "show", "push", "pull", "sign", "export"),
    *("train", "evaluate", "attack", "craft", "panels", "predict", "features"),
    *("study", "demo", "doctor"),
)


@contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on the terminal; nothing where there is none, or another rank has it."""
    if not sys.stderr.isatty() or os.environ.get("RANK", "0") != "0":
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts = (DownloadColumn(binary_units=True), TransferSpeedColumn()) if unit == "bytes" else ()
    columns = (
        *(TextColumn("{task.description}"), BarColumn(), *amounts),
        *(TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn()),
    )
    bar = Progress(*columns, console=Console(stderr=True))
    task = bar.add_task(unit, total=None)

    def report(done: int, total: int) -> None:
        bar.start()  # not before, since there can be but one bar at a time
        bar.update(task, completed=done, total=total)

    try:
        yield report
    finally:
        bar.stop()


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
    made, rest = _MADE[name](), arguments[1:]
    if callable(made):
        return int(tyro.cli(made, prog=f"quire {name}", args=rest))
    if name in _KINDS:
        module, function = _KINDS[name]
        rest = getattr(importlib.import_module(module), function)(rest)
    return int(tyro.extras.subcommand_cli_from_dict(made, prog=f"quire {name}", args=rest))
