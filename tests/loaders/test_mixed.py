"""Several bundles as one: exact shares, every sample of the first once, and the same anywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.artifacts.errors import BundleError
from quire.artifacts.manifest import INDEX
from quire.loaders.batches import Layout, shares
from quire.loaders.mixed_order import Mixed, dealt
from quire.loaders.order import Blocks, Order, Sequential, Shuffle, Uniform
from quire.loaders.reading import folder
from quire.loaders.sampler import global_batches
from quire.loaders.stream import stream
from tests.bundles import image_bundle, random_images
from tests.loaders.indexes import made_index
from tests.loaders.served import Server
from tests.train.corrupted import with_manifest

SIZES = (23, 9, 40)
SHARES = (0.5, 0.3, 0.2)
BLOCKS = Shuffle(block=3000, window=9000)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = [tmp_path_factory.mktemp("mixed") / name for name in "abc"]
    for seed, (place, size) in enumerate(zip(found, SIZES, strict=True)):
        image_bundle(place, *random_images(size, (5, 4, 3), seed=seed), samples_per_shard=6)
    return found


def mix(places: Sequence[Any]) -> list[tuple[Any, float]]:
    return list(zip(places, SHARES, strict=False))


@given(st.integers(1, 300), st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_any_run_of_positions_has_the_shares(first: int, given_shares: list[float]) -> None:
    """To less than one sample for each bundle after the first, wherever it begins and ends."""
    parts = [round(1e6 * share / sum(given_shares)) for share in given_shares]
    bundle = dealt(first, parts)
    assert (bundle == 0).sum() == first and bundle[-1] == 0
    ends = np.arange(len(bundle) + 1)
    for number, part in enumerate(parts):
        passed = np.append(0, (bundle == number).cumsum())
        off = passed - ends * part / sum(parts)
        assert off.max() - off.min() <= max(1, len(parts) - 1) + 1e-6


def orders_of(shuffle: Any, seed: int) -> list[Order]:
    made: list[Order] = []
    for number, size in enumerate(SIZES):
        index, rows = made_index([size], np.full(size, 700)), np.arange(size)
        if shuffle is False:
            made.append(Sequential(index, rows))
        elif shuffle == "full":
            made.append(Uniform(index, rows, seed + number))
        else:
            made.append(Blocks(index, rows, shuffle, seed + number))
    return made


@pytest.mark.parametrize("shuffle", [False, "full", BLOCKS])
def test_the_others_go_round_and_go_on_in_the_next_epoch(shuffle: Any) -> None:
    orders = orders_of(shuffle, 5)
    mixed = Mixed(orders, SIZES, SHARES)
    seen: list[list[int]] = [[], [], []]
    for number in range(5):
        epoch = mixed(number)
        assert len(epoch.rows) == len(mixed)
        for which, (first, own) in enumerate(zip(mixed.firsts, seen, strict=True)):
            own += (epoch.rows[epoch.bundle == which] - first).tolist()
    for order, size, own in zip(orders, SIZES, seen, strict=True):
        rounds = -(-len(own) // size)
        whole = np.concatenate([order(number).rows for number in range(rounds)])
        assert own == whole[: len(own)].tolist()
    assert len(seen[0]) == 5 * SIZES[0]


@pytest.mark.parametrize("shuffle", ["full", BLOCKS])
@pytest.mark.parametrize(("batch_size", "world_size"), [(8, 1), (5, 3), (2, 7)])
def test_every_batch_of_every_rank_has_the_shares(
    shuffle: Any, batch_size: int, world_size: int
) -> None:
    epoch = Mixed(orders_of(shuffle, 1), SIZES, SHARES)(2)
    cut: Any = {"batch_size": batch_size, "world_size": world_size, "drop_last": True}
    spans = list(global_batches(0, len(epoch.rows), **cut))
    taken = []
    for rank in range(world_size):
        left = np.arange(len(epoch.rows))
        layout = Layout(batch_size, rank, world_size, 0, True)
        for start, stop in shares(left, spans, epoch, layout):
            batch = left[start:stop]
            counts = np.bincount(epoch.bundle[batch], minlength=3)
            assert np.abs(counts - batch_size * np.array(SHARES)).max() < 2
            taken += batch.tolist()
    assert sorted(taken) == [*range(spans[-1][1])]


@pytest.mark.parametrize("world_size", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("shuffle", [False, True, BLOCKS])
def test_batches_are_the_samples_that_the_order_names(
    places: list[Path],
    shuffle: Any,
    cold: bool,
    world_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if cold:
        monkeypatch.setattr(folder, "in_memory", lambda addresses: False)
    images = [random_images(size, (5, 4, 3), seed=seed) for seed, size in enumerate(SIZES)]
    pixels = np.concatenate([image for image, _ in images])
    labels = np.concatenate([label for _, label in images])
    seen = []
    for rank in range(world_size):
        options: Any = {"rank": rank, "world_size": world_size, "shuffle": shuffle, "seed": 3}
        batches = stream(mix(places), batch_size=4, **options)
        for _ in range(2):
            for batch in batches:
                rows = batch["row"].numpy()
                shown = batch["image"].permute(0, 2, 3, 1).numpy()
                assert np.array_equal(shown, pixels[rows])
                assert batch["label"].tolist() == labels[rows].tolist()
                ends = np.cumsum(SIZES)
                assert batch["bundle"].tolist() == np.searchsorted(ends, rows, "right").tolist()
                assert len(batches.keys(batch["row"])) == len(rows)
                seen += rows.tolist()
    first = [row for row in seen if row < SIZES[0]]
    assert sorted(first) == sorted([*range(SIZES[0])] * 2)


def test_two_bundles_of_one_size_have_orders_of_their_own(places: list[Path]) -> None:
    batches = stream([(places[0], 1), (places[0], 1)], batch_size=46, shuffle=True)
    (batch,) = batches
    rows, which = batch["row"].numpy(), batch["bundle"].numpy()
    assert rows[which == 0].tolist() != (rows[which == 1] - SIZES[0]).tolist()


def drained(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


@pytest.mark.slow
@pytest.mark.usefixtures("large")
def test_a_state_moves_between_ranks_and_from_the_folder_to_the_address(
    places: list[Path], server: Server
) -> None:
    """At every step of an epoch, to as many samples, each once."""
    near: list[tuple[str | Path, float]] = [(server.folder, 0.6), (places[1], 0.4)]
    far: list[tuple[str | Path, float]] = [(server.address, 0.6), (places[1], 0.4)]
    options: Any = {"shuffle": BLOCKS, "seed": 2}
    whole = stream(near, batch_size=6, **options)
    expected = sorted(row for batch in drained(whole) for row in batch)
    assert len(expected) == 38
    for stop in range(1, 7):
        one = stream(near, batch_size=6, **options)
        begun = [batch["row"].tolist() for _, batch in zip(range(stop), one, strict=False)]
        state = one.state_dict()
        rest = []
        for rank in range(2):
            other = stream(far, batch_size=2, rank=rank, world_size=2, **options)
            other.load_state_dict(state)
            rest += drained(other)
        assert sorted(row for batch in (*begun, *rest) for row in batch) == expected
    assert drained(stream(far, batch_size=6, **options)) == drained(
        stream(near, batch_size=6, **options)
    )
    for others in ([(places[0], 0.6), (places[1], 0.4)], [(server.folder, 0.5), (places[1], 0.5)]):
        with pytest.raises(ValueError, match="the state has"):
            stream(others, batch_size=6, **options).load_state_dict(state)


def test_what_cannot_be_mixed_is_refused(places: list[Path], tmp_path: Path) -> None:
    for given_shares in ((0, 1), (-1, 1), (float("nan"), 1), (1, 1e-9)):
        with pytest.raises(ValueError, match="shares are"):
            stream(list(zip(places[:2], given_shares, strict=True)))
    with pytest.raises(ValueError, match="no bundle is named"):
        stream([])
    with pytest.raises(ValueError, match="named with their shares"):
        stream([str(place) for place in places])  # type: ignore[misc]
    with pytest.raises(ValueError, match="rows are those of one bundle"):
        stream(mix(places), rows=[0])
    other = tmp_path / "other"
    image_bundle(other, *random_images(6, (5, 4, 3)), samples_per_shard=6)
    source = {"kind": "made", "class_names": ["x"], "sha256": "0", "samples": 6, "split": "test"}
    with_manifest(other, source=source)
    with pytest.raises(BundleError, match=r"other has other classes than .*: they are not mixed"):
        stream([(places[0], 1), (other, 1)])
    with pytest.raises(BundleError, match="does not exist"):
        stream([(places[0], 1), (tmp_path / "none", 1)])
    (other / INDEX).unlink()
    with pytest.raises(BundleError, match=r"index\.h5 is missing"):
        stream([(places[0], 1), (other, 1)])


def test_images_of_two_sizes_are_a_list(places: list[Path], tmp_path: Path) -> None:
    image_bundle(tmp_path / "b", *random_images(9, (3, 3, 3)), samples_per_shard=6)
    for batch in stream([(places[0], 1), (tmp_path / "b", 1)], batch_size=8):
        for image, which in zip(batch["image"], batch["bundle"].tolist(), strict=True):
            assert image.shape == ((3, 3, 3) if which else (3, 5, 4))
