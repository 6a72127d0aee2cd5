"""What a step of training minimises: a loss of the whole batch, by the kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from quire.models.batch_losses import (
    affinity_loss,
    mean_discrepancy,
    mutual_distillation,
    supervised_contrastive,
)
from quire.models.cnn2graph import CNN2Graph
from quire.models.cnn2graph_losses import Term, losses, total
from quire.train.classify.anchors import Anchors, AnchorViews
from quire.train.classify.baselines import AffinityConfig, DistillationConfig, SupConConfig
from quire.train.classify.run import Classify, Model
from quire.train.engine.ranks import Ranks, over_ranks, views_over_ranks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch: of all ranks together, and the same on each."""

    loss: Tensor  # (), to be minimised
    logits: Tensor | None  # (B, C) of the images, where there are any
    terms: Mapping[str, Tensor] = field(default_factory=dict)  # (), what the loss is made of


# This rank's images (V b, channels, H, W) in [0, 1], all labels (B,), and the epoch, from 0; of V
# views of each image (`views_of`) the second of all comes after the first of all.
Objective: TypeAlias = Callable[[Tensor, Tensor, int], Outcome]


def objective_of(
    config: Classify, model: Model, ranks: Ranks, anchors: Anchors | None
) -> Objective:
    """What a run minimises."""
    if isinstance(model, CNN2Graph):
        assert anchors is not None  # `with_anchors` saw to it
        return ProxyLosses(over_ranks(model, ranks), model, anchors, config)
    if config.objective == "affinity":
        return AffinitySupervision(views_over_ranks(model, model.head, 1, ranks), config.affinity)
    if config.objective == "ddgsd":
        return SelfDistillation(views_over_ranks(model, model.head, 2, ranks), config.ddgsd)
    return CrossEntropy(over_ranks(model, ranks))


def views_of(config: Classify) -> int:
    """How many views of each image the objective of a run sees in a step."""
    return 2 if config.objective in ("supcon", "ddgsd") else 1


class CrossEntropy:
    """The mean cross-entropy of all images."""

    def __init__(self, together: nn.Module) -> None:
        """`together` is a `quire.train.engine.ranks.WholeBatch`, or what wraps one."""
        self.together = together

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> Outcome:
        """See `Objective`."""
        logits = self.together(images)
        return Outcome(F.cross_entropy(logits.float(), labels), logits)


class SupervisedContrast:
    """Supervised contrastive learning of embeddings: see `SupConConfig`."""

    def __init__(self, together: nn.Module, config: SupConConfig) -> None:
        """`together` gives embeddings of two views, as `WholeViews` does."""
        self.together = together
        self.config = config

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> Outcome:
        """See `Objective`; images are (2 b, channels, H, W), view after view."""
        _, embeddings = self.together(images)
        temperature = self.config.temperature
        return Outcome(supervised_contrastive(embeddings, labels, temperature=temperature), None)


class AffinitySupervision:
    """Cross-entropy, and affinity of features within classes: see `AffinityConfig`."""

    def __init__(self, together: nn.Module, config: AffinityConfig) -> None:
        """`together` gives features and logits of one view, as `WholeViews` does."""
        self.together = together
        self.config = config

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> Outcome:
        """See `Objective`."""
        features, logits = (of_views.squeeze(0) for of_views in self.together(images))
        entropy = F.cross_entropy(logits.float(), labels)
        affinity = affinity_loss(features, labels, gamma=self.config.gamma)
        terms = {"cross_entropy": entropy.detach(), "affinity": affinity.detach()}
        return Outcome(entropy + self.config.weight * affinity, logits, terms)


class SelfDistillation:
    """Cross-entropy of two views, and what is between them: see `DistillationConfig`."""

    def __init__(self, together: nn.Module, config: DistillationConfig) -> None:
        """`together` gives features and logits of two views, as `WholeViews` does."""
        self.together = together
        self.config = config

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> Outcome:
        """See `Objective`; images are (2 b, channels, H, W), view after view."""
        features, logits = self.together(images)
        entropy = F.cross_entropy(logits.flatten(0, 1).float(), labels.repeat(2))
        divergence = mutual_distillation(*logits, temperature=self.config.temperature)
        discrepancy = mean_discrepancy(*features)
        loss = entropy + self.config.weight * divergence + self.config.discrepancy * discrepancy
        terms = {
            "cross_entropy": entropy.detach(),
            "divergence": divergence.detach(),
            "discrepancy": discrepancy.detach(),
        }
        return Outcome(loss, logits[0], terms)


class ProxyLosses:
    """The seven losses of CNN2Graph, over images, anchors and proxies."""

    def __init__(
        self, together: nn.Module, model: CNN2Graph, anchors: Anchors, config: Classify
    ) -> None:
        """`together` is a `quire.train.engine.ranks.WholeJoint` of the model, or what wraps one."""
        self.together = together
        self.proxy_labels = model.head.proxy_labels
        self.anchor_labels = anchors.labels
        self.views = AnchorViews(anchors, config)
        self.config = config

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> Outcome:
        """See `Objective`."""
        joint = self.together(images, self.views.of(epoch))
        terms = losses(joint, labels, self.anchor_labels, self.proxy_labels, self.config.losses)
        loss = total(terms, self.config.loss_weights)
        return Outcome(loss, joint.images.logits, numbers(terms))


def numbers(terms: Mapping[str, Term]) -> dict[str, Tensor]:
    """What there is to say of each term: its value; for triplets and pairs how many there were.

    `at_valid` are all of at, and `at_active` those that added to it. Each is (), where it was.
    """
    found = {}
    for name, term in terms.items():
        found[name] = term.value.detach()
        if not name.startswith("ce_"):
            found |= {f"{name}_valid": term.valid, f"{name}_active": term.active}
    return found
