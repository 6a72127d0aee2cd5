import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quire.train.attacks.targets import Alone, confidence, evaluating, is_right, log_odds, logits_of
from tests.train.attacks.small import linear, moody, pictures


@settings(max_examples=60)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 20))
def test_each_input_gets_the_logits_of_its_own_model(member: list[int], chunk: int) -> None:
    models = linear(4, 6, 3, seed=0)
    images = pictures(len(member), 2, 3)
    made: list[Tensor] = []

    def inputs(which: Tensor) -> Tensor:
        made.append(which)
        return images[which]

    found = logits_of(models, torch.tensor(member), inputs, chunk=chunk)
    for index, one in enumerate(member):
        expected = images[index].flatten() @ models.weight[one] + models.bias[one]
        assert torch.equal(found[index], expected)
    assert models.largest <= max(chunk, 4)
    assert models.seen == sum(which.numel() for which in made)
    assert models.seen == 4 * max(member.count(one) for one in range(4))


def test_one_model_is_a_set_of_one() -> None:
    model = nn.Conv2d(3, 5, 2)
    images = torch.rand(4, 3, 2, 2)
    found = Alone(nn.Sequential(model, nn.Flatten()))(images.unsqueeze(0))
    torch.testing.assert_close(found, model(images).flatten(1).unsqueeze(0))


def test_what_is_right() -> None:
    logits = torch.tensor([[[0.0, 2, 1], [2, 2, 0]], [[0, math.inf, 1], [math.nan, 5, 0]]])
    assert is_right(logits, torch.tensor([1, 0])).tolist() == [[True, True], [True, False]]
    assert is_right(logits, torch.tensor([2, 1])).tolist() == [[False, False], [False, False]]


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=5), st.data())
def test_log_odds_are_those_of_the_label(numbers: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(numbers) - 1))
    logits = torch.tensor([[numbers]], dtype=torch.float64)
    p = logits.softmax(-1)[0, 0, label]
    expected = torch.log((1 - p) / p)
    torch.testing.assert_close(
        log_odds(logits, torch.tensor([label]))[0, 0], expected, atol=1e-9, rtol=1e-9
    )
    assert math.isclose(confidence(logits)[0, 0].item(), logits.softmax(-1).max().item())


def test_log_odds_have_the_gradient_that_the_cross_entropy_should_have() -> None:
    # With 20 nats between the label and the rest, the probability of the label is 1 in float32.
    weight = torch.randn(40, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10)

    def sign(dtype: torch.dtype, *, odds: bool) -> Tensor:
        images = torch.zeros(10, 40, dtype=dtype, requires_grad=True)
        logits = images @ weight.to(dtype) + 20 * torch.eye(10, dtype=dtype)
        loss = log_odds(logits, labels) if odds else F.cross_entropy(logits, labels)
        return torch.autograd.grad(loss.sum(), images)[0].sign().float()

    exact = sign(torch.float64, odds=False)
    assert torch.equal(sign(torch.float32, odds=True), exact)
    assert (sign(torch.float32, odds=False) != exact).float().mean() > 0.1


def test_models_are_left_as_they_were() -> None:
    models = moody()
    modes = [part.training for part in models.modules()]
    wishes = [parameter.requires_grad for parameter in models.parameters()]
    assert len(set(modes)) == len(set(wishes)) == 2
    with pytest.raises(KeyError), evaluating(models):
        assert not any(part.training for part in models.modules())
        assert not any(parameter.requires_grad for parameter in models.parameters())
        raise KeyError
    assert [part.training for part in models.modules()] == modes
    assert [parameter.requires_grad for parameter in models.parameters()] == wishes
