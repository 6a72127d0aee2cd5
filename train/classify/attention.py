"""What a trained CNN2Graph looks at, and where its images, anchors and proxies lie.

The matrices are those of Figures 5 and 6 of Trivedy & Latecki (2023): how much the images of a
class attend to the nodes of each class, on average.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from quire.artifacts.address import Location
from quire.artifacts.errors import RunError
from quire.loaders.stream import Stream
from quire.models.cnn2graph import CNN2Graph, CNN2GraphHead, Look
from quire.train.classify.anchors import anchors_of
from quire.train.classify.evaluate import Judge
from quire.train.classify.run import trained
from quire.train.engine.dataset_checks import check_same_kind
from quire.train.engine.options import Report, autocast, best_device, key
from quire.train.engine.subset import stream_of

_BATCH = 512  # images that are looked at once


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Nodes of one sort in the space of features; on the CPU."""

    embeddings: Tensor  # (N, F) float32
    labels: Tensor  # (N,) int64


@dataclass(frozen=True, slots=True)
class Separation:
    """How far proxies of different classes are from each other; NaN, where there is no such pair.

    If the least is nearly 0, two classes share a proxy. Directions are proxies of length 1, at most
    2 apart.
    """

    mean: float
    least: float
    mean_of_directions: float
    least_of_directions: float


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What a run makes of a bundle; on the CPU.

    The matrices have a row for each class of images and a column for each class of nodes. Rows sum
    to 1; they are NaN for a class without images, and everywhere if the head has no attention.
    """

    proxy_attention: Tensor  # (C, C) float64
    anchor_attention: Tensor  # (C, C) float64
    proxy_hits: float  # share of images that attend most to the proxies of their own class
    anchor_hits: float  # and to the anchors; NaN without attention
    images: Points  # some of the bundle's
    anchors: Points
    proxies: Points

    @property
    def separation(self) -> Separation:
        """How far apart the proxies are."""
        return separation(self.proxies.embeddings, self.proxies.labels)


def analyse(
    folder: Path,
    data: str,
    *,
    anchors: str | None = None,
    images: int | None = None,
    sample: int = 1_000,
    seed: int = 0,
    device: str | None = None,
    report: Report | None = None,
) -> Analysis:
    """Look with a finished run at the images of a bundle.

    Args:
        folder: the run's.
        data: the bundle: a folder, or an address.
        anchors: the bundle of anchors that the run had; default: where it was then.
        images: look at so many, chosen at random once and for all; default: all.
        sample: embeddings of so many images are kept, chosen at random, in the bundle's order.
        seed: chooses them.
        device: a GPU where there is one, unless it is named.
        report: called with the images that are done, and their number.

    Raises:
        RunError: the run is not finished, has no anchors, or they are not those; or the bundle has
            other classes or channels.
        BundleError: a bundle is damaged.
    """
    data = Location(data)
    run, config, model = trained(folder)
    if not isinstance(model, CNN2Graph):
        raise RunError(f"{folder} has a {config.head} head, which attends to nothing")
    where = best_device(device)
    known = anchors_of(run, anchors, where)
    judge = Judge(model, config.precision, where, known.images)
    batches = stream_of(data, images, batch_size=_BATCH, device=where)
    check_same_kind(run, batches, data)
    kept = np.random.default_rng(key(seed, "sample")).permutation(batches.rows)[:sample]
    points, proxies, anchored = _looked(judge, model.head, known.labels, batches, kept, report)
    return Analysis(
        proxy_attention=proxies.mean,
        anchor_attention=anchored.mean,
        proxy_hits=proxies.hits,
        anchor_hits=anchored.hits,
        images=points,
        anchors=Points(judge.embedded(known.images).float().cpu(), known.labels.cpu()),
        proxies=Points(model.head.proxies.detach().float().cpu(), model.head.proxy_labels.cpu()),
    )


@dataclass(frozen=True, slots=True)
class _Attended:
    """How images attend to nodes of one sort."""

    mean: Tensor  # (C, C) float64, of the images of each class
    hits: float  # share of images


def _looked(
    judge: Judge,
    head: CNN2GraphHead,
    anchor_labels: Tensor,
    batches: Stream,
    kept: Any,
    report: Report | None,
) -> tuple[Points, _Attended, _Attended]:
    """Embeddings of the rows that are kept, and attention to proxies and to anchors."""
    classes = head.final.out_features
    counts = torch.zeros(classes, dtype=torch.float64)
    sums = [torch.zeros(classes, classes, dtype=torch.float64) for _ in range(2)]
    hits = [0.0, 0.0]
    embeddings, labels = [], []
    for batch in batches:
        look, own = _look(judge, head, batch["image"]), batch["label"]
        sides = (look.proxy_attention, head.proxy_labels), (look.anchor_attention, anchor_labels)
        for side, (weights, of_nodes) in enumerate(sides):
            attended = attention_to_classes(weights, of_nodes, classes=classes)
            sums[side].index_add_(0, own.cpu(), attended.cpu())
            most = (attended.argmax(dim=1) == own).double()
            hits[side] += float(most.where(~attended.isnan().any(dim=1), torch.nan).sum())
        counts += torch.bincount(own, minlength=classes).cpu()
        chosen = torch.from_numpy(np.isin(batch["row"].cpu().numpy(), kept))
        embeddings.append(look.embeddings.float().cpu()[chosen])
        labels.append(own.cpu()[chosen])
        if report:
            report(int(counts.sum()), len(batches.rows))
    points = Points(torch.cat(embeddings), torch.cat(labels))
    count = float(counts.sum())
    proxies, anchors = (
        _Attended(total / counts[:, None], hit / count)
        for total, hit in zip(sums, hits, strict=True)
    )
    return points, proxies, anchors


def _look(judge: Judge, head: CNN2GraphHead, images: Tensor) -> Look:
    assert judge.proxy_set is not None
    with torch.inference_mode(), autocast(judge.precision, judge.device):
        return head.look(judge.features(images), judge.proxy_set)


def attention_to_classes(weights: Tensor, of_nodes: Tensor, *, classes: int) -> Tensor:
    """Attention of each image to all nodes of each class, averaged over heads.

    (B, heads, M), (M,) int64 -> (B, C) float64, rows that sum to 1; NaN without heads.
    """
    return weights.mean(dim=1, dtype=torch.float64) @ F.one_hot(of_nodes, classes).double()


def separation(proxies: Tensor, labels: Tensor) -> Separation:
    """How far proxies of different classes are apart. (P, F), (P,) int64 -> …

    >>> separation(torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([0, 1])).least
    5.0
    """
    proxies = proxies.double()
    first, second = torch.triu_indices(len(labels), len(labels), 1, device=labels.device)
    apart = labels[first] != labels[second]
    first, second = first[apart], second[apart]
    found = []
    for points in (proxies, F.normalize(proxies, dim=1)):
        distances = torch.linalg.vector_norm(points[first] - points[second], dim=1)
        least = distances.min().item() if len(distances) else float("nan")
        found += [distances.mean().item(), least]
    return Separation(*found)
