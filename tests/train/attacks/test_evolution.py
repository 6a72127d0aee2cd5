"""The draws of the search: what the paper says of them, and that nobody else has a say."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from quire.train.attacks.evolution import Evolution, best, partners, places

MNIST = (1, 28, 28)


def test_what_is_no_evolution_is_refused() -> None:
    for wrong in ({"population": 2}, {"generations": -1}, {"mutation": (1.0, 0.5)}):
        with pytest.raises(ValueError, match=r"population is 2|-1 generations|mutation is in"):
            Evolution(**wrong)


def test_the_first_candidates_are_the_paper_s() -> None:
    genes = Evolution().first(torch.arange(200), MNIST)
    assert genes.shape == (200, 500, 3) and genes.dtype == torch.float32
    where = places(genes, MNIST).flatten(0, 1)
    for axis in (0, 1):  # every column and row, the last of them too
        counts = where[:, axis].bincount()
        assert len(counts) == 28
        assert (counts / 1e5 - 1 / 28).abs().max() < 0.003
    pairs = (where[:, 0] * 28 + where[:, 1]).bincount() / 1e5 * 28**2
    assert 0.5 < pairs.min() and pairs.max() < 1.5
    value = genes[..., 2].flatten() * 255
    black, white = (value == 0).float().mean(), (value == 255).float().mean()
    normal = torch.distributions.Normal(128.0, 127.0)
    assert abs(black - normal.cdf(torch.tensor(0.0))) < 0.005
    assert abs(white - (1 - normal.cdf(torch.tensor(255.0)))) < 0.005
    for level in (32.0, 100.0, 128.0, 200.0):
        assert abs((value < level).float().mean() - normal.cdf(torch.tensor(level))) < 0.007


def test_golden_candidates() -> None:
    # Numbers of a study can be had again only as long as these stay as they are.
    evolution, shape = Evolution(seed=3, population=4), (2, 10, 20)
    keys = torch.tensor([5 << 32 | 7])
    first = evolution.first(keys, shape)
    mutants = evolution.mutants(first, first.sum(2), keys, 1, shape)
    found = [(genes[0, :2] * 2**12).round().tolist() for genes in (first, mutants)]
    assert found == [
        [[11_594, 36_122, 0, 4_096], [2_896, 17_471, 319, 2_055]],
        [[550, 35_247, 1_972, 1_580], [5_068, 36_749, 942, 4_096]],
    ]


@given(st.integers(0, 9), st.integers(3, 9), st.permutations(range(5)))
def test_a_search_draws_the_same_in_any_batch(seed: int, population: int, order: list[int]) -> None:
    evolution, shape = Evolution(seed=seed, population=population), (3, 8, 9)
    keys = torch.tensor([3, 1, 1 << 32, 4 << 32 | 1, 5])
    genes = evolution.first(keys, shape)
    fitness = genes.sum(2)
    mutants = evolution.mutants(genes, fitness, keys, 7, shape)
    some = order[:3]
    own = evolution.first(keys[some], shape)
    assert torch.equal(own, genes[some])
    assert torch.equal(evolution.mutants(own, fitness[some], keys[some], 7, shape), mutants[some])
    assert len(genes[:, 0, 0].unique()) == 5
    later = evolution.mutants(genes, fitness, keys, 8, shape)
    assert not torch.equal(later, mutants)


def test_a_mutant_is_the_best_and_a_multiple_of_the_difference_of_two_others() -> None:
    evolution, keys = Evolution(population=3), torch.arange(2000)
    genes = torch.zeros(2000, 3, 3)
    genes[..., 0] = torch.tensor([500.0, 501, 503])
    fitness = torch.tensor([[1.0, 0, 0]]).expand(2000, 3)
    moved = evolution.mutants(genes, fitness, keys, 1, (1, 1, 1000))[..., 0] - 500
    scales = moved.abs() / torch.tensor([2.0, 3.0, 1.0])  # of three, the two others are known
    torch.testing.assert_close(scales, scales[:, :1].expand(-1, 3), atol=1e-4, rtol=0)
    low, high = scales.min(), scales.max()
    assert 0.5 - 1e-4 < low < 0.501 and 0.999 < high < 1 + 1e-4
    assert abs(scales[:, 0].mean() - 0.75) < 0.01
    assert ((moved > 0).float().mean(0) - 0.5).abs().max() < 0.05
    later = evolution.mutants(genes, fitness, keys, 2, (1, 1, 1000))[..., 0] - 500
    assert ((later - moved).abs() > 1e-3).float().mean() > 0.9


@given(st.integers(3, 40), st.integers(0, 99))
def test_partners_are_two_others(size: int, seed: int) -> None:
    draws = torch.rand(5, size, 2, generator=torch.Generator().manual_seed(seed))
    draws[0], draws[1] = 0, 1 - 2**-24
    one, other = partners(draws).unbind(2)
    itself = torch.arange(size).expand_as(one)
    assert ((one != other) & (one != itself) & (other != itself)).all()
    assert 0 <= min(one.min(), other.min()) and max(one.max(), other.max()) < size


def test_all_pairs_of_others_are_equally_likely() -> None:
    grid = (torch.arange(12) + 0.5) / 12  # 12 is a multiple of 4 and of 3
    draws = torch.cartesian_prod(grid, grid)[:, None].expand(-1, 5, -1)
    found = partners(draws)
    for itself in range(5):
        pairs, counts = found[:, itself].unique(dim=0, return_counts=True)
        assert len(pairs) == 4 * 3 and (counts == 12).all()


@pytest.mark.parametrize("size", [3, 499, 500, 512, 2**20, 2**23 + 1])
def test_the_largest_draw_is_not_rounded_up(size: int) -> None:
    largest = torch.tensor(1 - 2**-24) * size
    assert int(largest) == size - 1


def test_genes_that_leave_their_bounds_are_anywhere_within() -> None:
    evolution, shape, top = Evolution(population=50), (2, 40, 60), torch.tensor([60.0, 40, 1, 1])
    genes = top * (torch.arange(50) % 2)[None, :, None].expand(400, 50, 4)
    fitness = genes.sum(2)  # half of the candidates are the best, which is a corner
    mutants = evolution.mutants(genes, fitness, torch.arange(400), 1, shape)
    assert 0 <= mutants.min() and (mutants <= top).all()
    beyond = (mutants > top / 2) & (mutants < top)  # no mutant in bounds is there
    assert ((beyond.float().mean((0, 1)) - 1 / 8).abs() < 0.01).all()
    where = places(mutants, shape)
    assert where.amin((0, 1)).tolist() == [0, 0] and where.amax((0, 1)).tolist() == [59, 39]
    bins = (mutants[..., 0][beyond[..., 0]] - 30).div(3).long().bincount()
    assert (bins / bins.sum() - 0.1).abs().max() < 0.02


def test_the_best_is_the_fittest_and_the_first_of_equals() -> None:
    genes = torch.arange(8.0).view(1, 4, 2)
    assert best(genes, torch.tensor([[0.0, 3, 3, -math.inf]])).tolist() == [[[2, 3]]]


@pytest.mark.cuda
def test_devices_search_the_same() -> None:
    def genes(device: str) -> Tensor:
        keys = torch.arange(1000, device=device)
        first = Evolution().first(keys, MNIST)
        return Evolution().mutants(first, first.sum(2), keys, 1, MNIST).cpu()

    assert torch.equal(genes("cpu"), genes("cuda"))
