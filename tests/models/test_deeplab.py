"""DeepLabv3: torchvision's network at an output stride of 16, to the last weight."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.models.segmentation import deeplabv3

from quire.models.deeplab import (
    TRUNKS,
    DeepLab,
    DeepLabHead,
    ResNetTrunk,
    deeplab,
    num_parameters,
    upsampled,
)


@pytest.mark.parametrize(
    ("trunk", "expected"),
    # torchvision publishes 42,004,074 and 60,996,202, with an auxiliary head that we have not
    [("resnet50", 42_004_074 - 2_365_205), ("resnet101", 60_996_202 - 2_365_205)],
)
def test_sizes_are_the_published_ones(trunk: str, expected: int) -> None:
    with torch.device("meta"):
        model = deeplab(trunk, classes=21)
        auxiliary = torchvision.models.segmentation.fcn.FCNHead(1024, 21)
    assert num_parameters(auxiliary) == 2_365_205
    assert num_parameters(model) == expected


@pytest.mark.parametrize(("size", "expected"), [((513, 513), (33, 33)), ((100, 33), (7, 3))])
def test_a_map_has_a_sixteenth_of_the_resolution(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with torch.device("meta"):
        trunk = ResNetTrunk([3, 4, 6, 3])
        assert trunk(torch.empty(2, 3, *size)).shape == (2, 2048, *expected)
        small = TRUNKS["small"]()
        assert small(torch.empty(2, 3, 97, 96)).shape == (2, 64, 13, 12)


def test_scores_are_those_of_torchvision_s_network() -> None:
    torch.manual_seed(0)
    dilated = [False, False, True]
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=dilated).eval()
    head = deeplabv3.DeepLabHead(2048, 21, (6, 12, 18)).eval()
    ours = deeplab("resnet50", classes=21).eval()
    assert isinstance(ours.encoder, ResNetTrunk)
    ours.encoder.load(theirs.state_dict())
    for one, other in zip(ours.head.parameters(), head.parameters(), strict=True):
        one.data.copy_(other.data)
    features = nn.Sequential(*list(theirs.children())[:-2])
    images = torch.rand(1, 3, 70, 65)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        expected = head(features((images - mean) / std))
        torch.testing.assert_close(ours(images), expected)


def test_weights_of_another_depth_are_refused() -> None:
    with torch.device("meta"):
        theirs = torchvision.models.resnet50().state_dict()
        with pytest.raises(RuntimeError, match=r"layer3\.6\.conv1\.weight"):
            ResNetTrunk([3, 4, 23, 3]).load(theirs)


def test_every_weight_learns() -> None:
    model = deeplab("small", classes=5)
    model(torch.rand(3, 3, 40, 40)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith(("1.0.weight",)):
            assert parameter.grad.abs().sum() > 0, name


def test_a_batch_of_one_is_refused_in_training_and_scored_in_evaluation() -> None:
    model = deeplab("small", classes=5)
    image = torch.rand(1, 3, 32, 32)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(image)
    assert model.eval()(image).shape == (1, 5, 4, 4)


def test_images_do_not_see_each_other_in_evaluation() -> None:
    model = deeplab("small", classes=5).eval()
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))


def test_upsampling_takes_pixels_for_areas() -> None:
    scores = torch.tensor([[[[0.0, 1.0]]]])
    assert upsampled(scores, (1, 4)).flatten().tolist() == [0, 0.25, 0.75, 1]
    half = upsampled(scores.bfloat16(), (2, 4))
    assert half.dtype == torch.float32
    wide = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(
        upsampled(wide, (11, 9)), F.interpolate(wide, (11, 9), mode="bilinear")
    )


def test_there_is_no_other_trunk() -> None:
    with pytest.raises(KeyError):
        deeplab("vgg", classes=2)
    assert isinstance(deeplab("small", classes=2), DeepLab)
    assert isinstance(deeplab("small", classes=2).head, DeepLabHead)
