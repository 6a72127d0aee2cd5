"""Steps of models that each of two processes takes on its share of a batch."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.models.classifier import Classifier
from quire.models.cnn2graph import CNN2Graph, CNN2GraphConfig, CNN2GraphHead
from quire.models.cnn2graph_losses import losses, total
from quire.models.contrastive import Contrastive
from quire.models.similarity_graph import GraphConfig, LinearHead, SimilarityGraphHead
from quire.train.classify.baselines import SupConConfig
from quire.train.classify.objectives import Objective, SupervisedContrast, objective_of
from quire.train.classify.run import Classify
from quire.train.engine.ranks import Ranks, gathered, joined, over_ranks, views_over_ranks
from quire.train.engine.runs import Run
from quire.train.gan.run import build_pair
from quire.train.gan.steps import Adams
from quire.train.gan.steps import Training as GanTraining
from tests.train.gan.small import KINDS as GAN_KINDS

HEADS = {
    "linear": None,
    "mbsg": GraphConfig(k=3, width=6, combine="sum"),
    "attention": GraphConfig(k=4, width=6, layers=2, combine="concat", attention=True),
    "all-others": GraphConfig(k=99, width=6, combine="concat"),
}
SHARES = {"equal": (5, 5), "unequal": (6, 3), "one-alone": (1, 7)}
KINDS = {
    "gnn": CNN2GraphConfig(kind="gnn", heads=2),
    "transformer": CNN2GraphConfig(heads=4, proxies=2, own=False),
    "dropout": CNN2GraphConfig(heads=1, dropout=0.5),
    "mean": CNN2GraphConfig(kind="mean", degree=9),
    "max": CNN2GraphConfig(kind="max"),
}
GANS = GAN_KINDS
RIVALS = ("supcon", "affinity", "ddgsd")
ANCHORS = (1, 4, 7)  # one: a rank has none of its own


def small_model(config: GraphConfig | None) -> Classifier:
    """In float64, without batch normalisation, whose statistics are each rank's own on a CPU."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh())
    head = LinearHead(8, 4) if config is None else SimilarityGraphHead(8, 4, config)
    return Classifier(encoder, head, mean=[0.5], std=[0.25]).double()


def whole_batch(size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(size, 3, 2, 2, dtype=torch.float64, generator=generator)
    return images, torch.randint(4, (size,), generator=generator)


def small_comparer(config: CNN2GraphConfig) -> CNN2Graph:
    """As above; images are compared with anchors and proxies."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh())
    return CNN2Graph(encoder, CNN2GraphHead(8, 4, config), mean=[0.5], std=[0.25]).double()


def anchors_of(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(count, 3, 2, 2, dtype=torch.float64, generator=generator)
    return images, torch.arange(count) % 4


def compared(
    model: CNN2Graph, together: nn.Module, images: Tensor, labels: Tensor, count: int
) -> dict[str, Tensor]:
    """The loss of a step with so many anchors, and the gradients."""
    anchors, of_anchors = anchors_of(count)
    torch.manual_seed(3)  # for what the attention drops
    joint = together(images, anchors)
    loss = total(losses(joint, labels, of_anchors, model.head.proxy_labels))
    loss.backward()
    return {"loss": loss.detach(), "logits": joint.images.logits.detach(), **gradients(model)}


def rivalled(name: str, ranks: Ranks, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """The loss of a step of one of the rivals on two views of this rank's images; gradients."""
    model = small_model(None)
    objective: Objective
    if name == "supcon":
        model.head.requires_grad_(False)
        contrastive = Contrastive(model, 5).double()
        together = views_over_ranks(model, contrastive.projection, 2, ranks)
        objective = SupervisedContrast(together, SupConConfig())
        learned: nn.Module = contrastive
    else:
        config: Any = Classify(head="linear", objective=name)  # type: ignore[arg-type]
        objective, learned = objective_of(config, model, ranks, None), model
    views = images if name == "affinity" else torch.cat([images, images.flip(3)])
    loss = objective(views, gathered(labels), 0).loss
    loss.backward()
    return {"loss": loss.detach(), **gradients(learned)}


def improved(kind: str, ranks: Ranks) -> dict[str, Tensor]:
    """The losses of a step of a GAN on this rank's half of eight images, and the gradients.

    In evaluation mode, for on CPUs batch normalisation is over what each rank has.
    """
    config = replace(GANS[kind], size=32)
    run = Run(method="gan", config={}, bundle="", classes=(), channels=1, data="")
    torch.manual_seed(0)
    pair = build_pair(config, run).eval()
    rounds: Any = None
    training = GanTraining(config, pair, Adams(config, pair), rounds, ranks, lambda step: {})
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (8, 1, 32, 32), generator=generator, dtype=torch.uint8)
    own = images.tensor_split(ranks.size)[ranks.rank]
    step = training.update({"image": own, "row": torch.arange(len(own))})
    return {"loss": step.loss, **gradients(pair)}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def as_rank(out: Path) -> None:
    """What each of two processes does: every head on every share, gradients to a file."""
    found = {}
    with joined("cpu") as ranks:
        for head, config in HEADS.items():
            for share, sizes in SHARES.items():
                images, labels = whole_batch(sum(sizes))
                own = slice(sum(sizes[: ranks.rank]), sum(sizes[: ranks.rank + 1]))
                model = small_model(config)
                together = over_ranks(model, ranks)  # kept: its hooks average the gradients
                loss = F.cross_entropy(together(images[own]), gathered(labels[own]))
                loss.backward()
                found[f"{head} {share}"] = {"loss": loss.detach(), **gradients(model)}
        for kind, comparing in KINDS.items():
            for share, sizes in SHARES.items():
                images, labels = whole_batch(sum(sizes))
                own = slice(sum(sizes[: ranks.rank]), sum(sizes[: ranks.rank + 1]))
                for count in ANCHORS:
                    comparer = small_comparer(comparing)
                    together = over_ranks(comparer, ranks)
                    found[f"{kind} {share} {count}"] = compared(
                        comparer, together, images[own], gathered(labels[own]), count
                    )
        for rival in RIVALS:
            for share, sizes in SHARES.items():
                images, labels = whole_batch(sum(sizes))
                own = slice(sum(sizes[: ranks.rank]), sum(sizes[: ranks.rank + 1]))
                found[f"{rival} {share}"] = rivalled(rival, ranks, images[own], labels[own])
        for kind in GANS:
            found[f"gan {kind}"] = improved(kind, ranks)
    torch.save(found, out / f"{ranks.rank}.pt")


if __name__ == "__main__":
    as_rank(Path(sys.argv[1]))
