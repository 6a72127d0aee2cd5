"""The processes that train one model together, and a batch that all of them see.

`torchrun --nproc-per-node 2 -m quire train …` starts them. A similarity graph is over the whole
batch, and so are triplets, so features are gathered before the head: every rank has every node,
computes the same logits and the same loss, and sends the gradient of its own features back into
its encoder. Anchors are shared out as the images of a batch are: none is embedded twice.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from quire.models.classifier import Classifier, NormalisedEncoder
from quire.models.cnn2graph import CNN2Graph, Joint
from quire.train.engine.options import best_device
from quire.train.engine.runs import Run, claim


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's number among all that train together, and the device that it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the run's files."""
        return self.rank == 0


@contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """Join the processes that torchrun started; a process by itself is rank 0 of 1.

    `device` is a GPU where there is one, unless it is named; each rank takes a GPU of its own.
    What they draw from torch's generators is nothing to the caller's later draws.
    """
    where = best_device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if where.type == "cuda" and where.index is None:
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    with torch.random.fork_rng([where] * (where.type == "cuda")):
        if size == 1:
            yield Ranks(0, 1, where)
            return
        dist.init_process_group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo")
        try:
            yield Ranks(dist.get_rank(), size, where)
        finally:
            dist.destroy_process_group()


@contextmanager
def claimed(folder: Path, run: Run, ranks: Ranks) -> Iterator[bool]:
    """Take a folder for all ranks, which go on together. Gives: is the run finished?

    Raises:
        RunError: see `quire.train.engine.runs.claim`.
    """
    with ExitStack() as held:
        finished = ranks.first and held.enter_context(claim(folder, run))
        # the others wait here until the folder is taken, and learn what the first one found
        yield bool(gathered(torch.tensor([int(finished)])).any())


def gathered(own: Tensor) -> Tensor:
    """The rows of all ranks in their order, with gradients to each rank's own.

    (b, …) on each rank, where b may differ -> (sum of b, …) on every rank. The loss of the result
    must be the same on every rank, and the parameters' gradients averaged over ranks, as
    DistributedDataParallel does: then they are those of one process with all the rows.
    """
    if not dist.is_initialized():
        return own
    rows: Tensor = _Gather.apply(own)
    return rows


class _Gather(torch.autograd.Function):
    """Padded to the longest rank's rows, as collectives want equal shapes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        sizes = torch.empty(dist.get_world_size(), dtype=torch.int64)
        dist.all_gather_into_tensor(sizes, torch.tensor([len(own)]))  # gloo: no wait for a GPU
        counts, most = sizes.tolist(), int(sizes.max())
        padded = F.pad(own, (0, 0) * (own.dim() - 1) + (0, most - len(own))).contiguous()
        everyone = own.new_empty(len(counts) * most, *own.shape[1:])
        dist.all_gather_into_tensor(everyone, padded)
        ctx.start, ctx.rows = sum(counts[: dist.get_rank()]), len(own)
        parts = zip(everyone.split(most), counts, strict=True)
        return torch.cat([part[:count] for part, count in parts])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The own rows' part, times the number of ranks, by which the average divides."""
        own = gradients[0].narrow(0, ctx.start, ctx.rows)
        return own * dist.get_world_size()


class WholeBatch(nn.Module):
    """Logits of the nodes of all ranks, from this rank's images. (b, …) -> (B, C)."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """(b, channels, H, W) -> (B, C), the same on every rank."""
        logits: Tensor = self.model.head(gathered(self.model.features(images)))
        return logits


class WholeViews(nn.Module):
    """Features and outputs of the nodes of all ranks, from views of this rank's images."""

    def __init__(self, model: NormalisedEncoder, head: nn.Module, views: int) -> None:
        """`head` makes an output of features: logits, or an embedding."""
        super().__init__()
        self.model = model
        self.head = head
        self.views = views

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(V b, channels, H, W), view after view -> (V, B, F), (V, B, C), equal on every rank."""
        own = self.model.features(images).chunk(self.views)
        features = torch.stack([gathered(view) for view in own])
        outputs = self.head(features.flatten(0, 1))
        return features, outputs.unflatten(0, features.shape[:2])


class WholeJoint(nn.Module):
    """All nodes of a step of CNN2Graph: images of all ranks, anchors and proxies, classified.

    This rank's images and its share of the anchors are embedded as one batch.
    """

    def __init__(self, model: CNN2Graph) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, anchors: Tensor) -> Joint:
        """(b, channels, H, W), (A, channels, H, W) -> the same on every rank.

        The images are this rank's, the anchors are all there are.
        """
        own = share(anchors)
        features = self.model.features(torch.cat([images, own]))
        parts = features.split([len(images), len(own)])
        return self.model.head.joint(*map(gathered, parts))


def share(everything: Tensor) -> Tensor:
    """This rank's part of rows that all ranks have; in rank order the parts are all of them.

    (N, …) -> (about N / ranks, …); none, where there are fewer rows than ranks.
    """
    if not dist.is_initialized():
        return everything
    return everything.tensor_split(dist.get_world_size())[dist.get_rank()]


def over_ranks(model: Classifier | CNN2Graph, ranks: Ranks) -> nn.Module:
    """The model as all ranks train it; its parameters stay those of `model`.

    What comes back takes what `WholeBatch` takes, or `WholeJoint`. On GPUs batch normalisation is
    over all ranks too. On CPUs torch has no such thing, and its statistics are those of what each
    rank embeds; rank 0's are kept.
    """
    whole = WholeJoint(model) if isinstance(model, CNN2Graph) else WholeBatch(model)
    return _normalised_together(whole, model, ranks)


def views_over_ranks(
    model: NormalisedEncoder, head: nn.Module, views: int, ranks: Ranks
) -> nn.Module:
    """The same of several views of each image; what comes back takes what `WholeViews` takes."""
    return _normalised_together(WholeViews(model, head, views), model, ranks)


def normalised_together(model: nn.Module, ranks: Ranks) -> nn.Module:
    """The model, whose batch normalisation on GPUs is over all ranks."""
    if ranks.size > 1 and ranks.device.type == "cuda":
        together: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return together
    return model


def average_gradients(model: nn.Module, ranks: Ranks) -> None:
    """Replace each parameter's gradient by its mean over all ranks.

    For models that see several batches in a step, which DistributedDataParallel is not made for.
    """
    if ranks.size == 1:
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    for gradient, mean in zip(
        gradients, (flat / ranks.size).split([g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def _normalised_together(whole: nn.Module, model: NormalisedEncoder, ranks: Ranks) -> nn.Module:
    model.encoder = normalised_together(model.encoder, ranks)
    return averaging(whole, ranks)


def averaging(module: nn.Module, ranks: Ranks) -> nn.Module:
    """A module whose gradients are averaged over all ranks; with one rank it is the same."""
    if ranks.size == 1:
        return module
    device = ranks.device
    return DistributedDataParallel(module, [device.index] if device.type == "cuda" else None)
