"""Checkpoints: a folder that is there whole or not at all; nothing in it can run when it is read.

Weights are safetensors. The rest (the optimizer's state, the stream's position) is what
`torch.load` reads with `weights_only`. Of several checkpoints the last is used, and kept.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import nn

from quire.artifacts.digest import publish, whole_file
from quire.artifacts.errors import RunError

_WEIGHTS, _REST = "weights.safetensors", "rest.pt"


def save(folder: Path, step: int, model: nn.Module, rest: Mapping[str, Any]) -> None:
    """Write the checkpoint of a step (steps done so far), then remove earlier ones."""
    folder.mkdir(exist_ok=True)
    earlier = _all(folder)
    partial = folder / f".checkpoint-{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    save_weights(partial / _WEIGHTS, model)
    with whole_file(partial / _REST) as file:
        torch.save(dict(rest), file)
    publish(partial, folder / f"checkpoint-{step:08d}")
    for checkpoint in earlier:
        shutil.rmtree(checkpoint)


def restore(folder: Path, model: nn.Module) -> tuple[int, dict[str, Any]] | None:
    """Load the last checkpoint: the weights into the model; returns its step and the rest.

    None where there is no checkpoint.

    Raises:
        RunError: it is damaged, or of another model.
    """
    checkpoints = _all(folder)
    if not checkpoints:
        return None
    load_weights(checkpoints[-1] / _WEIGHTS, model)
    path = checkpoints[-1] / _REST
    try:
        rest = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError) as error:
        raise RunError(f"{path} cannot be read ({error})") from error
    return int(checkpoints[-1].name.removeprefix("checkpoint-")), rest


def clear(folder: Path) -> None:
    """Remove every checkpoint, and what was left of one that was being written."""
    for path in (*_all(folder), *folder.glob(".checkpoint-*.partial")):
        shutil.rmtree(path)


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the parameters and buffers of a model; the file appears whole."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    with whole_file(path) as file:
        file.write(serialized(tensors))


def load_weights(path: Path, model: nn.Module) -> None:
    """Fill a model with weights that `save_weights` wrote.

    Raises:
        RunError: the file is damaged, or of another model.
    """
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise RunError(f"{path} does not hold the weights of this model ({first})") from error


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"))
