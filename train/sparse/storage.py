"""The trained networks of a run on disk: a file for each group, and the list of all.

A file has each network's own tensors under its number, its edges among them, so that it can be
rebuilt from this file alone:

    00007.hidden.edges    (E, 2) int64, rows (from, to)
    00007.hidden.weight   (E,), of the edges
    00007.hidden.bias     (n,), of the nodes
    00007.input.weight    (sources, inputs); sources and sinks are in the order of their nodes
    00007.output.weight   (outputs, sinks)
    00007.output.bias     (outputs,)
    00007.mean, 00007.std ()         what inputs are normalised by; 0 and 1 where they are not there

and, in its metadata, a record of each network under "networks". Networks that are prunings of one
have its edges, which are there once; what a network has lost of them has a weight of 0:

    edges                 (E, 2) int64
    00007.hidden.kept     (E,) bool: which of them network 7 has
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from quire.artifacts.digest import whole_file
from quire.artifacts.errors import RunError
from quire.models.sparse import SparseNetwork
from quire.models.sparse_batch import SparseNetworks
from quire.train.engine.runs import NETWORKS, is_finished
from quire.train.sparse.groups import Member
from quire.train.sparse.table import as_lines, read_members

FOLDER = "networks"
_EDGES, _KEPT = "hidden.edges", "hidden.kept"
_SHARED = "edges"  # of all networks of a file
_STATE = "hidden._extra_state"  # the edges, in a model's state


@dataclass(frozen=True)
class Stored:
    """A group of trained networks on disk."""

    path: Path
    members: tuple[Member, ...]

    def networks(self) -> SparseNetworks:
        """Its networks, as one batch, on the CPU.

        Raises:
            RunError: the file is damaged, or holds other networks.
        """
        try:
            with safe_open(self.path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            return SparseNetworks([_network(tensors, member) for member in self.members])
        except (OSError, SafetensorError, KeyError, ValueError, RuntimeError, IndexError) as error:
            raise RunError(f"{self.path} does not hold its networks ({_first(error)})") from error


def group_path(folder: Path, name: str) -> Path:
    """Where a group lies in the folder of a run."""
    return folder / FOLDER / f"{name}.safetensors"


def save_group(
    path: Path, members: Sequence[Member], networks: SparseNetworks, kept: Tensor | None = None
) -> None:
    """Write a group of networks; the file appears whole.

    Prunings of one network have the connections `kept` of it, (M, E) bool.
    """
    tensors: dict[str, Tensor] = {}
    for index, member in enumerate(members):
        own = networks.member(index).state_dict()
        edges = own.pop(_STATE)
        if kept is None:
            own[_EDGES] = edges
        else:
            tensors[_SHARED], own[_KEPT] = edges, kept[index]
        tensors |= {f"{member.number:05d}.{name}": tensor for name, tensor in own.items()}
    # one entry: the order of several would not be the same in every process
    metadata = {"networks": json.dumps([asdict(member) for member in members])}
    there = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    with whole_file(path) as file:
        file.write(serialized(there, metadata))


def finish(folder: Path, members: Sequence[Member]) -> None:
    """Write the list of all networks, with which the run is finished."""
    with whole_file(folder / NETWORKS) as file:
        file.write(as_lines(members).encode())


def stored_groups(folder: Path) -> list[Stored]:
    """The groups of a finished run, in order.

    Raises:
        RunError: it is not finished, or lacks networks.
    """
    if not is_finished(folder):
        raise RunError(f"{folder} is not finished: train it again to go on where it stopped")
    groups = [opened(path) for path in sorted((folder / FOLDER).glob("*.safetensors"))]
    found = [member for group in groups for member in group.members]
    listed = read_members(folder / NETWORKS)
    if not listed or found != listed:
        raise RunError(f"the networks in {folder / FOLDER} are not those of its {NETWORKS}")
    return groups


def opened(path: Path) -> Stored:
    """A group, from the head of its file.

    Raises:
        RunError: it is none.
    """
    try:
        with safe_open(path, "pt") as file:
            records = json.loads((file.metadata() or {})["networks"])
        return Stored(path, tuple(Member(**record) for record in records))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is no group of networks ({_first(error)})") from error


def _network(tensors: Mapping[str, Tensor], member: Member) -> SparseNetwork:
    """One network of a file."""
    prefix = f"{member.number:05d}."
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    state = {"mean": torch.tensor(0.0), "std": torch.tensor(1.0), **state}
    kept = state.pop(_KEPT, None)
    edges = state.pop(_EDGES) if kept is None else tensors[_SHARED]
    size, inputs = len(state["hidden.bias"]), state["input.weight"].shape[1]
    network = SparseNetwork(edges, size, inputs=inputs, outputs=len(state["output.bias"]))
    network.load_state_dict({**state, _STATE: edges})
    parameters = network.num_parameters
    if kept is not None:
        removed = network.hidden.weight[~kept]
        if removed.any():
            raise ValueError(f"{member} has a connection that was removed")
        parameters -= len(removed)
    if parameters != member.parameters:
        raise ValueError(f"{member} has {parameters} parameters")
    return network


def _first(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).splitlines() or [repr(error)])[0]
