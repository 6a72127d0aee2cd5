"""The bundle of graphs that networks are made from."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch

from quire.artifacts.bundle import read_manifest
from quire.artifacts.errors import BundleError, RunError
from quire.loaders.graphs import StoredGraph
from quire.loaders.stream import Stream
from quire.models.sparse import SparseNetwork
from quire.train.engine.dataset_checks import class_names, shape_of
from quire.train.engine.options import key
from quire.train.engine.runs import Run, absolute, to_record
from quire.train.sparse.fit import Fit
from quire.train.sparse.groups import Member


@dataclass(frozen=True, slots=True)
class Origin:
    """What a bundle of graphs says of the networks that are made from it."""

    bundle: str | Path
    manifest: str  # its sha256
    inputs: int
    outputs: int

    def network(self, member: Member, graph: StoredGraph, config: Fit) -> SparseNetwork:
        """A network of a graph before training. Its draws are its own, whatever is beside it.

        Raises:
            RunError: the bundle is wrong about its parameters.
        """
        network = SparseNetwork(
            graph.edges,
            graph.size,
            inputs=self.inputs,
            outputs=self.outputs,
            mean=config.mean,
            std=config.std,
        )
        if network.num_parameters != member.parameters:
            raise RunError(f"{member} has {network.num_parameters} parameters in truth")
        purpose = ("weights", member.graph, member.initialisation)
        generator = torch.Generator().manual_seed(key(member.seed, *purpose))
        network.initialise(member.initialisation, generator=generator)
        return network


def origin_of(bundle: str | Path) -> Origin:
    """What a bundle of graphs says of their networks.

    Raises:
        BundleError: it is incomplete or damaged, or says nothing.
    """
    manifest = read_manifest(bundle)
    recipe = manifest.identity.recipe
    inputs, outputs = recipe.get("inputs"), recipe.get("outputs")
    if not isinstance(inputs, int) or not isinstance(outputs, int):
        raise BundleError(f"{bundle} does not say of how many inputs and outputs its networks are")
    return Origin(bundle, manifest.sha256, inputs, outputs)


def described(config: Fit, data: str, batches: Stream, name: str, origin: Origin) -> Run:
    """The record of a run, which calls the bundle of graphs by a name.

    Raises:
        RunError: the networks are not for such images, or the data cannot be trained on.
    """
    classes, shape = class_names(batches, data), shape_of(batches, data)
    if (origin.inputs, origin.outputs) != (math.prod(shape), len(classes)):
        raise RunError(
            f"the networks of {origin.bundle} have {origin.inputs} inputs and {origin.outputs}"
            f" outputs; {data} has images of {' x '.join(map(str, shape))} = {math.prod(shape)}"
            f" pixels in {len(classes)} classes"
        )
    return Run(
        method=config.method,
        config=to_record(config),
        bundle=batches.state_dict()["bundle"],
        classes=classes,
        channels=shape[0],
        data=absolute(data),
        inputs={name: origin.manifest},
        places={name: absolute(str(origin.bundle))},
    )
