"""What a step of training minimises: a loss of the whole batch, by the kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from quire.models.cnn2graph import CNN2Graph
from quire.models.cnn2graph_losses import Term, losses, total
from quire.train.classify.anchors import Anchors, AnchorViews
from quire.train.classify.run import Classify, Model
from quire.train.engine.ranks import Ranks, over_ranks


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a batch: of all ranks together, and the same on each."""

    loss: Tensor  # (), to be minimised
    logits: Tensor  # (B, C) of the images
    terms: Mapping[str, Tensor] = field(default_factory=dict)  # (), what the loss is made of


# This rank's images (b, channels, H, W) in [0, 1], all labels (B,), and the epoch, from 0.
Objective: TypeAlias = Callable[[Tensor, Tensor, int], Outcome]


def objective_of(
    config: Classify, model: Model, ranks: Ranks, anchors: Anchors | None
) -> Objective:
    """What a run minimises."""
    together = over_ranks(model, ranks)
    if not isinstance(model, CNN2Graph):
        return CrossEntropy(together)
    assert anchors is not None  # `with_anchors` saw to it
    return ProxyLosses(together, model, anchors, config)


class CrossEntropy:
    """The mean cross-entropy of all images."""

    def __init__(self, together: nn.Module) -> None:
        """`together` is a `quire.train.engine.ranks.WholeBatch`, or what wraps one."""
        self.together = together

    def __call__(self, images: Tensor, labels: Tensor, epoch: int) -> Outcome:
        """See `Objective`."""
        logits = self.together(images)
        return Outcome(F.cross_entropy(logits.float(), labels), logits)


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
