"""A sample's numbers: the same in any batch, and as good as chance whatever is counted."""

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quire.loaders.draws import Draws

WORD = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15

rows = st.lists(st.integers(0, 2**62), max_size=12)
Generator = Callable[[int, int, Tensor, int], Tensor]  # seed, epoch, (B,) rows, count -> (B, count)


def mixed(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & WORD
    return word ^ word >> 31


def splitmix(start: int) -> Iterator[int]:
    """SplitMix64 in Python's integers, which have no sign to mask away and nothing to wrap."""
    while True:
        start = start + GAMMA & WORD
        yield mixed(start)


def slow(seed: int, epoch: int, purpose: str, row: int, count: int) -> list[float]:
    digest = hashlib.sha256(f"{seed} {epoch} {purpose}".encode()).digest()
    words = splitmix(mixed(int.from_bytes(digest[:8], "little") + row * GAMMA & WORD))
    return [(word >> 40) / 2**24 for word, _ in zip(words, range(count), strict=False)]


def test_the_slow_reference_is_splitmix() -> None:
    # The outputs for this seed are those that other implementations publish.
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [word for word, _ in zip(splitmix(1234567), published, strict=False)] == published


@given(st.integers(0, 2**70), st.integers(0, 10**6), st.text(max_size=9), rows, st.integers(0, 5))
def test_draws_are_the_slow_reference(
    seed: int, epoch: int, purpose: str, numbers: list[int], count: int
) -> None:
    draws = Draws(seed, epoch, torch.tensor(numbers, dtype=torch.int64))
    found = draws.uniforms(purpose, count)
    assert found.dtype == torch.float32 and found.shape == (len(numbers), count)
    assert found.tolist() == [slow(seed, epoch, purpose, row, count) for row in numbers]


def test_golden_draws() -> None:
    # A run that was stopped under one release must go on with the same draws under the next, and
    # a published seed must mean the same augmentations: another number here is another experiment.
    found = Draws(3, 1, torch.tensor([0, 1, 49_999])).uniforms("flip", 2) * 2**24
    assert found.tolist() == [
        [6_911_989, 11_859_513],
        [6_688_690, 11_869_032],
        [12_556_652, 4_068_823],
    ]


@given(rows, st.data())
def test_a_sample_draws_the_same_in_any_batch_and_order(
    numbers: list[int], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(numbers))))
    cut = data.draw(st.integers(0, len(numbers)))
    whole = torch.tensor(numbers, dtype=torch.int64)
    found = Draws(5, 2, whole).uniforms("crop", 3)
    shuffled = whole[list(order)]
    parts = [Draws(5, 2, part).uniforms("crop", 3) for part in (shuffled[:cut], shuffled[cut:])]
    assert torch.equal(torch.cat(parts), found[list(order)])
    assert torch.equal(Draws(5, 2, whole).uniforms("crop", 1), found[:, :1])


def test_numbers_stay_below_one_and_use_every_bit() -> None:
    found = uniforms(0, 0, torch.arange(2**19), 1)
    assert 0 <= found.min() < 2**-17
    assert 1 - 2**-17 < found.max() < 1
    steps = (found.double() * 2**24).long()
    assert torch.equal(steps.double() / 2**24, found.double())
    ones = torch.stack([(steps >> bit & 1).double().mean() for bit in range(24)])
    assert ((ones - 0.5).abs() < 5 * 0.5 / math.sqrt(len(found))).all()


def test_a_flipped_bit_of_the_row_flips_every_bit_half_the_time() -> None:
    whole = torch.arange(4096)
    words = (uniforms(0, 0, whole, 1) * 2**24).long()
    for bit in range(40):
        other = (uniforms(0, 0, whole ^ 1 << bit, 1) * 2**24).long()
        flips = torch.stack([((words ^ other) >> i & 1).double().mean() for i in range(24)])
        assert ((flips - 0.5).abs() < 6 * 0.5 / math.sqrt(4096)).all()


@pytest.mark.cuda
def test_devices_draw_the_same() -> None:
    numbers = torch.arange(10_000)
    there = Draws(1, 2, numbers.cuda()).uniforms("flip", 5)
    assert there.is_cuda
    assert torch.equal(there.cpu(), Draws(1, 2, numbers).uniforms("flip", 5))


# What chance looks like. A score is a number of standard deviations, in either direction: draws
# that are too even are no more random than clumped ones.

BINS = 16


def chi_square(cells: Tensor, bins: int) -> float:
    """How far counts are from even. (N,) int64 in [0, bins) -> score."""
    counts = torch.bincount(cells, minlength=bins).double()
    expected = len(cells) / bins
    statistic = ((counts - expected) ** 2 / expected).sum().item()
    return (statistic - (bins - 1)) / math.sqrt(2 * (bins - 1))


