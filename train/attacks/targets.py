"""What is attacked: M models at once, each with images of its own.

A pair is a model and an image. Attacks are done with some pairs sooner than with others, so they
keep a list of pairs that are left, and `logits_of` makes of it blocks that the models can take.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn


class Models(Protocol):
    """M models; where they are a module, they are attacked as they are when they evaluate."""

    def __len__(self) -> int:
        """M."""

    def __call__(self, images: Tensor, /) -> Tensor:
        """Logits. (M, B, ...) -> (M, B, C); no image sees another."""


Replaced: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


@runtime_checkable
class Replaceable(Models, Protocol):
    """Models that need not see the whole of an image of which few values are replaced."""

    def replacing(self, images: Tensor, /) -> Replaced:
        """Of B flat images: a function that takes n images for each model, (M, n) int64 of [0, B),
        which of their values are replaced (M, n, c) int64, and by what (M, n, c).

        It returns logits (M, n, C).
        """


Moved: TypeAlias = Callable[[Tensor, float], Tensor]


@runtime_checkable
class Movable(Models, Protocol):
    """Models that need not see images anew for every step along a direction."""

    def moving(self, images: Tensor, directions: Tensor, /) -> Moved:
        """Of B flat images and directions (M, B, D): a function that takes n images for each model,
        (M, n) int64 of [0, B), and how many directions each is moved by.

        It returns logits (M, n, C).
        """


class Alone(nn.Module):
    """One model as a set of one.

    Shape: ``(1, B, ...) -> (1, B, C)``, where the model is ``(B, ...) -> (B, C)``.

    >>> models = Alone(nn.Flatten())
    >>> len(models), models(torch.zeros(1, 5, 3, 2, 2)).shape
    (1, torch.Size([1, 5, 12]))
    """

    def __init__(self, model: nn.Module) -> None:
        """The model is not copied."""
        super().__init__()
        self.model = model

    def __len__(self) -> int:
        """1."""
        return 1

    def forward(self, images: Tensor) -> Tensor:
        """(1, B, ...) -> (1, B, C)."""
        logits: Tensor = self.model(images.squeeze(0))
        return logits.unsqueeze(0)


@contextmanager
def evaluating(models: Models) -> Iterator[None]:
    """Models in evaluation mode, whose parameters ask for no gradient; then as they were."""
    module = models if isinstance(models, nn.Module) else nn.Module()
    modes = [(part, part.training) for part in module.modules()]
    wishes = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        module.eval().requires_grad_(False)
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, wanted in wishes:
            parameter.requires_grad_(wanted)


def is_right(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the label's logit is the largest, the first of equals; NaN is never right.

    (..., C), (...) int64 -> (...) bool.

    >>> is_right(torch.tensor([[1.0, 3, 2], [2, 2, 0], [0, float("nan"), 1]]), torch.tensor(1))
    tensor([ True, False, False])
    """
    return (logits.argmax(-1) == labels) & ~logits.isnan().any(-1)


def log_odds(logits: Tensor, labels: Tensor) -> Tensor:
    r"""$\log((1 - p) / p)$, where $p$ is the probability of the label. (..., C), (...) -> (...).

    It grows with $1 - p$ and with the cross-entropy $-\log p$, so whoever makes one of them as
    large as possible does so with all, and the signs of their gradients are the same. But a
    float32 close to 1 has few digits: $1 - p$ is 0 for an image of which a network is sure, and
    the gradient of the cross-entropy is then that of rounding errors. This has all its digits.

    >>> log_odds(torch.tensor([7.0, 7.0]), torch.tensor(1))
    tensor(0.)
    """
    index = labels.expand(logits.shape[:-1]).unsqueeze(-1)
    others = logits.scatter(-1, index, -torch.inf).logsumexp(-1)
    return others - logits.gather(-1, index).squeeze(-1)


def confidence(logits: Tensor) -> Tensor:
    """The probability of the class that is most probable. (..., C) -> (...)."""
    return logits.softmax(-1).amax(-1)


def logits_of(
    models: Models, member: Tensor, inputs: Callable[[Tensor], Tensor], *, chunk: int
) -> Tensor:
    """Logits of K inputs, each those of one model. -> (K, C).

    `member` (K,) int64 in [0, M) says whose each is, K > 0; `inputs` makes those whose numbers it
    gets, (M, n) int64 in [0, K) -> (M, n, ...). At most max(`chunk`, M) are made at once. A model
    with fewer inputs than others gets some that are not its own, whose logits are thrown away.
    """
    return answered(len(models), member, lambda which: models(inputs(which)), chunk=chunk)


def answered(
    models: int, member: Tensor, answer: Callable[[Tensor], Tensor], *, chunk: int
) -> Tensor:
    """The same of M models that need not be shown inputs: `answer` makes logits of their numbers.

    (K,) int64 of [0, M); (M, n) int64 of [0, K) -> (M, n, C). -> (K, C).
    """
    order = member.argsort(stable=True)
    counts = member.bincount(minlength=models)
    first = counts.cumsum(0) - counts
    slot = torch.empty_like(member)
    slot[order] = torch.arange(len(member), device=member.device) - first[member[order]]
    table = member.new_zeros(models, int(counts.max()))
    table[member, slot] = torch.arange(len(member), device=member.device)
    blocks = table.split(max(1, chunk // models), dim=1)
    return torch.cat([answer(block) for block in blocks], dim=1)[member, slot]
