"""Universal perturbations as they are added: within their bound at every size, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.bundle import open_bundle
from quire.artifacts.perturbation_table import Perturbation, read_perturbations
from quire.builders.engine.run import build
from quire.builders.recipes.perturbations import Perturbations
from quire.builders.sources.uap import open_perturbations
from quire.loaders.augment import to_float
from quire.train.attacks.universal import at_size, perturbed
from tests.builders.real_data import real_data


def perturbation(height: int, width: int, xi: float = 10.0) -> Perturbation:
    drawn = np.random.default_rng(0).uniform(-xi, xi, (3, height, width)).astype(np.float32)
    return Perturbation(name="a", delta=drawn.clip(-xi, xi), xi=xi, origin="crafted")


def images(height: int, width: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.integers(0, 256, (4, 3, height, width), dtype=np.uint8))


@given(
    before=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    after=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    xi=st.sampled_from([0.5, 10.0, 255.0]),
)
def test_no_image_moves_by_more_than_the_bound(
    before: tuple[int, int], after: tuple[int, int], xi: float
) -> None:
    delta = at_size(perturbation(*before, xi), *after)
    assert delta.shape == (3, *after) and delta.dtype == torch.float32
    clean = images(*after)
    found = perturbed(clean, delta)
    assert found.dtype == torch.float32 and found.min() >= 0 and found.max() <= 1
    assert (found * 255 - clean).abs().max() <= xi + 1e-4


def test_of_its_own_size_it_is_added_as_it_is() -> None:
    one = perturbation(5, 7)
    delta = at_size(one, 5, 7)
    np.testing.assert_array_equal(delta, one.delta)
    clean = images(5, 7)
    expected = (clean.numpy().astype(np.float32) + one.delta).clip(0, 255) / np.float32(255)
    np.testing.assert_array_equal(perturbed(clean, delta), expected)


def test_rows_stay_rows_in_another_size() -> None:
    delta = np.zeros((3, 32, 48), np.float32)
    delta[0, :4] = 10
    found = at_size(Perturbation(name="a", delta=delta, xi=10.0, origin="crafted"), 64, 96)
    assert (found[0, :7] == 10).all() and (found[0, 9:] == 0).all() and not found[1:].any()


def test_without_a_perturbation_images_are_what_a_network_reads_to_the_bit() -> None:
    clean = images(6, 6)
    assert torch.equal(perturbed(clean, torch.zeros(3, 6, 6)), to_float(clean))


@pytest.mark.parametrize(
    "which", ["LTS4_universal/precomputed", "GD-UAP/classification/perturbations"]
)
def test_published_ones_stay_within_ten_grey_levels(
    which: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("perturbations") / "b"
    build(Perturbations(), open_perturbations(real_data("uap") / which), out, workers=0)
    clean = images(65, 65)
    for one in read_perturbations(open_bundle(out)):
        moved = (perturbed(clean, at_size(one, 65, 65)) * 255 - clean).abs()
        assert moved.max() <= 10.0001 and moved.mean() > 1, one.name
