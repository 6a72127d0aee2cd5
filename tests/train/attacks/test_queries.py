"""What attacks without gradients ask: calls of one shape, and answers that are numbers."""

import pytest
import torch
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.train.attacks.queries import Found, answers, check_independent, look


def flat(images: Tensor) -> Tensor:
    return images.flatten(1)


@pytest.mark.parametrize("count", [1, 4, 5, 8])
def test_every_call_has_as_many_rows(count: int) -> None:
    seen = []

    def model(images: Tensor) -> Tensor:
        seen.append(len(images))
        return flat(images)

    images = torch.rand(count, 1, 2, 2)
    assert torch.equal(answers(model, images, at_once=4), flat(images))
    assert set(seen) == {4} and len(seen) == -(-count // 4)


def test_nan_is_no_answer() -> None:
    images = torch.rand(3, 1, 2, 2)
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(RunError, match="answers an image with NaN"):
        look(flat, images, torch.zeros(3, dtype=torch.int64), at_once=2)


def test_a_model_that_looks_at_its_batch_is_refused() -> None:
    images = torch.rand(5, 1, 2, 2)
    check_independent(flat, images, at_once=4)
    check_independent(flat, images[:1], at_once=4)
    with pytest.raises(RunError, match="depends on the images beside it"):
        check_independent(lambda x: flat(x) - flat(x).mean(0), images, at_once=4)


def test_how_far_images_went() -> None:
    before = torch.zeros(2, 1, 1, 2)
    after = torch.tensor([[[[0.3, -0.4]]], [[[0.0, 0.0]]]])
    yes, count = torch.ones(2).bool(), torch.ones(2).long()
    found = Found.of(yes, yes, count, after, before)
    torch.testing.assert_close(found.l2, torch.tensor([0.5, 0]))
    torch.testing.assert_close(found.linf, torch.tensor([0.4, 0]))
