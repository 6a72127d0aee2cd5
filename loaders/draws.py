"""Random numbers that belong to a sample in an epoch, computed where they are needed.

A number is a hash of what it is for, so nothing has to be stored or advanced: a sample draws the
same whatever batch, rank, order or device it comes in, and a run that was stopped goes on with the
draws it would have had. Integers alone are hashed, for these are the same on every device.
"""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

_STEP = 0x9E3779B97F4A7C15 - 2**64  # 2^64 over the golden ratio, odd; as a signed integer
_BITS = 24  # of a float32's significand: k * 2^-24 is exact, and never rounds up to 1


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of a batch's samples in an epoch.

    Two views of the same samples are draws of two seeds: equal draws give equal numbers.

    >>> draws = Draws(seed=0, epoch=1, rows=torch.tensor([7, 2]))
    >>> draws.uniforms("flip", 3).shape
    torch.Size([2, 3])
    """

    seed: int
    epoch: int
    rows: Tensor  # (B,) int64, each sample's row in its bundle; the draws are on its device

    def uniforms(self, purpose: str, count: int) -> Tensor:
        """Numbers in [0, 1), `count` a sample, multiples of 2^-24. -> (B, count) float32.

        Another purpose gives other numbers; the first of many are those that fewer would be.
        """
        key = _key(self.seed, self.epoch, purpose)
        columns = torch.arange(1, count + 1, device=self.rows.device)
        starts = _mixed(self.rows * _STEP + key)  # a generator of its own for every row
        words = _mixed(starts[:, None] + columns * _STEP)
        return _shifted(words, 64 - _BITS).to(torch.float32) * 2.0**-_BITS


def _key(seed: int, epoch: int, purpose: str) -> int:
    """A signed 64-bit digest, so that no sum of seed and epoch can meet another."""
    digest = hashlib.sha256(f"{seed} {epoch} {purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def _mixed(words: Tensor) -> Tensor:
    """Scramble 64-bit words one to one, so that a flipped bit flips every other one half the time.

    The output function of SplitMix64 (Steele, Lea & Flood 2014). Products of int64 wrap, as they
    should.
    """
    words = (words ^ _shifted(words, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    words = (words ^ _shifted(words, 27)) * (0x94D049BB133111EB - 2**64)
    return words ^ _shifted(words, 31)


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shift right, zeros coming in; int64 alone would bring in copies of its sign."""
    return words >> bits & (1 << 64 - bits) - 1
