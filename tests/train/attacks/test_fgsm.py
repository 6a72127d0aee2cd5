import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.train.attacks.epsilon import smallest_epsilons
from quire.train.attacks.fgsm import fgsm, gradient_sign
from quire.train.attacks.targets import Alone
from tests.train.attacks.small import Linear, linear, moody, often, pictures, sparse


def slow(network: nn.Module, image: Tensor, label: Tensor, epsilon: float) -> tuple[bool, Tensor]:
    """Whether it was right, and the image after, as the paper says it."""
    own = image.clone().requires_grad_()
    logits = network(own.unsqueeze(0))
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, label[None]), own)
    return bool(logits.argmax() == label), image + epsilon * gradient.sign()


def test_many_models_are_attacked_as_each_of_them_alone() -> None:
    models, images = sparse(), pictures(30, 12)
    labels = often(models, images)
    found = fgsm(models, images, labels)
    assert found.images.shape == (3, 30, 12)
    assert (0 < found.fooled.sum(1)).all() and (found.fooled.sum(1) < found.correct.sum(1)).all()
    for index in range(3):
        network = models.member(index)
        for row in range(30):
            right, after = slow(network, images[row], labels[row], 0.1)
            torch.testing.assert_close(found.images[index, row], after)
            p = network(after.unsqueeze(0))[0].softmax(0)
            assert found.correct[index, row] == right
            assert found.fooled[index, row] == (right and p.argmax() != labels[row])
            torch.testing.assert_close(found.confidence[index, row], p.max())
    outcome = found.outcome()
    assert outcome.error_rate[1] == found.fooled[1].sum() / found.correct[1].sum().double()
    torch.testing.assert_close(outcome.mean[1], found.confidence[1][found.fooled[1]].mean())


def test_the_image_leaves_its_range_unless_it_is_clipped() -> None:
    models = linear(1, 12, 2, seed=0)
    images = torch.tensor([[0.0, 1.0] * 6])
    free = fgsm(models, images, torch.tensor([0])).images
    assert free.min() < 0 and free.max() > 1
    torch.testing.assert_close((free - images).abs(), torch.full((1, 1, 12), 0.1))
    assert torch.equal(fgsm(models, images, torch.tensor([0]), clip=True).images, free.clamp(0, 1))


def test_an_ordinary_classifier_of_pictures() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten(), nn.Linear(4, 3)).double()
    images, labels = pictures(20, 3, 2, 2), torch.arange(20) % 3
    found = fgsm(Alone(model), images, labels)
    for row in range(20):
        _, after = slow(model, images[row], labels[row], 0.1)
        torch.testing.assert_close(found.images[0, row], after)


def test_nothing_is_left_behind() -> None:
    models = moody()
    images, labels = pictures(9, 12), torch.arange(9) % 3
    before, modes = copy.deepcopy(models), [part.training for part in models.modules()]
    with torch.no_grad():  # of the caller, who wants no gradients either
        first = fgsm(models, images, labels)
        again = fgsm(models, images, labels)
        smallest_epsilons(models, images, labels)
    assert torch.equal(first.images, again.images)  # no dropout
    assert not first.images.requires_grad and not images.requires_grad
    assert torch.equal(images, pictures(9, 12))
    assert all(parameter.grad is None for parameter in models.parameters())
    assert [part.training for part in models.modules()] == modes
    for key, value in before.state_dict().items():
        assert torch.equal(models.state_dict()[key], value)


def test_gradients_of_the_parameters_stay_what_they_were() -> None:
    models = linear(2, 12, 3, seed=0)
    models.weight.grad = torch.full_like(models.weight, 7)
    fgsm(models, pictures(4, 12), torch.arange(4) % 3)
    assert (models.weight.grad == 7).all() and models.bias.grad is None


def test_a_pixel_without_gradient_stays() -> None:
    weight = torch.tensor([[[1.0, 0], [0, 0], [0, 1]]])
    sign, correct = gradient_sign(
        Linear(weight, torch.zeros(1, 2)), torch.rand(1, 3), torch.tensor([0])
    )
    assert sign.tolist() == [[[-1, 0, 1]]] and correct.shape == (1, 1)


@pytest.mark.parametrize("images", [0, 3])
def test_where_all_is_wrong_there_is_nothing_to_fool(images: int) -> None:
    models = Linear(torch.zeros(2, 12, 2), torch.tensor([[1.0, 0], [1.0, 0]]))
    outcome = fgsm(models, pictures(images, 12), torch.ones(images, dtype=torch.int64)).outcome()
    assert outcome.correct.tolist() == outcome.fooled.tolist() == [0, 0]
    assert outcome.error_rate.isnan().all() and outcome.mean.isnan().all()
