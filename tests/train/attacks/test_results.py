import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from quire.train.attacks.results import Outcome

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 64)), max_size=20)


@given(PAIRS, st.integers(0, 20))
def test_batches_add_up_to_what_is_counted_by_hand(
    pairs: list[tuple[bool, bool, int]], cut: int
) -> None:
    def count(part: list[tuple[bool, bool, int]]) -> Outcome:
        right = torch.tensor([[one for one, _, _ in part]] * 2, dtype=torch.bool)
        fooled = torch.tensor([[one and two for one, two, _ in part]] * 2, dtype=torch.bool)
        amount = torch.tensor([[amount / 64 for _, _, amount in part]] * 2, dtype=torch.float32)
        return Outcome.of(right, fooled, amount.where(fooled, math.nan))

    whole = count(pairs[:cut]) + count(pairs[cut:])
    correct = [two for one, two, _ in pairs if one]
    amounts = [amount / 64 for one, two, amount in pairs if one and two]
    assert whole.correct.tolist() == [len(correct)] * 2
    assert whole.fooled.tolist() == [len(amounts)] * 2
    assert whole.withstood.tolist() == [len(correct) - len(amounts)] * 2
    rate, mean = whole.error_rate[0].item(), whole.mean[1].item()
    assert rate == sum(correct) / len(correct) if correct else math.isnan(rate)
    assert mean == sum(amounts) / len(amounts) if amounts else math.isnan(mean)
