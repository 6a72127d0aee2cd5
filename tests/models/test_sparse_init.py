"""Initialisations, held against the formulas of Glorot & Bengio and of He et al."""

import math

import pytest
import torch
from torch import Tensor

from quire.models.sparse import SparseNetwork
from quire.models.sparse_init import INITIALISATIONS

# layers of 3, 2 and 4 nodes; 8 edges leap from the first to the last
EDGES = [
    *((u, v) for u in range(3) for v in range(3, 5)),
    *((u, v) for u in range(3, 5) for v in range(5, 9)),
    *((u, v) for u in range(2) for v in range(5, 9)),
]
FANS = [(3, 2)] * 6 + [(2, 4)] * 8 + [(3, 4)] * 8  # of each edge


def network_of(name: str, *, seed: int = 0) -> SparseNetwork:
    network = SparseNetwork(torch.tensor(EDGES), 9, inputs=784, outputs=10)
    network.initialise(name, generator=torch.Generator().manual_seed(seed))
    return network


def spread(name: str, fan_in: float, fan_out: float) -> float:
    """The deviation of a normal draw and the bound of a uniform one, with a gain of sqrt 2."""
    return {
        "normal": 0.1,
        "uniform": 0.1,
        "glorot_normal": math.sqrt(2) * math.sqrt(2 / (fan_in + fan_out)),
        "glorot_uniform": math.sqrt(2) * math.sqrt(6 / (fan_in + fan_out)),
        "he_normal": math.sqrt(2) / math.sqrt(fan_in),
        "he_uniform": math.sqrt(2) * math.sqrt(3 / fan_in),
    }[name]


def weights(network: SparseNetwork) -> list[Tensor]:
    return [network.input.weight, network.hidden.weight, network.output.weight]


def test_there_are_the_six_of_the_paper() -> None:
    kinds = ["normal", "uniform"]
    names = [*kinds, *(f"{who}_{kind}" for who in ("glorot", "he") for kind in kinds)]
    assert [*INITIALISATIONS] == names


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_a_weight_is_drawn_for_the_layers_that_it_connects(name: str) -> None:
    # the same draws as for a constant spread, so the ratio is exact
    like = "normal" if name.endswith("normal") else "uniform"
    expected = [
        torch.tensor(spread(name, 784, 3)),
        torch.tensor([spread(name, *fans) for fans in FANS]),
        torch.tensor(spread(name, 4, 10)),
    ]
    units = [weight / 0.1 for weight in weights(network_of(like))]
    for weight, unit, factor in zip(weights(network_of(name)), units, expected, strict=True):
        torch.testing.assert_close(weight, unit * factor)


def test_draws_have_their_distribution() -> None:
    gauss, flat = (network_of(name).input.weight for name in ("normal", "uniform"))
    assert abs(gauss.mean().item()) < 0.01 and abs(gauss.std().item() / 0.1 - 1) < 0.05
    assert (gauss.abs() > 0.2).float().mean().item() == pytest.approx(0.0455, abs=0.02)
    assert abs(flat.mean().item()) < 0.01 and 0.0995 < flat.abs().max().item() <= 0.1
    assert flat.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_only_the_first_two_draw_biases(name: str) -> None:
    network = network_of(name)
    drawn = name in ("normal", "uniform")
    for bias in (network.hidden.bias, network.output.bias):
        assert bool((bias != 0).all()) == drawn and bool((bias == 0).all()) != drawn


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_the_seed_decides(name: str) -> None:
    networks = [network_of(name, seed=seed) for seed in (1, 1, 2)]
    for one, again, other in zip(*(net.parameters() for net in networks), strict=True):
        assert torch.equal(one, again)
        assert not one.any() or not torch.equal(one, other)


def test_a_network_draws_nothing_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    network_of("he_normal")
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="initialisation is 'he'; it must be one of") as caught:
        network_of("he")
    assert "\n" not in str(caught.value)
