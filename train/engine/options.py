"""How a run is carried out: what every method of training shares, and what decides nothing."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from quire.artifacts.errors import RunError

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]
Report: TypeAlias = Callable[[int, int], None]  # what is done, and of how much
Bar: TypeAlias = Callable[[str], AbstractContextManager[Report | None]]  # of progress, by unit


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a run is carried out; nothing here decides what is learned."""

    device: str | None = None
    """Where to compute: cpu, cuda, cuda:1; default: a GPU where there is one."""
    workers: int = 0
    """Processes that read the bundle; 0 reads in this one, which is faster for raw images."""
    compile: bool = False
    """Compile the encoder with torch.compile."""
    tensorboard: bool = True
    """Event files for TensorBoard, beside metrics.jsonl."""
    log_every: int = 50
    """Steps between two looks at the losses; each waits for the device."""
    checkpoint_seconds: float = 60.0
    """Time between two checkpoints, at least."""


def best_device(name: str | None) -> torch.device:
    """The device of this name; without one, a GPU where there is one.

    Raises:
        RunError: no device has this name, or nothing of ours runs on it.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise RunError(f"there is no device {name!r}: cpu, cuda and cuda:1 are some") from error
    if device.type == "mps":
        raise RunError("mps has no float64, in which losses and draws are counted: take cpu")
    if device.type not in ("cpu", "cuda"):
        raise RunError(f"nothing runs on {name!r} here: cpu, cuda and cuda:1 are some")
    return device


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a model computes; "auto" is bfloat16 on a GPU alone."""
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 on a GPU, which has ten bits of a float32's fraction in products."""
    matmul, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolutions.allow_tf32
    try:
        matmul.allow_tf32 = convolutions.allow_tf32 = False
        yield
    finally:
        matmul.allow_tf32, convolutions.allow_tf32 = before


def key(seed: int, *purpose: str | int) -> int:
    """A seed for one purpose of a run: unrelated to those of other purposes, and of other seeds.

    >>> key(0, "step", 1) != key(1, "step", 0)
    True
    """
    text = repr((seed, *purpose)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1  # what torch takes
