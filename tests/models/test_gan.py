"""Generator and discriminator: the paper's shapes and numbers of parameters."""

import pytest
import torch
from torch import nn

from quire.models.batch_features import EdgeGraphConfig, MinibatchConfig
from quire.models.gan import Discriminator, Generator

BATCH_LAYERS = [MinibatchConfig(), EdgeGraphConfig(), EdgeGraphConfig(edge="concat")]


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("size", "generator", "discriminator"),
    [(32, 17_952_259, 2_760_513), (64, 19_561_987, 2_766_657)],
)
def test_parameters_are_as_many_as_specified(size: int, generator: int, discriminator: int) -> None:
    with torch.device("meta"):
        assert parameters(Generator(size)) == generator
        assert parameters(Discriminator(size)) == discriminator


def test_a_layer_that_sees_the_batch_adds_its_own_and_as_many_inputs_to_the_last() -> None:
    with torch.device("meta"):
        plain = parameters(Discriminator(64))
        minibatch = parameters(Discriminator(64, batch_layer=MinibatchConfig()))
        graph = parameters(Discriminator(64, batch_layer=EdgeGraphConfig()))
    assert minibatch - plain == 8192 * 500 + 500 + 100 + 100
    head = 8192 * 64 + (64 * 64 + 64) + (64 * 32 + 32)
    assert graph - plain == 3 * head + 3 * 32


@pytest.mark.parametrize("size", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_and_range(size: int, channels: int) -> None:
    generator = Generator(size, channels=channels, width=4, latent=8)
    sides = []
    for layer in generator.enlarge:
        layer.register_forward_hook(lambda _, __, images: sides.append(images.shape[-1]))
    images = generator(5 * torch.randn(3, 8))
    assert images.shape == (3, channels, size, size)
    assert sides == [size // 8, size // 4, size // 2, size]
    assert images.abs().max() <= 1
    assert Discriminator(size, channels=channels, width=4)(images).shape == (3,)


@pytest.mark.parametrize("size", [16, 28, 48, 128])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"images are {size}x{size}; a GAN is for 32x32 or 64x64"):
        Generator(size)
    with pytest.raises(ValueError, match="a GAN is for 32x32 or 64x64"):
        Discriminator(size)


@pytest.mark.parametrize("config", BATCH_LAYERS, ids=["minibatch", "difference", "concat"])
def test_real_images_are_judged_the_same_whatever_is_generated(
    config: MinibatchConfig | EdgeGraphConfig,
) -> None:
    """Unless both are given as one batch, which is what must not be done."""
    torch.manual_seed(0)
    judge = Discriminator(32, width=4, batch_layer=config).eval()
    real, some, others = torch.randn(3, 4, 3, 32, 32).tanh()
    alone = judge(real)
    judge(some)
    assert torch.equal(judge(real), alone)
    mixed = [judge(torch.cat([real, fakes]))[:4] for fakes in (some, others)]
    assert (mixed[0] - mixed[1]).abs().max() > 1e-5


def test_without_such_a_layer_an_image_is_judged_by_itself() -> None:
    judge = Discriminator(32, width=4).eval()
    images = torch.randn(4, 3, 32, 32).tanh()
    torch.testing.assert_close(judge(images)[:1], judge(images[:1]))


@pytest.mark.parametrize("config", BATCH_LAYERS, ids=["minibatch", "difference", "concat"])
def test_the_batch_is_looked_at_in_float32_under_autocast(
    config: MinibatchConfig | EdgeGraphConfig,
) -> None:
    judge = Discriminator(32, width=4, batch_layer=config)
    features = torch.randn(5, judge.final.in_features - judge.batch_layer.outputs)  # type: ignore[union-attr]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(
            judge.judge(features.bfloat16()), judge.judge(features.bfloat16().float())
        )


def test_the_first_weights_are_dcgans() -> None:
    torch.manual_seed(0)
    pair = Generator(32, width=16), Discriminator(32, width=16, batch_layer=EdgeGraphConfig())
    for network in pair:
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                if name.startswith("batch_layer"):
                    continue
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.2), name
                assert layer.bias is not None and not layer.bias.any()
