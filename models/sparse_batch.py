"""Many sparse networks at once: their graphs, disjoint, are one graph.

A layer of all networks is one weighted sum of rows, nothing is padded, and there are as many
operations as for the deepest network alone. The members' parameters are rows of shared tensors,
one member after another, so one step of an optimizer that treats each number by itself (Adam, SGD)
is a step of each.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.models.sparse import SparseNetwork
from quire.models.sparse_hidden import HiddenGraph


class SparseNetworks(nn.Module):
    """Computes what each of M networks would alone; their graphs may differ in every way.

    No gradient flows from one member to another if the loss is a sum over members, such as that
    of `cross_entropies`. To clip the norm of all gradients together would mix them.

    Shape: ``(B, inputs) -> (M, B, outputs)``, one batch for all (much less work), or
    ``(M, B, inputs) -> (M, B, outputs)``, each its own.
    """

    mean: Tensor
    std: Tensor
    source_slots: Tensor
    sink_slots: Tensor

    def __init__(self, networks: Sequence[SparseNetwork]) -> None:
        """Copies the networks, with the weights that they have now.

        Raises:
            ValueError: there are none, or they differ in inputs and how these are normalised, in
                outputs, dtype or device.
        """
        super().__init__()
        kinds = {_kind(network) for network in networks}
        if len(kinds) != 1:
            raise ValueError(f"the networks are of {len(kinds)} kinds {sorted(kinds)}, not of one")
        graphs = [network.hidden for network in networks]
        self.sizes = [len(graph.bias) for graph in graphs]
        self.num_edges = [len(graph.edges) for graph in graphs]
        self.num_sources = [len(graph.sources) for graph in graphs]
        self.num_sinks = [len(graph.sinks) for graph in graphs]
        self.hidden = _side_by_side(graphs, self.sizes)
        with torch.no_grad():
            self.input_weight = nn.Parameter(torch.cat([n.input.weight for n in networks]))
            self.output_weight = nn.Parameter(torch.cat([n.output.weight.T for n in networks]))
            self.output_bias = nn.Parameter(torch.stack([n.output.bias for n in networks]))
        for name in ("mean", "std"):
            self.register_buffer(name, getattr(networks[0], name).clone())
        for name, counts in {"source": self.num_sources, "sink": self.num_sinks}.items():
            slots = _slots(counts).to(self.input_weight.device)
            self.register_buffer(f"{name}_slots", slots, persistent=False)

    def __len__(self) -> int:
        """M."""
        return len(self.sizes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits. (B, inputs) or (M, B, inputs) -> (M, B, outputs); B may be 0."""
        return self.logits_of_drive(self.drive((inputs - self.mean) / self.std))

    def replacing(self, images: Tensor) -> "Replacing":
        """What is asked of images of which one input or a few are replaced. (B, inputs)."""
        return Replacing(self, images)

    def moving(self, images: Tensor, directions: Tensor) -> "Moving":
        """What is asked of images that are moved along directions. (B, inputs), (M, B, inputs)."""
        return Moving(self, images, directions)

    def drive(self, inputs: Tensor) -> Tensor:
        """What the sources receive of inputs that are normalised already.

        (B, inputs) or (M, B, inputs) -> (sum of sources, B).
        """
        if inputs.ndim == 2:
            return self.input_weight @ inputs.T
        weight = self._padded(self.input_weight, self.source_slots, self.num_sources)
        return (weight @ inputs.mT).flatten(0, 1).index_select(0, self.source_slots)

    def members(self) -> Tensor:
        """Whose source each is. -> (sum of sources,) int64 of [0, M)."""
        counts = torch.tensor(self.num_sources, device=self.input_weight.device)
        return torch.arange(len(self), device=counts.device).repeat_interleave(counts)

    def logits_of_drive(self, drive: Tensor) -> Tensor:
        """Logits, from what the sources receive. (sum of sources, B) -> (M, B, outputs)."""
        sinks = self._padded(self.hidden(drive), self.sink_slots, self.num_sinks)
        weight = self._padded(self.output_weight, self.sink_slots, self.num_sinks)
        logits: Tensor = torch.baddbmm(self.output_bias.unsqueeze(1), sinks.mT, weight)
        return logits

    def _padded(self, rows: Tensor, slots: Tensor, counts: Sequence[int]) -> Tensor:
        """Rows of all members as a block for each, zeros below. (R, D) -> (M, max(counts), D)."""
        empty = rows.new_zeros(len(self) * max(counts), rows.shape[1])
        return empty.index_copy(0, slots, rows).view(len(self), max(counts), -1)

    @torch.no_grad()
    def member(self, index: int) -> SparseNetwork:
        """A network with a copy of the weights of member `index`, which may be negative."""
        index = range(len(self))[index]
        edges = self.hidden.edges.split(self.num_edges)[index] - sum(self.sizes[:index])
        outputs = self.output_bias.shape[1]
        inputs = self.input_weight.shape[1]
        network = SparseNetwork(
            edges,
            self.sizes[index],
            inputs=inputs,
            outputs=outputs,
            mean=float(self.mean),
            std=float(self.std),
        )
        network = network.to(self.input_weight).train(self.training)
        sources, sinks = self.num_sources, self.num_sinks
        network.hidden.weight.copy_(self.hidden.weight.split(self.num_edges)[index])
        network.hidden.bias.copy_(self.hidden.bias.split(self.sizes)[index])
        network.input.weight.copy_(self.input_weight.split(sources)[index])
        network.output.weight.copy_(self.output_weight.split(sinks)[index].T)
        network.output.bias.copy_(self.output_bias[index])
        return network


