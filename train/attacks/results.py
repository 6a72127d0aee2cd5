"""How robust models are, in the measures of Ben Amor, Stier & Granitzer."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Outcome:
    """Counts over images, (M,) each, one for every model. Those of batches add up.

    Measures of nothing are NaN: the counts say so.

    >>> right, fooled = Tensor([[1, 1, 0]]).bool(), Tensor([[1, 0, 0]]).bool()
    >>> batch = Outcome.of(right, fooled, Tensor([[0.5, 0.9, 0.9]]))
    >>> both = batch + batch
    >>> both.error_rate.item(), both.mean.item(), both.withstood.item()
    (0.5, 0.5, 2)
    """

    correct: Tensor
    """Images that are classified correctly before the attack, int64."""
    fooled: Tensor
    """Images among these that are not after it, int64."""
    total: Tensor
    """An amount, such as a confidence or an epsilon, added up over the fooled, float64."""

    @classmethod
    def of(cls, correct: Tensor, fooled: Tensor, amount: Tensor) -> Self:
        """Count a batch. (M, B) bool, (M, B) bool, (M, B) float.

        What is fooled was correct; amounts of what is not fooled may be anything, NaN too.
        """
        total = amount.double().where(fooled, 0).sum(1)
        return cls(correct.sum(1), fooled.sum(1), total)

    def __add__(self, other: Self) -> Self:
        """The counts of both, which are of the same models and of different images."""
        return type(self)(
            self.correct + other.correct, self.fooled + other.fooled, self.total + other.total
        )

    @property
    def error_rate(self) -> Tensor:
        """Eq. 4: how many of what was correct are not any more, in [0, 1]. -> (M,) float64."""
        return self.fooled.double() / self.correct

    @property
    def mean(self) -> Tensor:
        """The mean amount of the fooled: Eq. 5 of confidences, Eq. 6 of epsilons. -> (M,)."""
        return self.total / self.fooled

    @property
    def withstood(self) -> Tensor:
        """How many are correct, whatever the attack did. -> (M,) int64."""
        return self.correct - self.fooled
