r"""A universal perturbation of a classifier, put together of what fools single images.

Moosavi-Dezfooli et al. 2017 (Universal adversarial perturbations), algorithm 1: image after image
that the perturbation does not fool yet is brought across its nearest boundary by DeepFool; what
that takes is added, and the sum kept within $\|v\|_\infty \le \xi$. Passes over the images go on
until the perturbation fools a share of $1 - \delta$ of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from quire.artifacts.errors import RunError
from quire.artifacts.fields import check_at_least
from quire.train.attacks.deepfool import DeepFool, Logits, deepfool

Rate: TypeAlias = Callable[[Tensor], float]  # the share of images that a perturbation fools


@dataclass(frozen=True, kw_only=True)
class Universal:
    """How a perturbation is put together; the defaults are the authors'."""

    xi: float = 10.0
    """Bound of every value, in grey levels."""
    delta: float = 0.2
    """It is good enough when all but this share of the images is fooled."""
    passes: int = 10
    """Passes over the images, at most. The authors have no limit."""
    deepfool: DeepFool = field(default_factory=DeepFool)

    def __post_init__(self) -> None:
        """Refuse what is wrong.

        Raises:
            RunError: a field is out of range.
        """
        check_at_least(1, self, "passes", error=RunError)
        if not (0 < self.xi <= 255 and 0 <= self.delta < 1):
            raise RunError(
                f"xi is {self.xi}, delta is {self.delta}: xi must be above 0 and up to 255, delta"
                " from 0 and below 1"
            )


class Gathering(nn.Module):
    """A perturbation on its way: what it is by now, and how many passes are done.

    Its `state_dict` and `rest` are all of it, so it goes on from them to the same bits.
    """

    delta: Tensor

    def __init__(self, shape: tuple[int, ...], how: Universal) -> None:
        """It begins with nothing."""
        super().__init__()
        self.how = how
        self.register_buffer("delta", torch.zeros(shape))
        self.passes = 0
        self.rate = 0.0  # at the end of the last pass

    @property
    def is_over(self) -> bool:
        """Whether it is good enough, or may not go on."""
        return self.rate >= 1 - self.how.delta or self.passes >= self.how.passes

    def update(self, logits_of: Logits, image: Tensor) -> None:
        """Let it fool an image too. (C, H, W) float, in grey levels."""
        moved = image + self.delta
        with torch.no_grad():
            before, after = logits_of(torch.stack([image, moved])).argmax(dim=1).tolist()
        if before != after:
            return
        step = deepfool(logits_of, moved, self.how.deepfool)
        if step is not None:
            self.delta.add_(step).clamp_(-self.how.xi, self.how.xi)

    def pass_ends(self, rate: Rate) -> None:
        """See how many images are fooled by now."""
        self.passes += 1
        self.rate = rate(self.delta)

    def rest(self) -> dict[str, Any]:
        """What a checkpoint needs besides `state_dict`."""
        return {"passes": self.passes, "rate": self.rate}

    def load_rest(self, rest: dict[str, Any]) -> None:
        """Go on there."""
        self.passes, self.rate = rest["passes"], rest["rate"]