class Replacing:
    """Logits of images of which few inputs are replaced, from those of the images as they are.

    A weighted sum of all inputs, which takes most of the time of a network with few neurons, is
    computed once for each image; what is replaced is added as the change of one column or a few.
    """

    def __init__(self, networks: SparseNetworks, images: Tensor) -> None:
        """Of B images. (B, inputs)."""
        self.networks = networks
        self.images = images
        self._drive = networks.drive((images - networks.mean) / networks.std)
        self._member = networks.members()

    def __call__(self, image: Tensor, index: Tensor, value: Tensor) -> Tensor:
        """Logits of n images for each network, whose inputs at `index` are `value`.

        (M, n) int64 of [0, B), (M, n, c) int64 of [0, inputs), (M, n, c) -> (M, n, outputs).
        """
        networks, member = self.networks, self._member
        change = (value.to(self.images) - self.images[image.unsqueeze(2), index]) / networks.std
        drive = self._drive.gather(1, image[member])
        for place, by in zip(index.unbind(2), change.unbind(2), strict=True):
            drive += networks.input_weight.gather(1, place[member]) * by[member]
        return networks.logits_of_drive(drive)


class Moving:
    """Logits of images that are moved along directions, from those of either.

    What the sources receive is linear in the inputs, so it is computed once for the images and
    once for the directions, each network's own.
    """

    def __init__(self, networks: SparseNetworks, images: Tensor, directions: Tensor) -> None:
        """Of B images. (B, inputs), (M, B, inputs)."""
        self.networks = networks
        self._drive = networks.drive((images - networks.mean) / networks.std)
        self._along = networks.drive(directions / networks.std)
        self._member = networks.members()

    def __call__(self, image: Tensor, by: float) -> Tensor:
        """Logits of n images for each network, moved so far. (M, n) int64 -> (M, n, outputs)."""
        which = image[self._member]
        moved = self._drive.gather(1, which).add_(self._along.gather(1, which), alpha=by)
        return self.networks.logits_of_drive(moved)


def cross_entropies(logits: Tensor, labels: Tensor) -> Tensor:
    """Each member's mean over its batch; their sum is a loss for all.

    (M, B, outputs), (B,) or (M, B) int64 -> (M,).

    >>> cross_entropies(torch.zeros(3, 2, 10), torch.tensor([4, 7])).tolist()
    [2.302..., 2.302..., 2.302...]
    """
    labels = labels.expand(logits.shape[:2])
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view_as(labels).mean(dim=1)


def _kind(network: SparseNetwork) -> tuple[int, int, float, float, str, str]:
    weight = network.input.weight
    sizes = network.input.in_features, network.output.out_features
    scale = float(network.mean), float(network.std)
    return *sizes, *scale, str(weight.dtype), str(weight.device)


def _side_by_side(graphs: Sequence[HiddenGraph], sizes: Sequence[int]) -> HiddenGraph:
    """One graph of all. The nodes of the next follow those of the last; their order is kept."""
    first = [sum(sizes[:index]) for index in range(len(sizes))]
    edges = [graph.edges + start for graph, start in zip(graphs, first, strict=True)]
    union = HiddenGraph(torch.cat(edges), sum(sizes)).to(graphs[0].weight)
    with torch.no_grad():
        union.weight.copy_(torch.cat([graph.weight for graph in graphs]))
        union.bias.copy_(torch.cat([graph.bias for graph in graphs]))
    return union


def _slots(counts: Sequence[int]) -> Tensor:
    """Where the rows of each member go in blocks of equal height. -> (sum(counts),) int64."""
    height = max(counts)
    blocks = [torch.arange(count) + height * index for index, count in enumerate(counts)]
    return torch.cat(blocks)