def together(one: Tensor, other: Tensor) -> float:
    """How far two sequences are from independent: counts of the pairs. (N,), (N,) -> score."""
    cells = (one * BINS).long() * BINS + (other * BINS).long()
    return chi_square(cells.flatten(), BINS * BINS)


def correlation(one: Tensor, other: Tensor) -> float:
    pair = torch.stack([one.flatten(), other.flatten()]).double()
    return torch.corrcoef(pair)[0, 1].item() * math.sqrt(pair.shape[1])


def coincidences(numbers: Tensor) -> float:
    """Equal pairs among N numbers of 24 bits, against the N^2 / 2^25 of chance."""
    repeats = numbers.unique(return_counts=True)[1]
    expected = numbers.numel() ** 2 / 2**25
    return (int((repeats * (repeats - 1) // 2).sum()) - expected) / math.sqrt(expected)


def scores(draw: Generator) -> dict[str, float]:
    """The largest of each kind of score for a generator."""
    numbers = torch.arange(1 << 14)
    base = draw(0, 0, numbers, 4)
    pairs = {
        "rows": (base[:-1], base[1:]),
        "far rows": (base, draw(0, 0, numbers + (1 << 20), 4)),
        "columns": (base[:, :-1], base[:, 1:]),
        "a row's next and a column's": (base[:-1, 1:], base[1:, :-1]),
        "epochs": (draw(0, 1, numbers, 4), draw(0, 2, numbers, 4)),
        "seeds": (draw(1, 0, numbers, 4), draw(2, 0, numbers, 4)),
        "a seed's next and an epoch's": (draw(0, 1, numbers, 4), draw(1, 0, numbers, 4)),
    }
    found = {
        "uniform": chi_square((base * 256).long().flatten(), 256),
        "last bits": chi_square((base * 2**24).long().flatten() % 256, 256),
        "coincidences": coincidences(base),
    }
    for name, (one, other) in pairs.items():
        found[f"{name}, pairs"] = together(one, other)
        found[f"{name}, correlation"] = correlation(one, other)
    return found


def uniforms(seed: int, epoch: int, numbers: Tensor, count: int, purpose: str = "flip") -> Tensor:
    return Draws(seed, epoch, numbers).uniforms(purpose, count)


LIMIT = 5  # standard deviations: 34 scores of chance stay below it, a poor hash's do not


@pytest.mark.parametrize("purpose", ["flip", "resized_crop"])
def test_draws_look_like_chance(purpose: str) -> None:
    found = scores(partial(uniforms, purpose=purpose))
    assert {name: score for name, score in found.items() if abs(score) > LIMIT} == {}


def test_purposes_are_unrelated() -> None:
    numbers = torch.arange(1 << 16)
    flips, crops = (uniforms(0, 0, numbers, 1, purpose) for purpose in ("flip", "resized_crop"))
    assert abs(together(flips, crops)) < LIMIT
    assert abs(correlation(flips, crops)) < LIMIT


def fraction(words: Tensor) -> Tensor:
    return (words >> 40 & 0xFFFFFF) / 2**24


def linear(seed: int, epoch: int, numbers: Tensor, count: int) -> Tensor:
    """Multiples of the golden ratio: even, and nothing else."""
    return fraction((numbers[:, None] * 4 + torch.arange(count) + seed + epoch) * (GAMMA - 2**64))


def shifted(seed: int, epoch: int, numbers: Tensor, count: int) -> Tensor:
    """One generator for all, each row starting a number later than the one before."""
    places = numbers[:, None] + torch.arange(count)
    return uniforms(seed, epoch, places.flatten(), 1).view(places.shape)


def summed(seed: int, epoch: int, numbers: Tensor, count: int) -> Tensor:
    """Seed and epoch added up, so that a seed's second epoch is the next seed's first."""
    return uniforms(seed + epoch, 0, numbers, count)


def stuck(seed: int, epoch: int, numbers: Tensor, count: int) -> Tensor:
    """The same in every epoch."""
    return uniforms(seed, 0, numbers, count)


def coarse(seed: int, epoch: int, numbers: Tensor, count: int) -> Tensor:
    """Without the last two bits."""
    return (uniforms(seed, epoch, numbers, count) * 2**22).floor() / 2**22


@pytest.mark.parametrize("poor", [linear, shifted, summed, stuck, coarse])
def test_a_poor_hash_does_not(poor: Generator) -> None:
    assert max(map(abs, scores(poor).values())) > 4 * LIMIT
