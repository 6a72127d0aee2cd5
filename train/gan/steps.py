"""The steps of a GAN's training, and what is looked at between them.

The losses are those of Goodfellow et al. 2014 with the generator's that does not saturate. Real and
generated images go through the discriminator in two passes, each over the whole batch of all ranks:
nothing of one is seen in the other, neither by a graph nor by batch normalisation. Noise is keyed
by seed and step, so a run that was stopped goes on to the same bits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quire.loaders.augment import to_float
from quire.loaders.stream import Stream
from quire.models.gan import Generator
from quire.train.engine import loop
from quire.train.engine.options import autocast, key
from quire.train.engine.ranks import Ranks, average_gradients, gathered, share
from quire.train.gan.run import Gan, Pair

Look: TypeAlias = Callable[[int], dict[str, float]]  # at the generator after so many steps


class Rounds:
    """The batches of a stream, epoch after epoch, counted in rounds of so many."""

    def __init__(self, stream: Stream, length: int) -> None:
        self.stream = stream
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while True:
            yield from self.stream

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is."""
        return self.stream.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self.stream.load_state_dict(state)


class Adams:
    """The optimizers of a generator and of its discriminator."""

    def __init__(self, config: Gan, pair: Pair) -> None:
        fused = next(pair.parameters()).device.type == "cuda"
        self.generator, self.discriminator = (
            torch.optim.Adam(module.parameters(), lr=lr, betas=config.betas, fused=fused)
            for module, lr in (
                (pair.generator, config.lr_generator),
                (pair.discriminator, config.lr_discriminator),
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """That of both."""
        both = {"generator": self.generator, "discriminator": self.discriminator}
        return {name: optimizer.state_dict() for name, optimizer in both.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on there."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])


@dataclass
class Training:
    """A run on its way: the networks, what changes them, and how far they are."""

    nothing: ClassVar[Mapping[str, float]] = {"real": 0.0, "generated": 0.0, "steps": 0}

    config: Gan
    model: Pair
    optimizer: Adams
    batches: Rounds
    ranks: Ranks
    look: Look
    step: int = 0  # steps done

    @classmethod
    def new(cls, config: Gan, pair: Pair, batches: Stream, ranks: Ranks, look: Look) -> Self:
        """At the first step."""
        rounds = Rounds(batches, config.measure_every)
        return cls(config, pair.train(), Adams(config, pair), rounds, ranks, look)

    def left(self) -> Iterator[dict[str, Any]]:
        """The batches that are left."""
        batches = iter(self.batches)
        while self.step < self.config.iterations:
            yield next(batches)

    def update(self, batch: dict[str, Any]) -> loop.Step:
        """Improve the discriminator, and then the generator on the same noise."""
        real = to_signed(batch["image"])
        noise = share(noise_of(self.config, "step", self.step, self.config.batch_size))
        with autocast(self.config.precision, real.device):
            made = self.model.generator(noise.to(real.device))
            logits = self._judged(real), self._judged(made.detach())
        discriminator = F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()
        self._improve(self.optimizer.discriminator, self.model.discriminator, discriminator)
        self.model.discriminator.requires_grad_(False)  # whose gradients nobody wants now
        with autocast(self.config.precision, real.device):
            generator = F.softplus(-self._judged(made)).mean()
        self._improve(self.optimizer.generator, self.model.generator, generator)
        self.model.discriminator.requires_grad_(True)
        self.step += 1
        losses = {"discriminator": discriminator.detach(), "generator": generator.detach()}
        return loop.Step(
            losses["discriminator"] + losses["generator"],  # not finite, where one of them is not
            gathered(batch["row"]),
            counts={
                "real": logits[0].detach().sigmoid().mean(),
                "generated": logits[1].detach().sigmoid().mean(),
                "steps": 1,
            },
            numbers=losses,
        )

    def _judged(self, images: Tensor) -> Tensor:
        """The logits of this rank's images and all others'. (b, channels, H, W) -> (B,)."""
        discriminator = self.model.discriminator
        return discriminator.judge(gathered(discriminator.features(images)))

    def _improve(self, optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(network, self.ranks)
        optimizer.step()

    def epoch_ends(self, counts: Mapping[str, Any]) -> dict[str, float]:
        """What there is to say of a round: the discriminator's mean outputs, and what is seen."""
        outputs = {name: float(counts[name]) / counts["steps"] for name in ("real", "generated")}
        return outputs | self.look(self.step)


def to_signed(images: Tensor) -> Tensor:
    """Bytes as the discriminator takes them. (B, C, H, W) uint8 -> float32 in [-1, 1]."""
    return (2 * to_float(images) - 1).contiguous(memory_format=torch.channels_last)


def noise_of(config: Gan, purpose: str, number: int, count: int) -> Tensor:
    """Noise for so many images, the same wherever it is drawn. -> (count, latent), on the CPU."""
    rng = torch.Generator().manual_seed(key(config.seed, "noise", purpose, number))
    return torch.randn(count, config.latent, generator=rng)


def generated(config: Gan, generator: Generator, purpose: str, count: int) -> Iterator[Tensor]:
    """So many images in batches of (B, channels, H, W) float32 in [-1, 1], B as in training.

    The generator is in evaluation mode meanwhile: an image hangs on its own noise alone, and more
    images begin with the same ones.
    """
    training, device = generator.training, next(generator.parameters()).device
    generator.eval()
    try:
        for number, start in enumerate(range(0, count, config.batch_size)):
            noise = noise_of(config, purpose, number, config.batch_size)
            with torch.inference_mode(), autocast(config.precision, device):
                yield generator(noise[: count - start].to(device))
    finally:
        generator.train(training)
